"""Crash points: a real process dies by SIGKILL at the named place, and only there."""

import signal
import subprocess
import sys

import pytest

from services.kit.crash import CRASH_POINTS, UnknownCrashPoint, arm, crash_point, parse_crash_points

PROGRAM = """
import sys
from pathlib import Path
from services.kit.crash import arm, crash_point, parse_crash_points

arm(parse_crash_points(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None)
for passage in (1, 2, 3, 4):
    crash_point("command-before-commit")
    crash_point("sealed-not-sent")
    sys.stdout.write(f"{passage} ")
    sys.stdout.flush()
"""


def run(*arguments):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(), done.stderr


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    arm({})


def test_an_unarmed_process_passes_every_point():
    assert run("") == (0, ["1", "2", "3", "4"], "")
    for name in CRASH_POINTS:
        crash_point(name)


def test_an_armed_point_kills_the_process_at_the_first_passage():
    code, passed, said = run("sealed-not-sent")
    assert (code, passed) == (-signal.SIGKILL, [])
    assert "crash point sealed-not-sent" in said


def test_a_point_can_wait_for_a_later_passage():
    assert run("sealed-not-sent:3")[:2] == (-signal.SIGKILL, ["1", "2"])
    assert run("sealed-not-sent:5")[:2] == (0, ["1", "2", "3", "4"])


def test_of_several_points_the_first_that_is_reached_kills():
    code, passed, said = run("sealed-not-sent:2, command-before-commit:4")
    assert (code, passed) == (-signal.SIGKILL, ["1"])
    assert "sealed-not-sent" in said


def test_with_a_folder_a_restarted_process_survives_the_same_point(tmp_path):
    assert run("sealed-not-sent", str(tmp_path))[0] == -signal.SIGKILL
    assert run("sealed-not-sent", str(tmp_path))[:2] == (0, ["1", "2", "3", "4"])
    assert run("command-before-commit", str(tmp_path))[0] == -signal.SIGKILL


def test_an_unknown_name_is_refused_where_it_is_armed_and_where_it_stands():
    with pytest.raises(UnknownCrashPoint, match=r"sealed-not-send.*known are .*sealed-not-sent"):
        parse_crash_points("sealed-not-send")
    with pytest.raises(UnknownCrashPoint):
        arm({"somewhere": 1})
    with pytest.raises(UnknownCrashPoint):
        crash_point("somewhere")


@pytest.mark.parametrize("passage", ["0", "-1", "x", "1.5", "²"])
def test_a_passage_that_is_no_number_from_one_is_refused(passage):
    with pytest.raises(ValueError, match="number from 1"):
        parse_crash_points(f"sealed-not-sent:{passage}")


def test_spaces_and_empty_parts_do_no_harm():
    assert parse_crash_points("") == {}
    assert parse_crash_points(" sealed-not-sent , half-an-import:7,") == {"sealed-not-sent": 1, "half-an-import": 7}
