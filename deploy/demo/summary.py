"""The end of the demo: what happened, in tables that people would rather look at than read; plain when piped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from contracts import areas
from deploy.demo.clients import Json
from deploy.demo.comparing import Comparison
from deploy.demo.drawing import BAR_WIDTH, bar, percent_of, table
from deploy.demo.figures import Answers, FunnelLine, total
from deploy.demo.stack import RunningStack
from deploy.demo.tally import Tally
from deploy.demo.telling import StageTime
from deploy.demo.year_summary import (
    cooperative_figures,
    cooperative_table,
    follow_up_lines,
    follow_up_table,
    message_table,
    standing_table,
    support_lines,
    support_table,
)

MOST_MEMORY_MEGABYTES = 400
"""What no process of ours may use at the size of NTB."""

ROOMY_WIDTH = 116
"""From so many characters on, the widest tables can be shown whole."""


@dataclass(frozen=True)
class Summary:
    size: str
    answers: Answers
    comparisons: Sequence[Comparison]
    stages: Sequence[StageTime]
    peak_memory_megabytes: Mapping[str, float]
    tally: Tally | None = None  # none when it was played before

    @property
    def disagreements(self) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if not comparison.agrees]

    def figures(self) -> dict[str, Any]:
        """All that is shown, for programs: `.local/demo.json`."""
        answers = self.answers
        return {
            "size": self.size,
            "funnel": [asdict(line) for line in [*answers.funnel, total(answers.funnel)]],
            "cohorts": answers.class_figures,
            "rejected": {
                "list_rows": dict(rejected_rows(answers)),
                "participants": dict(rejected_participants(answers)),
                "messages": dict(rejected_messages(answers.rejections)),
                "reports": dict(rejected_messages(answers.year.rejections)),
                "requests": dict(self.tally.refusals) if self.tally else {},
            },
            "withdrawn": dict(withdrawn(answers)),
            "follow_ups": follow_up_lines(answers.year),
            "standing": dict(Counter(case["standing"] for case in answers.year.cases)),
            "closed": dict(Counter(c["closed_because"] for c in answers.year.cases if c["closed_because"])),
            "support": support_lines(answers.year),
            "cooperatives": cooperative_figures(answers.year),
            "notifications": answers.year.messages,
            "events": {topic: n for log in answers.logs.values() for topic, n in log["events"].items()},
            "tables": {name: log["tables"] for name, log in answers.logs.items()},
            "logs": {
                name: {key: log[key] for key in ("sealed", "batches", "root")} for name, log in answers.logs.items()
            },
            "stages": [asdict(stage) for stage in self.stages],
            "seconds": round(sum(stage.seconds for stage in self.stages), 1),
            "peak_memory_megabytes": {name: round(peak) for name, peak in self.peak_memory_megabytes.items()},
            "comparisons": len(self.comparisons),
            "disagreements": [str(comparison) for comparison in self.disagreements],
        }


# --- Counting ---------------------------------------------------------------------------------------------------------


def rejected_rows(answers: Answers) -> Counter[str]:
    return Counter(problem["code"] for problem in answers.list_problems if problem["severity"] == "rejection")


def rejected_participants(answers: Answers) -> Counter[str]:
    return Counter(p["rejection"] for p in answers.participants if p["rejection"])


def rejected_messages(rejections: Sequence[Json]) -> Counter[str]:
    """By the field that was wrong, and why."""
    faults = [fault for rejection in rejections for fault in rejection["faults"]]
    return Counter(f"{fault['field'] or 'value'}: {fault['reason'].rstrip('.')}" for fault in faults)


def withdrawn(answers: Answers) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for row in answers.training_funnel:
        reasons.update(row["withdrawn_by_reason"])
    return reasons


# --- Showing ----------------------------------------------------------------------------------------------------------


def show(console: Console, summary: Summary, stack: RunningStack) -> None:
    answers, narrow = summary.answers, console.width < ROOMY_WIDTH
    for made in (
        cohort_table(answers.class_figures, narrow=narrow),
        follow_up_table(answers.year, narrow=narrow),
        standing_table(answers.year, narrow=narrow),
        support_table(answers.year, narrow=narrow),
        cooperative_table(answers.year),
        message_table(answers.year),
        rejection_table(summary),
        stage_table(summary.stages) if summary.stages else None,
        log_table(answers.logs, narrow=narrow),
        projection_table(answers.logs),
        memory_table(summary.peak_memory_megabytes),
        funnel_table(answers.funnel, narrow=narrow),
    ):
        if made is not None:
            console.print()
            console.print(made)
    console.print()
    console.print(_agreement(summary))
    console.print(what_next(stack), soft_wrap=True)


def funnel_table(lines: Sequence[FunnelLine], *, narrow: bool = False) -> Table:
    """From listed to graduated; a bar is as long as its number is to the largest of its column."""
    made = table("From households listed to households that left extreme poverty, by kabupaten and kota")
    made.add_column("", no_wrap=True)
    for name in _STAGES.values():
        made.add_column(name, no_wrap=True)
    largest = {stage: max((getattr(line, stage) for line in lines), default=0) for stage in _STAGES}
    for line in lines:
        bars = (bar(getattr(line, stage), largest[stage], 3 if narrow else BAR_WIDTH - 3) for stage in _STAGES)
        counts = _counts(line)
        cells = (f"{count} [{colour}]{drawn}[/]" for count, drawn, colour in zip(counts, bars, _COLOURS, strict=True))
        made.add_row(line.name, *cells)
    all_of_them = total(lines)
    made.add_section()
    listed, verified, enrolled, completed, graduated = _counts(all_of_them)
    made.add_row(
        all_of_them.name,
        listed,
        verified,
        f"{enrolled} {percent_of(all_of_them.enrolled, all_of_them.verified)}",
        f"{completed} {percent_of(all_of_them.completed, all_of_them.enrolled)}",
        f"{graduated} {percent_of(all_of_them.graduated, all_of_them.completed)}",
        style="bold",
    )
    return made


_STAGES = {
    "households_listed": "households",
    "verified": "  verified",
    "enrolled": "  enrolled",
    "completed": " completed",
    "graduated": " graduated",
}
_COLOURS = ("blue", "cyan", "yellow", "magenta", "green")


def _counts(line: FunnelLine) -> list[str]:
    return [f"{getattr(line, stage):>6,}" for stage in _STAGES]


def cohort_table(class_figures: Sequence[Json], *, narrow: bool = False) -> Table:
    """Who had a place, who of them left it, and what became of the others in class."""
    made = table("Cohorts")
    for name, no_wrap in (("cohort", True), ("course", False), ("where", True), ("begins", True)):
        if not (narrow and name == "where"):
            made.add_column(name, no_wrap=no_wrap)
    for name in ("placed", "left", "came"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in ("completed", "tests"):
        made.add_column(name, no_wrap=True)
    for row in class_figures:
        before, after = row["pre_test_average"], row["post_test_average"]
        passed = round((row["pass_rate"] or 0) * 100)
        made.add_row(
            row["number"],
            row["course_title"],
            *([] if narrow else [_where(row)]),
            f"{date.fromisoformat(row['starts_on']):%d %b}",
            str(row["enrolled"]),
            str(row["withdrawn"]),
            _percent(row["attendance_rate"]),
            f"{row['completed']:>3} {_percent(row['pass_rate']):>4} "
            + ("" if narrow else f"[green]{bar(passed, 100, 8):<8}[/]"),
            "" if before is None or after is None else f"{before:.0f} → {after:.0f}",
        )
    return made


def _where(row: Json) -> str:
    if row["delivery_mode"] == "classroom":
        return "in class"
    return "on site, " + areas.name(row["area_code"])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def rejection_table(summary: Summary) -> Table:
    """What was not taken in, by whom and why; each was told, and nothing else was held up by it."""
    made = table("What was refused, and why")
    made.add_column("what", no_wrap=True)
    made.add_column("why")
    made.add_column("times", justify="right")
    answers = summary.answers
    for what, reasons in (
        ("rows of the lists", _in_words(rejected_rows(answers))),
        ("participants", _in_words(rejected_participants(answers))),
        ("places given up or lost", _in_words(withdrawn(answers))),
        ("Dukcapil's messages", rejected_messages(answers.rejections)),
        ("the cooperatives' agency's", rejected_messages(answers.year.rejections)),
        ("requests", _in_words(summary.tally.refusals if summary.tally else {})),
    ):
        for reason, times in Counter(reasons).most_common():
            made.add_row(what, reason, f"{times:,}")
            what = ""
        if reasons:
            made.add_section()
    return made


def _in_words(codes: Mapping[str, int]) -> dict[str, int]:
    return {code.replace("_", " ").replace("-", " "): times for code, times in codes.items()}


def stage_table(stages: Sequence[StageTime]) -> Table:
    """How long each act took, and how many events all services wrote meanwhile."""
    made = table("Time")
    made.add_column("act", no_wrap=True)
    for name in ("seconds", "events", "events/s"):
        made.add_column(name, justify="right")
    made.add_column("", no_wrap=True)
    longest = max((stage.seconds for stage in stages), default=0.0)
    for stage in stages:
        made.add_row(
            stage.name,
            f"{stage.seconds:.1f}",
            f"{stage.events:,}",
            f"{stage.events / stage.seconds:,.0f}" if stage.events and stage.seconds else "",
            f"[magenta]{bar(round(stage.seconds * 1000), round(longest * 1000), BAR_WIDTH * 2)}[/]",
        )
    seconds, events = sum(stage.seconds for stage in stages), sum(stage.events for stage in stages)
    made.add_section()
    made.add_row("all", f"{seconds:.1f}", f"{events:,}", f"{events / seconds:,.0f}" if seconds else "", style="bold")
    return made


def log_table(logs: Mapping[str, Json], *, narrow: bool = False) -> Table:
    made = table("Events in the logs")
    made.add_column("topic", no_wrap=True)
    made.add_column("events", justify="right")
    made.add_column("log", no_wrap=True)
    made.add_column("sealed", justify="right")
    if not narrow:
        made.add_column("batches", justify="right")
    made.add_column("Merkle root" if narrow else "root of the Merkle tree", no_wrap=True)
    for name, log in logs.items():
        batches = [] if narrow else [f"{log['batches']:,}"]
        seal = (name, f"{log['sealed']:,}", *batches, f"{(log['root'] or '')[: 8 if narrow else 16]}…")
        for number, (topic, events) in enumerate(log["events"].items()):
            made.add_row(topic, f"{events:,}", *(seal if number == 0 else [""] * len(seal)))
        made.add_section()
    return made


def projection_table(logs: Mapping[str, Json]) -> Table:
    made = table("Tables folded from events")
    made.add_column("service", no_wrap=True)
    made.add_column("rows in each table")
    for name, log in logs.items():
        made.add_row(name, " · ".join(f"{table_name} [bold]{rows:,}[/]" for table_name, rows in log["tables"].items()))
    return made


def memory_table(peaks: Mapping[str, float]) -> Table | None:
    """The most memory each process has used; the servers' own are not ours to bound."""
    if not peaks:
        return None
    made = table("Peak memory")
    made.add_column("process", no_wrap=True)
    made.add_column("MB", justify="right")
    made.add_column("", no_wrap=True)
    for name, peak in peaks.items():
        colour = "red" if is_ours(name) and peak > MOST_MEMORY_MEGABYTES else "blue" if is_ours(name) else "dim"
        made.add_row(name, f"{peak:,.0f}", f"[{colour}]{bar(round(peak), MOST_MEMORY_MEGABYTES, BAR_WIDTH * 2)}[/]")
    return made


