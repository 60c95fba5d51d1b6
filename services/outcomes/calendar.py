"""The calendar of Nusa Tenggara (WITA): on which day something falls due, and when that day begins."""

import calendar
from datetime import UTC, date, datetime, time, timedelta, timezone

WITA = timezone(timedelta(hours=8), "WITA")
"""Asia/Makassar: UTC+8 all year."""


def beginning_of(day: date) -> datetime:
    """00:00 WITA of a day, in UTC."""
    return datetime.combine(day, time.min, tzinfo=WITA).astimezone(UTC)


def day_of(instant: datetime) -> date:
    """The day that the calendar in Nusa Tenggara shows at an instant."""
    return instant.astimezone(WITA).date()


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or that month's last: 31 August and six months is 28 February."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))
