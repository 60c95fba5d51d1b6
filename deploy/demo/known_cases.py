"""What has to become of each case, as the script works it out for itself from what it did. Plain on purpose.

It shares no code with the services: what they say in the end is held against this.
"""

import calendar
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from contracts.areas import AreaCode
from deploy.demo.households import Living, Terms


def months_after(day: date, months: int) -> date:
    """The same day of a later month, or its last day where it has none."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


@dataclass(frozen=True)
class Recorded:
    """A visit that was taken in."""

    months: int
    on: date
    living: Living
    late: bool


@dataclass
class KnownCase:
    kabupaten: AreaCode  # where the participant lived at completion
    completed_on: date
    plan: Mapping[str, Any]  # the follow-up plan's definition
    terms: Terms
    fallen_due: set[int] = field(default_factory=set)  # by months, as all of these
    missed: set[int] = field(default_factory=set)
    recorded: dict[int, Recorded] = field(default_factory=dict)
    standing: str = "followed"
    graduations: int = 0
    relapses: int = 0
    closed: str | None = None
    closed_on: date | None = None
    interventions: Counter[str] = field(default_factory=Counter)  # by kind

    @property
    def months(self) -> Sequence[int]:
        months: Sequence[int] = self.plan["months"]
        return months

    @property
    def statuses(self) -> dict[int, str]:
        """How each follow-up stands."""
        return {months: self._status(months) for months in self.months}

    def _status(self, months: int) -> str:
        if months in self.recorded:
            return "recorded"
        if months in self.missed:
            return "missed"
        if self.closed:
            return "dropped"
        return "due" if months in self.fallen_due else "scheduled"

    def due_on(self, months: int) -> date:
        return months_after(self.completed_on, months)

    def missed_after(self, months: int) -> date:
        return self.due_on(months) + timedelta(days=self.plan["missed_after_days"])

    def pass_time(self, today: date) -> None:
        """What falls due and what is missed up to today."""
        for months in self.months:
            if self.closed or months in self.recorded:
                continue
            if self.due_on(months) <= today:
                self.fallen_due.add(months)
            if self.missed_after(months) < today and months not in self.missed:
                self.missed.add(months)
                self._close_if_all_is_settled(self.missed_after(months) + timedelta(days=1))

    def record(self, months: int, on: date, living: Living, today: date) -> None:
        """A visit that was made on a day and came in today."""
        self.recorded[months] = Recorded(months, on, living, late=on > self.missed_after(months))
        self._turn()
        self._close_if_all_is_settled(today)

    def close(self, because: str, today: date) -> None:
        if not self.closed:
            self.closed, self.closed_on = because, today

    def _close_if_all_is_settled(self, today: date) -> None:
        if set(self.months) <= self.recorded.keys() | self.missed:
            self.close("plan_completed", today)

    def _turn(self) -> None:
        visits = sorted(self.recorded.values(), key=lambda visit: (visit.on, visit.months))
        if self.standing == "graduated":
            if visits[-1].living.per_person < self.terms["line_rupiah_per_person_month"]:
                self.standing, self.relapses = "relapsed", self.relapses + 1
            return
        row = visits[-self.terms["follow_ups_in_a_row"] :]
        if len(row) < self.terms["follow_ups_in_a_row"] or row[-1].months < self.terms["not_before_months"]:
            return
        gaps = [self.due_on(months) for months in self.missed - self.recorded.keys()]
        if any(row[0].on < due_on <= row[-1].on for due_on in gaps):
            return
        if all(visit.living.meets(self.terms) for visit in row):
            self.standing, self.graduations = "graduated", self.graduations + 1
