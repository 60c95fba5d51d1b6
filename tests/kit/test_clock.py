"""The steered clock: it moves forward only, and a reader never misses a move."""

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kit.clock import ClockFileInvalid, ClockWouldGoBack, SteeredClock, SystemClock, clock_from, steer
from services.kit.settings import Settings

MORNING = datetime(2024, 7, 8, 1, 0, tzinfo=UTC)


@pytest.fixture
def file(tmp_path):
    steer(tmp_path / "clock", MORNING)
    return tmp_path / "clock"


def test_the_system_clock_is_aware_and_in_utc():
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_a_steered_clock_stands_still_until_it_is_moved(file):
    clock = SteeredClock(file)
    assert clock.now() == clock.now() == MORNING
    steer(file, MORNING + timedelta(days=30))
    assert clock.now() == MORNING + timedelta(days=30)


def test_a_steered_clock_does_not_go_back(file):
    with pytest.raises(ClockWouldGoBack, match="2024-07-08T01:00:00"):
        steer(file, MORNING - timedelta(microseconds=1))
    assert SteeredClock(file).now() == MORNING
    steer(file, MORNING)


def test_an_instant_in_another_zone_is_the_same_instant_in_utc(file):
    wita = timezone(timedelta(hours=8))
    steer(file, datetime(2024, 7, 8, 9, 5, tzinfo=wita))
    now = SteeredClock(file).now()
    assert (now.hour, now.minute, now.tzinfo) == (1, 5, UTC)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_every_move_is_seen_however_fast_they_follow(tmp_path, moves):
    # Inodes are used again and the kernel's clock ticks in milliseconds: neither may hide the last move.
    file = tmp_path / "clock"
    file.unlink(missing_ok=True)
    instant = MORNING
    steer(file, instant)
    clock = SteeredClock(file)
    for index, microseconds in enumerate(moves):
        instant += timedelta(microseconds=microseconds)
        steer(file, instant)
        if index % 2:
            assert clock.now() == instant
    assert clock.now() == instant


def test_two_moves_never_leave_the_same_mark_on_the_file(file):
    # The file's time is the instant itself, whatever the kernel's clock says and whether an inode is used again.
    for microseconds in (1, 2):
        steer(file, MORNING + timedelta(microseconds=microseconds))
        assert file.stat().st_mtime_ns == 1_720_400_400_000_000_000 + microseconds * 1000


def test_a_clock_that_did_not_move_is_not_read_again(file, monkeypatch):
    clock = SteeredClock(file)
    reads = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, *rest: reads.append(path) or read_text(path, *rest))
    for _ in range(100):
        clock.now()
    assert reads == []
    steer(file, MORNING + timedelta(hours=1))
    reads.clear()
    clock.now()
    assert reads == [file]


def test_a_file_written_by_hand_counts_too(file):
    clock = SteeredClock(file)
    file.write_text("2025-01-01T00:00:00+08:00\n")
    assert clock.now() == datetime(2024, 12, 31, 16, 0, tzinfo=UTC)


def test_steering_leaves_no_other_file_behind(file, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        steer(file, MORNING + timedelta(days=1))
    assert os.listdir(file.parent) == ["clock"]
    assert SteeredClock(file).now() == MORNING


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ClockFileInvalid, match="missing does not exist"):
        SteeredClock(tmp_path / "missing")
    for text in ("", "yesterday", "2024-07-08T09:00:00"):
        (tmp_path / "broken").write_text(text)
        with pytest.raises(ClockFileInvalid, match="broken holds"):
            SteeredClock(tmp_path / "broken")
    with pytest.raises(ValueError, match="time zone"):
        steer(tmp_path / "clock", datetime(2024, 7, 8))  # noqa: DTZ001 - The missing zone is the case.


def test_the_settings_choose_the_clock(file):
    common = {
        "environment": "test",
        "database_url": "postgresql://localhost/x",
        "kafka_bootstrap": "localhost:1",
        "token_issuer": "x",
        "jwks_url": "http://localhost/jwks",
    }
    assert isinstance(clock_from(Settings(**common)), SystemClock)
    assert clock_from(Settings(**common, clock_file=file)).now() == MORNING
