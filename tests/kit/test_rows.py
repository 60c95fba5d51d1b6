"""The working set: any batches and interleavings give the oracle's tables, in a constant number of statements."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.envelope import EVENTS, Envelope, Event, Open, Pseudonymous, Value, Word, reading
from services.kit import rows as rows_module
from services.kit.rows import NotLoaded, Rows, columns_of
from services.kit.table import BrokenStream, Table, one
from services.kit.table import replace as copy_of
from tests.support.databases import FreshDatabase
from tests.support.lab import NOW, Lab, Part, eventually, migrate_lab
from tests.support.purity import assert_pure

Delivery = tuple[Event, Envelope]
STREAMS = ("c1", "c2", "c10", "c3")
PARTS = ("a", "b", "Z")


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@pytest.fixture
async def connection(fresh_database: FreshDatabase) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(await fresh_database("lab", migrate_lab))
    yield opened
    await opened.close()


def envelope_of(event: Event, version: int) -> Envelope:
    return Envelope(
        id=f"{event.key}-{version}",
        type=event.ce_type,
        source="/entas/lab",
        topic=event.topic,
        key=event.key,
        version=version,
        time=NOW + timedelta(minutes=version),
        recorded=NOW,
        actor="test",
        correlation_id="test",
    )


async def deliver(
    connection: Any, tables: Sequence[Table[Any]], batch: Sequence[Delivery], *, copied: bool = False
) -> Rows:
    """One batch in one transaction, as the consumer does it; what its stream has passed already is a copy."""
    async with connection.transaction():
        rows = Rows(tables)
        await rows.load_touched(connection, [event for event, _ in batch])
        for event, envelope in batch:
            head = rows.get(tables[0], event.key)
            if head is None or head.version < envelope.version:
                rows.fold(event, envelope)
        await rows.write(connection, copied=lambda table: copied)
    return rows


# --- Against an oracle ------------------------------------------------------------------------------------------------

counted = st.tuples(st.just("counted"), st.sampled_from(PARTS), st.integers(-3, 3))
spread = st.tuples(st.just("spread"), st.lists(st.sampled_from(PARTS), max_size=4).map(tuple), st.integers(-3, 3))
cleared = st.tuples(st.just("cleared"), st.none(), st.none())
ignored = st.tuples(st.just("ignored"), st.none(), st.none())
facts = st.lists(
    st.tuples(st.sampled_from(STREAMS), st.one_of(counted, counted, spread, cleared, ignored)), max_size=40
)


@dataclass
class Oracle:
    """The two tables as a plain model keeps them. It knows nothing of folds, rows or versions that came before."""

    counters: dict[str, tuple[int, int, int]]
    parts: dict[tuple[str, str], int]

    def apply(self, stream: str, what: str, parts: Any, amount: int | None) -> None:
        version, times, total = self.counters.get(stream, (0, 0, 0))
        if what in ("counted", "spread"):
            for part in {parts} if what == "counted" else set(parts):
                self.parts[stream, part] = self.parts.get((stream, part), 0) + (amount or 0)
                if self.parts[stream, part] == 0:
                    del self.parts[stream, part]
                total += amount or 0
            times += 1
        elif what == "cleared":
            total = 0
            for key in [key for key in self.parts if key[0] == stream]:
                del self.parts[key]
        self.counters[stream] = (version + 1, times, total)


def event_of(lab: Lab, stream: str, what: str, parts: Any, amount: int | None) -> Event:
    match what:
        case "counted":
            return lab.Counted(counter_id=stream, part=parts, amount=amount)  # type: ignore[call-arg]
        case "spread":
            return lab.Spread(counter_id=stream, parts=parts, amount=amount)  # type: ignore[call-arg]
        case "cleared":
            return lab.Cleared(counter_id=stream)  # type: ignore[call-arg]
        case _:
            return lab.Ignored(counter_id=stream)  # type: ignore[call-arg]


def interleaved(history: Sequence[Delivery], chance: random.Random) -> list[Delivery]:
    """The same facts in another order, in which each stream keeps its own; some follow again, as copies do."""
    waiting = {stream: [d for d in history if d[0].key == stream] for stream in STREAMS}
    mixed: list[Delivery] = []
    while any(waiting.values()):
        stream = chance.choice([stream for stream, left in waiting.items() if left])
        mixed.append(waiting[stream].pop(0))
        if chance.random() < 0.15:
            mixed += mixed[-chance.randint(1, len(mixed)) :]
    return mixed


def cut(mixed: Sequence[Delivery], chance: random.Random) -> Iterator[Sequence[Delivery]]:
    start = 0
    while start < len(mixed):
        size = chance.choice((1, 2, 3, 7, 20))
        yield mixed[start : start + size]
        start += size


@pytest.mark.parametrize("copied", [False, True])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=facts, chance=st.randoms(use_true_random=False))
async def test_any_batches_interleavings_and_copies_give_the_oracles_tables(
    monkeypatch: pytest.MonkeyPatch,
    lab: Lab,
    connection: Any,
    copied: bool,
    facts: list[Any],
    chance: random.Random,
):
    monkeypatch.setattr(rows_module, "COPIED_FROM", 1)
    await connection.execute("TRUNCATE counter, part")
    oracle, history, versions = Oracle({}, {}), [], dict.fromkeys(STREAMS, 0)
    for stream, (what, parts, amount) in facts:
        oracle.apply(stream, what, parts, amount)
        versions[stream] += 1
        event = event_of(lab, stream, what, parts, amount)
        history.append((event, envelope_of(event, versions[stream])))
    for batch in cut(interleaved(history, chance), chance):
        await deliver(connection, lab.tables, batch, copied=copied)
    counters = await connection.fetch("SELECT counter_id, version, times, total FROM counter")
    assert {r["counter_id"]: (r["version"], r["times"], r["total"]) for r in counters} == oracle.counters
    parts_there = await connection.fetch("SELECT counter_id, part, total FROM part")
    assert {(r["counter_id"], r["part"]): r["total"] for r in parts_there} == oracle.parts


async def test_a_working_set_shows_what_it_folded_as_if_it_were_written(lab: Lab, connection: Any):
    first = lab.Counted(counter_id="c1", part="a", amount=5)
    rows = await deliver(connection, lab.tables, [(first, envelope_of(first, 1))])
    gone = lab.Counted(counter_id="c1", part="a", amount=-5)
    other = lab.Counted(counter_id="c1", part="b", amount=2)
    await rows.load_streams(connection, lab.parts, ["c1"])
    for version, event in enumerate((gone, other), 2):
        await rows.load_touched(connection, [event])
        rows.fold(event, envelope_of(event, version))
    assert rows.get(lab.parts, "c1", "a") is None
    assert rows.of_stream(lab.parts, "c1") == [Part("c1", "b", 2)]
    # What was folded outlives a later load of the whole stream, which the database does not know yet.
    await rows.load_streams(connection, lab.parts, ["c1"])
    assert rows.of_stream(lab.parts, "c1") == [Part("c1", "b", 2)]


async def test_a_stream_that_is_loaded_after_some_of_its_rows_keeps_what_was_folded_into_them(
    lab: Lab, connection: Any
):
    events = [lab.Counted(counter_id="c1", part=part, amount=5) for part in ("a", "b")]
    await deliver(connection, lab.tables, [(e, envelope_of(e, n)) for n, e in enumerate(events, 1)])
    rows = Rows(lab.tables)
    gone, new = (
        lab.Counted(counter_id="c1", part="a", amount=-5),
        lab.Counted(counter_id="c1", part="c", amount=1),
    )
    await rows.load_touched(connection, [gone, new])
    rows.fold(gone, envelope_of(gone, 3))
    rows.fold(new, envelope_of(new, 4))
    await rows.load_streams(connection, lab.parts, ["c1"])
    assert rows.of_stream(lab.parts, "c1") == [Part("c1", "b", 5), Part("c1", "c", 1)]


async def test_nothing_changes_if_one_fold_of_an_event_raises(lab: Lab, connection: Any):
    def broken(row: Any, event: Event, envelope: Envelope, part: str) -> Any:
        raise ZeroDivisionError("planted")

    parts = replace(lab.parts, evolve=broken)
    rows = Rows((lab.counters, parts))
    event = lab.Counted(counter_id="c1", amount=5)
    await rows.load_touched(connection, [event])
    with pytest.raises(ZeroDivisionError):
        rows.fold(event, envelope_of(event, 1))
    assert rows.get(lab.counters, "c1") is None
    await rows.write(connection)
    assert await connection.fetchval("SELECT count(*) FROM counter") == 0


async def test_what_nobody_loaded_cannot_be_read(lab: Lab, connection: Any):
    rows = Rows(lab.tables)
    with pytest.raises(NotLoaded, match="counter"):
        rows.get(lab.counters, "c1")
    await rows.load(connection, lab.parts, [("c1", "a")])
    assert rows.get(lab.parts, "c1", "a") is None
    with pytest.raises(NotLoaded):
        rows.get(lab.parts, "c1", "b")
    with pytest.raises(NotLoaded):
        rows.of_stream(lab.parts, "c1")
    with pytest.raises(NotLoaded):
        rows.fold(event := lab.Cleared(counter_id="c1"), envelope_of(event, 1))


def test_a_head_row_cannot_vanish(lab: Lab):
    table = replace(lab.counters, evolve=lambda row, event, envelope: None)
    rows = Rows((table,))
    rows.add(table, [], ["c1"])
    event = lab.Counted(counter_id="c1", amount=1)
    with pytest.raises(BrokenStream, match="counter c1 folded to nothing"):
        rows.fold(event, envelope_of(event, 1))


def test_a_head_row_bears_the_version_of_its_streams_last_event_and_none_changes_in_place(lab: Lab):
    rows = Rows(lab.tables)
    rows.add(lab.counters, [], ["c1"])
    rows.add(lab.parts, [], ["c1"])
    versions, seen = [], []
    for version, event in enumerate((lab.Counted(counter_id="c1", amount=1), lab.Ignored(counter_id="c1")), 1):
        rows.fold(event, envelope_of(event, version))
        seen.append(rows.get(lab.counters, "c1"))
        versions.append([row.version for row in seen if row is not None])
    assert versions == [[1], [1, 2]]


@dataclass(frozen=True, slots=True)
class OneField:
    only: str


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (Part("c1", "a", 5), {}),
        (Part("c1", "a", 5), {"total": 7}),
        (Part("c1", "a", 5), {"part": "b", "total": 0}),
        (OneField("a"), {"only": "b"}),
    ],
)
def test_a_row_is_copied_as_the_standard_library_does(row: Any, changes: dict[str, Any]):
    assert copy_of(row, **changes) == replace(row, **changes)
    assert copy_of(row, **changes) is not row


def test_a_copy_with_a_field_that_a_row_has_not_is_refused():
    with pytest.raises(TypeError, match="Part has no field colour"):
        copy_of(Part("c1", "a", 5), colour="red")


# --- Statements and locks ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def statements_on(connection: Any) -> AsyncIterator[list[str]]:
    seen: list[str] = []

    def note(record: Any) -> None:
        seen.append(record.query)

    connection.add_query_logger(note)
    yield seen
    # The driver calls its loggers in the loop's next turn.
    await asyncio.sleep(0)
    connection.remove_query_logger(note)


async def test_a_batch_takes_the_same_few_statements_whatever_its_size(lab: Lab, connection: Any):
    kinds = []
    for size in (2, 200):
        before, batch = [], []
        for n in range(size):
            first = lab.Counted(counter_id=f"s{size}-{n}", part="a", amount=1)
            then = lab.Cleared(counter_id=first.key) if n % 2 else lab.Counted(counter_id=first.key, part="b", amount=1)
            before.append((first, envelope_of(first, 1)))
            batch.append((then, envelope_of(then, 2)))
        await deliver(connection, lab.tables, before)
        async with statements_on(connection) as seen:
            await deliver(connection, lab.tables, batch)
        kinds.append([query.split()[0] for query in seen])
        left = await connection.fetchval("SELECT count(*) FROM part WHERE counter_id LIKE $1", f"s{size}-%")
        assert left == size, "half of the streams have two parts, half have none"
    few, many = kinds
    assert few == many
    # Counters by key; parts by stream and by key; an upsert each, and one delete for the parts that went.
    assert many == ["BEGIN;", "SELECT", "SELECT", "SELECT", "INSERT", "INSERT", "DELETE", "COMMIT;"]


async def test_rows_are_locked_table_by_table_in_the_order_of_their_keys(lab: Lab, connection: Any):
    keys = ("c1", "c2", "c3", "c4")
    events = [lab.Counted(counter_id=key, amount=1) for key in keys]
    await deliver(connection, lab.tables, [(event, envelope_of(event, 1)) for event in events])
    url = {"host": connection._addr[0], "port": connection._addr[1]}
    parameters = connection._params
    other, watcher = [
        await asyncpg.connect(**url, user=parameters.user, password=parameters.password, database=parameters.database)
        for _ in range(2)
    ]

    async def free(table: str) -> set[str]:
        async with watcher.transaction():
            return {
                r["counter_id"] for r in await watcher.fetch(f"SELECT counter_id FROM {table} FOR UPDATE SKIP LOCKED")
            }

    try:
        async with other.transaction():
            await other.execute("SELECT 1 FROM counter WHERE counter_id = 'c3' FOR UPDATE")

            async def load_backwards() -> None:
                async with connection.transaction():
                    await Rows(lab.tables).load_touched(connection, events[::-1])

            loading = asyncio.ensure_future(load_backwards())

            async def waits_at_the_held_row() -> bool:
                return await free("counter") == {"c4"}

            await eventually(waits_at_the_held_row, seconds=5)
            assert await free("part") == set(keys), "the second table waits for the first"
        await loading
    finally:
        await other.close()
        await watcher.close()


async def test_loading_without_locks_leaves_the_rows_free(lab: Lab, connection: Any):
    event = lab.Counted(counter_id="c1", amount=1)
    await deliver(connection, lab.tables, [(event, envelope_of(event, 1))])
    async with connection.transaction():
        await Rows(lab.tables).load(connection, lab.counters, [("c1",)], lock=False)
        held = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowShareLock'"
        assert await connection.fetchval(held) == 0


# --- Every kind of column ---------------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Mood(Word):
    CALM = "calm"


class Place(Value):
    name: Open[str]
    mood: Open[Mood]
    since: Open[datetime | None] = None


@dataclass(frozen=True, slots=True)
class Specimen:
    specimen_id: str
    version: int
    text: str
    colour: Colour
    mood: Mood
    number: int
    yes: bool
    ratio: float
    money: Decimal
    day: date
    instant: datetime
    place: Place
    places: tuple[Place, ...]
    pairs: tuple[tuple[str, int], ...]
    maybe_text: str | None = None
    maybe_colour: Colour | None = None
    maybe_number: int | None = None
    maybe_yes: bool | None = None
    maybe_money: Decimal | None = None
    maybe_day: date | None = None
    maybe_instant: datetime | None = None
    maybe_place: Place | None = None


@pytest.fixture
def specimens() -> Iterator[tuple[Table[Specimen], type[Event]]]:
    class SpecimenFact(Event, topic="speclab.specimens", key="specimen_id"):
        specimen_id: Pseudonymous[str]

    class Found(SpecimenFact):
        """The row itself is put into the fold by the test."""

    given_rows: dict[str, Specimen] = {}
    table = Table(
        "specimen",
        Specimen,
        topic="speclab.specimens",
        key=("specimen_id",),
        evolve=lambda row, event, envelope: given_rows[event.key],
        head=True,
    )
    table.__dict__["given"] = given_rows
    yield table, Found
    del EVENTS[Found.ce_type]


SPECIMEN_SQL = """
CREATE TABLE IF NOT EXISTS specimen (
    specimen_id text PRIMARY KEY, version bigint NOT NULL, text text NOT NULL, colour text NOT NULL, mood text NOT NULL,
    number bigint NOT NULL, yes boolean NOT NULL, ratio double precision NOT NULL, money numeric NOT NULL,
    day date NOT NULL, instant timestamptz NOT NULL, place jsonb NOT NULL, places jsonb NOT NULL, pairs jsonb NOT NULL,
    maybe_text text, maybe_colour text, maybe_number bigint, maybe_yes boolean, maybe_money numeric, maybe_day date,
    maybe_instant timestamptz, maybe_place jsonb
)
"""

wita = timezone(timedelta(hours=8))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, wita]))  # noqa: DTZ001
places = st.builds(Place, name=texts, mood=st.just(Mood.CALM), since=st.none() | instants)
numbers = st.integers(-(2**63), 2**63 - 1)
monies = st.decimals(-(10**12), 10**12, places=2, allow_nan=False)
days = st.dates(date(1, 1, 1), date(9999, 12, 31))
specimens_of_all_kinds = st.builds(
    Specimen,
    specimen_id=st.just("s1"),
    version=st.just(1),
    text=texts,
    colour=st.sampled_from(Colour),
    mood=st.just(Mood.CALM),
    number=numbers,
    yes=st.booleans(),
    ratio=st.floats(allow_nan=False),
    money=monies,
    day=days,
    instant=instants,
    place=places,
    places=st.lists(places, max_size=3).map(tuple),
    pairs=st.lists(st.tuples(texts, numbers), max_size=3).map(tuple),
    maybe_text=st.none() | texts,
    maybe_colour=st.none() | st.sampled_from(Colour),
    maybe_number=st.none() | numbers,
    maybe_yes=st.none() | st.booleans(),
    maybe_money=st.none() | monies,
    maybe_day=st.none() | days,
    maybe_instant=st.none() | instants,
    maybe_place=st.none() | places,
)


async def store_and_load(connection: Any, table: Table[Specimen], fact: type[Event], *stored: Specimen) -> list[Any]:
    table.__dict__["given"].update({row.specimen_id: row for row in stored})
    events = [fact(specimen_id=row.specimen_id) for row in stored]
    writing = Rows((table,))
    await writing.load_touched(connection, events)
    for event in events:
        writing.fold(event, envelope_of(event, 1))
    await writing.write(connection)
    reading_again = Rows((table,))
    await reading_again.load(connection, table, [(row.specimen_id,) for row in stored])
    return [reading_again.get(table, row.specimen_id) for row in stored]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=specimens_of_all_kinds)
async def test_every_kind_of_column_comes_back_as_it_went(
    connection: Any, specimens: tuple[Table[Specimen], type[Event]], row: Specimen
):
    await connection.execute(SPECIMEN_SQL)
    await connection.execute("TRUNCATE specimen")
    [loaded] = await store_and_load(connection, *specimens, row)
    assert loaded == row
    assert [type(getattr(loaded, c.name)) for c in columns_of(Specimen)] == [
        type(getattr(row, c.name)) for c in columns_of(Specimen)
    ]


A_SPECIMEN = Specimen(
    "s1",
    1,
    "",
    Colour.RED,
    Mood.CALM,
    0,
    False,
    0.0,
    Decimal("0.10"),
    date(2024, 7, 8),
    NOW,
    Place(name="Alas", mood=Mood.CALM),
    (),
    (),
)


async def test_a_term_that_only_a_newer_publisher_knows_is_stored_and_loaded(
    connection: Any, specimens: tuple[Table[Specimen], type[Event]]
):
    await connection.execute(SPECIMEN_SQL)
    with reading():
        new = Mood("elated")
        place = Place(name="Alas", mood=new)
    row = replace(A_SPECIMEN, mood=new, place=place, places=(place,))
    [loaded] = await store_and_load(connection, *specimens, row)
    assert loaded == row
    assert loaded.mood == "elated"
    with pytest.raises(ValueError, match="elated"):
        Mood("elated")


# --- Purity -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Loose:
    counter_id: str
    version: int
    total: int


@dataclass(frozen=True, slots=True)
class Listing:
    counter_id: str
    version: int
    amounts: list[int]


@dataclass(frozen=True, slots=True)
class Tuples:
    counter_id: str
    version: int
    amounts: tuple[int, ...]


def two_counts(lab: Lab) -> list[Delivery]:
    events = [lab.Counted(counter_id="c1", amount=n) for n in (1, 2)]
    return [(event, envelope_of(event, version)) for version, event in enumerate(events, 1)]


def head(lab: Lab, row: type, evolve: Any) -> Table[Any]:
    return Table("tallied", row, topic=lab.topic, key=("counter_id",), evolve=evolve, head=True)


def test_the_labs_own_folds_are_pure(lab: Lab):
    events = [
        lab.Counted(counter_id="c1", amount=1),
        lab.Spread(counter_id="c1", parts=("a", "b"), amount=2),
        lab.Cleared(counter_id="c1"),
    ]
    delivered = [(event, envelope_of(event, version)) for version, event in enumerate(events, 1)]
    for table in lab.tables:
        assert_pure(table, delivered)


def test_a_row_type_that_is_not_frozen_is_caught(lab: Lab):
    table = head(lab, Loose, lambda row, event, envelope: Loose(event.key, envelope.version, event.amount))
    with pytest.raises(AssertionError, match="Loose is not frozen"):
        assert_pure(table, two_counts(lab))


def test_a_field_that_can_be_changed_in_place_is_caught(lab: Lab):
    table = head(lab, Listing, lambda row, event, envelope: Listing(event.key, envelope.version, [event.amount]))
    with pytest.raises(AssertionError, match=r"Listing\.amounts can be changed in place"):
        assert_pure(table, two_counts(lab))


def test_a_fold_that_changes_its_row_is_caught(lab: Lab):
    def evolve(row: Tuples | None, event: Any, envelope: Envelope) -> Tuples:
        if row is None:
            return Tuples(event.key, envelope.version, (event.amount,))
        object.__setattr__(row, "amounts", (*row.amounts, event.amount))
        return row

    with pytest.raises(AssertionError, match="changed the row that it was given"):
        assert_pure(head(lab, Tuples, evolve), two_counts(lab))


def test_a_fold_with_a_memory_of_its_own_is_caught(lab: Lab):
    amounts: list[int] = []

    def evolve(row: Tuples | None, event: Any, envelope: Envelope) -> Tuples:
        amounts.append(event.amount)
        return Tuples(event.key, envelope.version, tuple(amounts))

    with pytest.raises(AssertionError, match="gave two answers"):
        assert_pure(head(lab, Tuples, evolve), two_counts(lab))


def test_a_table_of_several_rows_a_stream_says_what_is_touched(lab: Lab):
    with pytest.raises(TypeError, match="must say what each event touches"):
        Table("part", Part, topic=lab.topic, key=("counter_id", "part"), evolve=lambda *_: None)
    with pytest.raises(TypeError, match="needs a field version"):
        Table("part", Part, topic=lab.topic, key=("counter_id",), evolve=lambda *_: None, head=True)
    with pytest.raises(TypeError, match="key column place"):
        Table("part", Part, topic=lab.topic, key=("counter_id", "place"), evolve=lambda *_: None, touches={})
    assert one("part")(lab.Counted(counter_id="c1", amount=1, part="b")) == [("b",)]
