"""Records that wait and do not come: noticed in time, again and again but ever more rarely, and never without cause."""

import pytest

from services.kit.positions import Place
from services.kit.standstill import LONGEST_SECONDS, PATIENCE_SECONDS, Standstill

HERE, THERE = Place("registry.households", 0), Place("registry.households", 1)
SOON, LATE = PATIENCE_SECONDS - 1, PATIENCE_SECONDS + 1


@pytest.fixture
def standstill() -> Standstill:
    made = Standstill()
    assert made.lasts([HERE, THERE], 0.0) == set()
    return made


def test_what_waits_for_too_long_is_stuck(standstill: Standstill):
    assert standstill.lasts([HERE, THERE], SOON) == set()
    assert standstill.lasts([HERE, THERE], LATE) == {HERE, THERE}


def test_what_was_brought_or_waits_no_more_is_not(standstill: Standstill):
    standstill.brought([HERE])
    assert standstill.lasts([HERE, THERE], LATE) == {THERE}


def test_what_waits_again_has_not_waited_all_the_time(standstill: Standstill):
    assert standstill.lasts([HERE], SOON) == set()
    assert standstill.lasts([HERE, THERE], LATE) == {HERE}


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
    assert standstill.lasts([HERE], LATE) == {HERE}
    assert standstill.lasts([], LATE + 1) == set()
    assert standstill.lasts([HERE], LATE + 2) == set()
    assert standstill.lasts([HERE], 2 * LATE + 2) == {HERE}
