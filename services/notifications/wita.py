"""The day and the night of Nusa Tenggara (WITA): when a day begins, and when nobody is to be woken by a message."""

from datetime import UTC, date, datetime, time, timedelta, timezone

WITA = timezone(timedelta(hours=8), "WITA")
"""Asia/Makassar: UTC+8 all year."""

MORNING = time(8, 0)
"""When a reminder goes out, on its day."""


def at(day: date, time_of_day: time = time.min) -> datetime:
    """A time of a day in WITA, in UTC."""
    return datetime.combine(day, time_of_day, tzinfo=WITA).astimezone(UTC)


def local(instant: datetime) -> datetime:
    """What calendar and clock in Nusa Tenggara show at an instant."""
    return instant.astimezone(WITA)


def after_quiet_hours(instant: datetime, quiet_from: str, quiet_until: str) -> datetime:
    """The instant, or the end of the quiet hours that it falls into.

    "20:00" until "07:00" is over midnight; the same time twice means that no hour is quiet. An instant at the beginning
    is quiet, one at the end is not.
    """
    begins, ends = time.fromisoformat(quiet_from), time.fromisoformat(quiet_until)
    here = local(instant)
    now = here.time()
    if begins <= ends:
        return at(here.date(), ends) if begins <= now < ends else instant
    if now >= begins:
        return at(here.date() + timedelta(days=1), ends)
    return at(here.date(), ends) if now < ends else instant
