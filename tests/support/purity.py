"""What makes a fold pure: rows that cannot change, inputs that did not change, the same answer each time."""

import copy
import dataclasses
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from contracts.envelope import Envelope, Event
from services.kit.rows import columns_of
from services.kit.table import Key, Table, WholeStream

_CONTAINERS = (tuple, frozenset, Union, UnionType)


def assert_pure(table: Table[Any], events: Iterable[tuple[Event, Envelope]]) -> None:
    """Folds these facts into an empty table, each twice over inputs of their own.

    Fails if the row type could be changed in place, if a fold changed its row or its event, or if it gave two answers.
    """
    assert_frozen(table.row)
    rows: dict[Key, Any] = {}
    for event, envelope in events:
        for key in _touched(table, event, rows):
            row = rows.get(key)
            row_given, event_given = copy.deepcopy(row), copy.deepcopy(event)
            after = table.step(row_given, event_given, envelope, key)
            told = f"{table.evolve.__name__} at {type(event).__name__}"
            assert row_given == row, f"{told} changed the row that it was given"
            assert event_given == event, f"{told} changed the event"
            assert table.step(copy.deepcopy(row), copy.deepcopy(event), envelope, key) == after, (
                f"{told} gave two answers to one question"
            )
            rows[key] = after


def assert_frozen(row: type) -> None:
    """Fails if a row of this type, or anything in it, could be changed in place."""
    assert dataclasses.is_dataclass(row), f"{row.__name__} is no dataclass"
    assert cast(Any, row).__dataclass_params__.frozen, f"{row.__name__} is not frozen"
    hints = get_type_hints(row)
    for column in columns_of(cast(Any, row)):
        assert _unchangeable(hints[column.name]), f"{row.__name__}.{column.name} can be changed in place"


def _unchangeable(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in _CONTAINERS or hint in _CONTAINERS:
        return all(_unchangeable(part) for part in get_args(hint) if part not in (Ellipsis, NoneType))
    if origin is Literal:
        return True
    if not isinstance(hint, type):
        return False
    if dataclasses.is_dataclass(hint):
        assert_frozen(hint)
        return True
    if issubclass(hint, BaseModel):
        return bool(hint.model_config.get("frozen")) and all(
            _unchangeable(part) for part in get_type_hints(hint).values() if get_origin(part) is not None
        )
    return hint.__hash__ is not None


def _touched(table: Table[Any], event: Event, rows: dict[Key, Any]) -> list[Key]:
    if type(event) not in table.folds:
        return []
    touched = table.touched_by(event)
    if isinstance(touched, WholeStream):
        return [key for key, row in rows.items() if key[0] == event.key and row is not None]
    return list(touched)
