"""The year after in tables: visits and incomes, how households stand, support, messages, cooperatives."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from rich.table import Table

from deploy.demo.clients import Json
from deploy.demo.drawing import BAR_WIDTH, bar, histogram, percent_of, table
from deploy.demo.year_figures import YearAnswers, messages_by

BINS_BELOW = 5
BINS = 10
"""Of a fifth of the line each; the last holds all above."""

# --- Visits and incomes -----------------------------------------------------------------------------------------------


def follow_up_lines(year: YearAnswers) -> list[dict[str, Any]]:
    """For each follow-up: what became of the visits, and what the recorded ones found."""
    months = sorted({visit["months"] for visit in year.follow_ups})
    return [_follow_up_line([visit for visit in year.follow_ups if visit["months"] == each], each) for each in months]


def _follow_up_line(visits: Sequence[Json], months: int) -> dict[str, Any]:
    by_status = Counter(visit["status"] for visit in visits)
    recorded = [visit for visit in visits if visit["status"] == "recorded"]
    incomes = [visit["per_person_rupiah"] for visit in recorded]
    return {
        "months": months,
        "recorded": by_status["recorded"],
        "late": sum(visit["late"] for visit in recorded),
        "missed": by_status["missed"],
        "not_asked": by_status["dropped"] + by_status["scheduled"] + by_status["due"],
        "median_rupiah_per_person": round(median(incomes)) if incomes else None,
        "above_line": sum(visit["above_line"] for visit in recorded),
        "two_livelihoods": sum(visit["livelihoods"] >= 2 for visit in recorded),
        "by_fifths_of_the_line": _bins(visit["per_person_rupiah"] / visit["line_rupiah"] for visit in recorded),
    }


def _bins(shares: Iterable[float]) -> list[int]:
    counted = Counter(min(int(share * BINS_BELOW), BINS - 1) for share in shares)
    return [counted[each] for each in range(BINS)]


def follow_up_table(year: YearAnswers, *, narrow: bool = False) -> Table:
    made = table(f"Follow-ups: income a person and month against the extreme-poverty line of {rupiah(year.line)}")
    made.add_column("after", no_wrap=True)
    for name in ("made", "late", "missed", "median"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("0 ── line ── 2x", no_wrap=True)
    made.add_column("above the line", no_wrap=True)
    if not narrow:
        made.add_column("two livelihoods", no_wrap=True)
    for line in follow_up_lines(year):
        below, above = line["by_fifths_of_the_line"][:BINS_BELOW], line["by_fifths_of_the_line"][BINS_BELOW:]
        drawn = histogram([*below, *above])
        made.add_row(
            f"{line['months']} month{'' if line['months'] == 1 else 's'}",
            f"{line['recorded']:,}",
            f"{line['late']:,}",
            f"{line['missed']:,}",
            rupiah(line["median_rupiah_per_person"]),
            f"[red]{drawn[:BINS_BELOW]}[/]│[green]{drawn[BINS_BELOW:]}[/]",
            _share(line["above_line"], line["recorded"], 4 if narrow else 8, "green"),
            *([] if narrow else [_share(line["two_livelihoods"], line["recorded"], 8, "cyan")]),
        )
    return made


def rupiah(amount: int | None) -> str:
    return "" if amount is None else f"Rp{amount:,}".replace(",", ".")


def _share(count: int, of: int, width: int, colour: str) -> str:
    return f"{count:>5,} {percent_of(count, of):>4} [{colour}]{bar(count, of, width)}[/]"


# --- How they stand ---------------------------------------------------------------------------------------------------

_STANDINGS = {
    "graduated": ("have left extreme poverty", "green"),
    "relapsed": ("had left it, and are back", "red"),
    "followed": ("are below, or not long enough above", "yellow"),
}
_ENDINGS = {
    "plan_completed": "all visits made or missed",
    "deceased": "died",
    "no_longer_participant": "moved away, or take part no longer",
    "erased": "asked to be forgotten",
    "": "still followed",
}


def standing_table(year: YearAnswers, *, narrow: bool = False) -> Table:
    """The households of who completed, by how they stand, and how their cases ended."""
    made = table(f"What became of the {len(year.cases):,} who completed")
    made.add_column("households", no_wrap=True)
    made.add_column("", justify="right", no_wrap=True)
    made.add_column("", no_wrap=True)
    standing = Counter(case["standing"] for case in year.cases)
    for code, (words, colour) in _STANDINGS.items():
        made.add_row(words, f"{standing[code]:,}", _bar(standing[code], len(year.cases), colour, narrow))
    made.add_section()
    endings = Counter(case["closed_because"] or "" for case in year.cases)
    for code, words in _ENDINGS.items():
        if endings[code]:
            made.add_row(words, f"{endings[code]:,}", _bar(endings[code], len(year.cases), "blue", narrow))
    return made


def _bar(count: int, largest: int, colour: str, narrow: bool) -> str:
    return f"[{colour}]{bar(count, largest, BAR_WIDTH if narrow else 2 * BAR_WIDTH)}[/]"


# --- Support ----------------------------------------------------------------------------------------------------------


def support_lines(year: YearAnswers) -> list[dict[str, Any]]:
    """By kind: how many reports came in, and what became of them."""
    cases = {case["case_id"] for case in year.cases}
    kinds = Counter(one["kind"] for one in year.interventions)
    return [
        {
            "kind": kind,
            "reported": times,
            **{
                status: sum(one["kind"] == kind and one["status"] == status for one in year.interventions)
                for status in ("matched", "unmatched", "dismissed")
            },
            "of_cases": sum(one["kind"] == kind and one["participant_id"] in cases for one in year.interventions),
            "rupiah": sum(one["amount_rupiah"] or 0 for one in year.interventions if one["kind"] == kind),
        }
        for kind, times in kinds.most_common()
    ]


def support_table(year: YearAnswers, *, narrow: bool = False) -> Table:
    made = table("Support that other agencies reported")
    made.add_column("kind", no_wrap=True)
    for name in ("reports", "matched", "with a case", "unmatched", "dismissed"):
        made.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        made.add_column("rupiah", justify="right", no_wrap=True)
        made.add_column("", no_wrap=True)
    lines = support_lines(year)
    largest = max((line["reported"] for line in lines), default=0)
    for line in lines:
        made.add_row(
            line["kind"].replace("_", " "),
            *(f"{line[name]:,}" for name in ("reported", "matched", "of_cases", "unmatched", "dismissed")),
            *([] if narrow else [rupiah(line["rupiah"] or None)]),
            *([] if narrow else [f"[blue]{bar(line['reported'], largest, BAR_WIDTH)}[/]"]),
        )
    return made


# --- Messages ---------------------------------------------------------------------------------------------------------

_CHANNELS = {"whatsapp": "WhatsApp", "sms": "SMS", "email": "e-mail"}


def message_table(year: YearAnswers) -> Table:
    """By rule: over which channel they went, and why the others did not."""
    made = table("Messages")
    made.add_column("rule", no_wrap=True)
    for name in (*_CHANNELS.values(), "not sent"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("why not")
    by_rule = messages_by(year.messages, "rule_id", "status", "channel", "because")
    for rule in sorted({rule for rule, *_ in by_rule}):
        sent = Counter[str]()
        kept: Counter[str] = Counter()
        for (of_rule, status, channel, because), times in by_rule.items():
            if of_rule == rule and status in ("sent", "delivered"):
                sent[channel] += times
            elif of_rule == rule:
                kept[(because or status).replace("_", " ")] += times
        made.add_row(
            rule,
            *(f"{sent[channel]:,}" if sent[channel] else "" for channel in _CHANNELS),
            f"{kept.total():,}" if kept else "",
            ", ".join(f"{why} {times:,}" for why, times in kept.most_common()),
        )
    return made


# --- Cooperatives -----------------------------------------------------------------------------------------------------


def cooperative_figures(year: YearAnswers) -> dict[str, int]:
    units = year.units
    return {
        "cooperatives": len(year.cooperatives),
        "meetings_overdue": sum(bool(one["meeting_overdue"]) for one in year.cooperatives),
        "members_recruited": sum(one["recruited"] for one in year.cooperatives),
        "business_units_planned": len(units),
        "business_units_launched": sum(unit["status"] == "launched" for unit in units),
        "jobs": sum(unit["jobs"] or 0 for unit in units),
    }


def cooperative_table(year: YearAnswers) -> Table:
    made = table("Cooperatives and business units")
    made.show_header = False
    made.add_column("", no_wrap=True, min_width=30)
    made.add_column("", justify="right", no_wrap=True)
    for name, count in cooperative_figures(year).items():
        made.add_row(name.replace("_", " "), f"{count:,}")
    return made
