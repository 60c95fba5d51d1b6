"""Numbers, money, days and times as people here write them: 1.234.567; Rp1.234.567; 8 Juli 2024; 09.05 WITA."""

from datetime import date, datetime

from babel.dates import format_date, format_time
from babel.numbers import format_decimal

from services.outcomes.calendar import WITA, day_of
from services.outcomes.figures.definitions import Unit
from services.outcomes.figures.words import Language

_TIME = {"id": "HH.mm", "en": "HH:mm"}


def number(value: float | int, unit: Unit, language: Language) -> str:
    match unit:
        case Unit.RUPIAH:
            return rupiah(value, language)
        case Unit.PERCENT:
            return f"{format_decimal(value, '#,##0.#', locale=language)}%"
        case Unit.POINTS:
            return format_decimal(value, "+#,##0.#;-#,##0.#", locale=language)
        case Unit.LIVELIHOODS:
            return format_decimal(value, "#,##0.0#", locale=language)
    return count(value, language)


def count(value: float | int, language: Language) -> str:
    return format_decimal(value, "#,##0", locale=language)


def rupiah(value: float | int, language: Language) -> str:
    return f"Rp{count(round(value), language)}"


def day(value: date, language: Language) -> str:
    return format_date(value, "d MMMM y", locale=language)


def short_day(value: date, language: Language) -> str:
    return format_date(value, "d MMM y", locale=language)


def moment(value: datetime, language: Language) -> str:
    """With the time of Nusa Tenggara."""
    local = value.astimezone(WITA)
    return f"{day(day_of(value), language)}, {format_time(local, _TIME[language], locale=language)} WITA"
