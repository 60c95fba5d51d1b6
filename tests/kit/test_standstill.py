"""Records that wait and do not come: noticed in time, again and again but ever more rarely, and never without cause."""

from collections.abc import Sequence

import pytest

from services.kit.positions import Place
from services.kit.standstill import LONGEST_SECONDS, PATIENCE_SECONDS, UNSEEN_SECONDS, Standstill

HERE, THERE = Place("registry.households", 0), Place("registry.households", 1)
LATE = int(PATIENCE_SECONDS) + 1


@pytest.fixture
def standstill() -> Standstill:
    return Standstill()


def found(standstill: Standstill, waiting: Sequence[Place], seconds: range) -> set[Place]:
    """What was found stuck while somebody looked each second."""
    return {place for second in seconds for place in standstill.lasts(waiting, float(second))}


def test_what_waits_for_too_long_is_stuck(standstill: Standstill):
    assert found(standstill, [HERE, THERE], range(LATE)) == set()
    assert standstill.lasts([HERE, THERE], LATE) == {HERE, THERE}


def test_what_was_brought_or_waits_no_more_is_not(standstill: Standstill):
    found(standstill, [HERE, THERE], range(LATE))
    standstill.brought([HERE])
    assert standstill.lasts([HERE, THERE], LATE) == {THERE}


def test_what_waits_again_has_not_waited_all_the_time(standstill: Standstill):
    found(standstill, [HERE, THERE], range(5))
    found(standstill, [HERE], range(5, LATE))
    assert standstill.lasts([HERE, THERE], LATE) == {HERE}


def test_while_nobody_could_look_nothing_can_be_said_to_have_waited(standstill: Standstill):
    """Kafka was away for a minute, or the process slept: what waits then is on its way."""
    found(standstill, [HERE], range(5))
    back = 5 + 60
    assert UNSEEN_SECONDS < 60
    assert found(standstill, [HERE], range(back, back + LATE)) == set()
    assert standstill.lasts([HERE], back + LATE) == {HERE}


def test_patience_doubles_each_time_and_is_bounded(standstill: Standstill):
    now, waits = 0.0, []
    for _ in range(9):
        began = now
        while not standstill.lasts([HERE], now):
            now += 1.0
        waits.append(now - began)
    assert waits[0] < waits[1] < waits[2] < waits[3]
    assert LONGEST_SECONDS < waits[-1] < LONGEST_SECONDS + 3


def test_patience_is_what_it_was_once_nothing_waits(standstill: Standstill):
    assert found(standstill, [HERE], range(LATE + 1)) == {HERE}
    assert standstill.lasts([], LATE + 1) == set()
    assert found(standstill, [HERE], range(LATE + 2, 2 * LATE + 2)) == set()
    assert standstill.lasts([HERE], 2 * LATE + 2) == {HERE}
