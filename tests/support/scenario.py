"""Given/when/then for decisions: given events are folded in memory, just as the kit folds them; nothing is mocked."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from contracts.envelope import Envelope, Event, PersonalRecord, Sealing
from services.kit.rows import Rows
from services.kit.table import Table, WholeStream

Row = TypeVar("Row")

NOW = datetime(2024, 7, 8, 1, 0, tzinfo=UTC)  # 8 July 2024, 09.00 in Mataram


class Scenario:
    """A working set of a service's tables. Sealed texts are stand-ins: `sealed:<event id>:<subject>`."""

    def __init__(self, tables: Sequence[Table[Any]], now: datetime = NOW) -> None:
        self.tables = tuple(tables)
        self.rows = Rows(self.tables)
        self.now = now
        self.events: list[tuple[Event, Envelope]] = []
        self._versions: dict[tuple[str, str], int] = {}

    def given(self, *events: Event) -> Self:
        """Folds these facts, in this order."""
        for event in events:
            self.fold(event)
        return self

    def fold(self, event: Event) -> Envelope:
        """Folds one fact and gives the envelope it had."""
        stream = (event.topic, event.key)
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        envelope = Envelope(
            id=f"event-{len(self.events) + 1}",
            type=event.ce_type,
            source="/entas/test",
            topic=event.topic,
            key=event.key,
            version=version,
            time=self.now,
            recorded=self.now,
            actor="test",
            correlation_id="test",
        )
        sealed = _sealed(event, envelope)
        self._make_known(sealed)
        self.rows.fold(sealed, envelope)
        self.events.append((sealed, envelope))
        return envelope

    def row(self, table: Table[Row], *key: str) -> Row | None:
        """The row as the facts left it; None where there is none."""
        self._know_stream(table, key[0])
        return self.rows.get(table, *key)

    def the(self, table: Table[Row], *key: str) -> Row:
        """The row, which must be there."""
        row = self.row(table, *key)
        assert row is not None, f"{table.name} {key} has no row"
        return row

    def of_stream(self, table: Table[Row], stream: str) -> list[Row]:
        self._know_stream(table, stream)
        return self.rows.of_stream(table, stream)

    def _make_known(self, event: Event) -> None:
        for table in self.tables:
            if type(event) not in table.folds:
                continue
            touched = table.touched_by(event)
            keys = [event.key] if isinstance(touched, WholeStream) else [key[0] for key in touched]
            for stream in keys:
                self._know_stream(table, stream)

    def _know_stream(self, table: Table[Any], stream: str) -> None:
        # In memory every stream is known whole from the start: there is no database behind it.
        self.rows.add(table, [], [stream])


def _sealed(event: Event, envelope: Envelope) -> Event:
    if not isinstance(event, Sealing):
        return event
    personal = {
        subject: f"sealed:{envelope.id}:{subject}" if isinstance(record, PersonalRecord) else record
        for subject, record in event.personal.items()
    }
    return event.model_copy(update={"personal": personal})
