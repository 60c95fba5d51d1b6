"""The scenes of the short run in which processes die at every named crash point, played under the long run's load."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults import test_cases_and_messages as messages
from tests.faults import test_crash_points as deaths
from tests.faults.arming import reached
from tests.faults.long.bulk import HeavyLoad


def crash_points_are_passed(load: HeavyLoad, folder: Path) -> dict[str, int]:
    """How many processes died at each crash point. Raises AssertionError as the tests do."""
    cohort = messages.a_cohort_whose_days_are_over(load)
    scenes: list[Callable[[Path], None]] = [
        lambda place: messages.test_workers_that_are_killed_open_each_case_once_and_tell_each_person_once(
            load, cohort, place
        ),
        lambda place: (
            messages.test_a_mail_server_that_is_away_for_a_while_and_workers_that_are_killed_send_nothing_twice(
                load, cohort, place
            )
        ),
        lambda place: deaths.test_a_process_that_is_killed_at_any_point_loses_and_doubles_nothing(load, place),
        lambda place: deaths.test_a_timer_that_is_killed_before_its_commit_does_its_work_once(load, place),
    ]
    deaths_at: Counter[str] = Counter()
    for number, scene in enumerate(scenes):
        place = folder / f"scene-{number}"
        place.mkdir()
        scene(place)
        deaths_at.update(point for _, point in reached(place))
    return dict(deaths_at)