def is_ours(process: str) -> bool:
    return process not in ("postgres", "kafka")


def _agreement(summary: Summary) -> Panel:
    if not summary.disagreements:
        who = "the services and the script's own tally" if summary.tally else "the services"
        return Panel(f"[green]{len(summary.comparisons)} comparisons: {who} agree.[/]", box=box.ROUNDED, expand=False)
    lines = "\n".join(f"• {comparison}" for comparison in summary.disagreements)
    return Panel(f"[bold red]They do not agree:[/]\n{lines}", box=box.ROUNDED, expand=False)


def what_next(stack: RunningStack) -> str:
    """Addresses, and lines that work as they stand."""
    address = {name: addresses.api for name, addresses in stack.services.items()}
    docs = " · ".join(f"{name} {api}/docs" for name, api in address.items())
    read = "python3 -c 'import json, sys; print(json.load(sys.stdin)"
    ask = 'curl -sw "\\n" -H "Authorization: Bearer $TOKEN"'
    return f"""
[bold]The page that everybody may see[/]  {address["outcomes"]}/
[bold]The APIs, documented[/]  {docs}

[bold]Try next[/]
  curl -sw "\\n" "{address["outcomes"]}/public/figures/graduated?by=kabupaten"
  SECRET=$({read}["auditor"]["secret"])' < {stack.clients_file})
  TOKEN=$(curl -s {stack.token_url} -d grant_type=client_credentials -d client_id=auditor \\
    --data-urlencode "client_secret=$SECRET" | {read}["access_token"])')
  {ask} {address["registry"]}/funnel
  {ask} "{address["registry"]}/households?area=52.08&decile_to=1&limit=3"
  {ask} {address["training"]}/figures/cohorts
  {ask} "{address["outcomes"]}/cases?standing=graduated&limit=3"
  {ask} "{address["outcomes"]}/interventions?status=unmatched"
  {ask} "{address["notifications"]}/notifications?rule=follow-up-due&limit=3"

[bold]Messages that would have been sent[/]  {stack.messages}
[bold]The same figures for programs[/]  {stack.folder / "demo.json"}
[bold]Each with the article it answers[/]  {stack.folder / "figures.json"}
[bold]Stop[/]  make down (the data stays) · make clean (the data goes) · make status · make logs"""
