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
from deploy.demo.figures import Answers, Comparison, FunnelLine, total
from deploy.demo.stack import RunningStack
from deploy.demo.tally import Tally
from deploy.demo.telling import StageTime

MOST_MEMORY_MEGABYTES = 400
"""What no process of ours may use at the size of NTB."""

BAR_WIDTH = 12
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
                "messages": dict(rejected_messages(answers)),
                "requests": dict(self.tally.refusals) if self.tally else {},
            },
            "withdrawn": dict(withdrawn(answers)),
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


def rejected_messages(answers: Answers) -> Counter[str]:
    """By the field that was wrong, and why."""
    faults = [fault for rejection in answers.rejections for fault in rejection["faults"]]
    return Counter(f"{fault['field'] or 'value'}: {fault['reason'].rstrip('.')}" for fault in faults)


def withdrawn(answers: Answers) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for row in answers.training_funnel:
        reasons.update(row["withdrawn_by_reason"])
    return reasons


# --- Showing ----------------------------------------------------------------------------------------------------------


def show(console: Console, summary: Summary, stack: RunningStack) -> None:
    answers, narrow = summary.answers, console.width < ROOMY_WIDTH
    for table in (
        funnel_table(answers.funnel, narrow=narrow),
        cohort_table(answers.class_figures, narrow=narrow),
        rejection_table(summary),
        stage_table(summary.stages) if summary.stages else None,
        log_table(answers.logs),
        projection_table(answers.logs),
        memory_table(summary.peak_memory_megabytes),
    ):
        if table is not None:
            console.print()
            console.print(table)
    console.print()
    console.print(_agreement(summary))
    console.print(what_next(stack), soft_wrap=True)


def funnel_table(lines: Sequence[FunnelLine], *, narrow: bool = False) -> Table:
    """Listed, verified, enrolled, completed; a bar is as long as its number is to the largest of its column."""
    table = _table("From households listed to people who completed, by kabupaten and kota")
    table.add_column("", no_wrap=True)
    for name in _STAGES.values():
        table.add_column(name, no_wrap=True)
    largest = {stage: max((getattr(line, stage) for line in lines), default=0) for stage in _STAGES}
    for line in lines:
        bars = (bar(getattr(line, stage), largest[stage], 5 if narrow else BAR_WIDTH) for stage in _STAGES)
        counts = _counts(line)
        cells = (f"{count} [{colour}]{drawn}[/]" for count, drawn, colour in zip(counts, bars, _COLOURS, strict=True))
        table.add_row(line.name, *cells)
    all_of_them = total(lines)
    table.add_section()
    listed, verified, enrolled, completed = _counts(all_of_them)
    table.add_row(
        all_of_them.name,
        listed if narrow else f"{listed} ({all_of_them.people_listed:,} people)",
        verified,
        f"{enrolled} {_percent_of(all_of_them.enrolled, all_of_them.verified)}",
        f"{completed} {_percent_of(all_of_them.completed, all_of_them.enrolled)}",
        style="bold",
    )
    return table


_STAGES = {
    "households_listed": "households",
    "verified": "  verified",
    "enrolled": "  enrolled",
    "completed": " completed",
}
_COLOURS = ("blue", "cyan", "yellow", "green")


def _counts(line: FunnelLine) -> list[str]:
    return [f"{getattr(line, stage):>6,}" for stage in _STAGES]


def _percent_of(count: int, before: int) -> str:
    """How many of those in the column before."""
    return f"{count / before:.0%}" if before else ""


def bar(count: int, largest: int, width: int) -> str:
    """A bar in eighths of a character; whatever is not zero shows at least one eighth."""
    if largest <= 0 or count <= 0:
        return ""
    eighths = max(1, round(count * width * 8 / largest))
    full, part = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")


def cohort_table(class_figures: Sequence[Json], *, narrow: bool = False) -> Table:
    """Who had a place, who of them left it, and what became of the others in class."""
    table = _table("Cohorts")
    for name, no_wrap in (("cohort", True), ("course", False), ("where", True), ("begins", True)):
        if not (narrow and name == "where"):
            table.add_column(name, no_wrap=no_wrap)
    for name in ("placed", "left", "came"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("completed", "tests"):
        table.add_column(name, no_wrap=True)
    for row in class_figures:
        before, after = row["pre_test_average"], row["post_test_average"]
        passed = round((row["pass_rate"] or 0) * 100)
        table.add_row(
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
    return table


def _where(row: Json) -> str:
    if row["delivery_mode"] == "classroom":
        return "in class"
    return "on site, " + areas.name(row["area_code"])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def rejection_table(summary: Summary) -> Table:
    """What was not taken in, by whom and why; each was told, and nothing else was held up by it."""
    table = _table("What was refused, and why")
    table.add_column("what", no_wrap=True)
    table.add_column("why")
    table.add_column("times", justify="right")
    answers = summary.answers
    for what, reasons in (
        ("rows of the lists", _in_words(rejected_rows(answers))),
        ("participants", _in_words(rejected_participants(answers))),
        ("places given up or lost", _in_words(withdrawn(answers))),
        ("Dukcapil's messages", rejected_messages(answers)),
        ("requests", _in_words(summary.tally.refusals if summary.tally else {})),
    ):
        for reason, times in Counter(reasons).most_common():
            table.add_row(what, reason, f"{times:,}")
            what = ""
        if reasons:
            table.add_section()
    return table


def _in_words(codes: Mapping[str, int]) -> dict[str, int]:
    return {code.replace("_", " ").replace("-", " "): times for code, times in codes.items()}


def stage_table(stages: Sequence[StageTime]) -> Table:
    """How long each act took, and how many events all services wrote meanwhile."""
    table = _table("Time")
    table.add_column("act", no_wrap=True)
    for name in ("seconds", "events", "events/s"):
        table.add_column(name, justify="right")
    table.add_column("", no_wrap=True)
    longest = max((stage.seconds for stage in stages), default=0.0)
    for stage in stages:
        table.add_row(
            stage.name,
            f"{stage.seconds:.1f}",
            f"{stage.events:,}",
            f"{stage.events / stage.seconds:,.0f}" if stage.events and stage.seconds else "",
            f"[magenta]{bar(round(stage.seconds * 1000), round(longest * 1000), BAR_WIDTH * 2)}[/]",
        )
    seconds, events = sum(stage.seconds for stage in stages), sum(stage.events for stage in stages)
    table.add_section()
    table.add_row("all", f"{seconds:.1f}", f"{events:,}", f"{events / seconds:,.0f}" if seconds else "", style="bold")
    return table


def log_table(logs: Mapping[str, Json]) -> Table:
    table = _table("Events in the logs")
    table.add_column("topic", no_wrap=True)
    table.add_column("events", justify="right")
    table.add_column("log", no_wrap=True)
    table.add_column("sealed", justify="right")
    table.add_column("batches", justify="right")
    table.add_column("root of the Merkle tree", no_wrap=True)
    for name, log in logs.items():
        seal = (name, f"{log['sealed']:,}", f"{log['batches']:,}", f"{(log['root'] or '')[:16]}…")
        for number, (topic, events) in enumerate(log["events"].items()):
            table.add_row(topic, f"{events:,}", *(seal if number == 0 else ("", "", "", "")))
        table.add_section()
    return table


def projection_table(logs: Mapping[str, Json]) -> Table:
    table = _table("Tables folded from events")
    table.add_column("service", no_wrap=True)
    table.add_column("rows in each table")
    for name, log in logs.items():
        table.add_row(name, " · ".join(f"{table_name} [bold]{rows:,}[/]" for table_name, rows in log["tables"].items()))
    return table


def memory_table(peaks: Mapping[str, float]) -> Table | None:
    """The most memory each process has used; the servers' own are not ours to bound."""
    if not peaks:
        return None
    table = _table("Peak memory")
    table.add_column("process", no_wrap=True)
    table.add_column("MB", justify="right")
    table.add_column("", no_wrap=True)
    for name, peak in peaks.items():
        colour = "red" if is_ours(name) and peak > MOST_MEMORY_MEGABYTES else "blue" if is_ours(name) else "dim"
        table.add_row(name, f"{peak:,.0f}", f"[{colour}]{bar(round(peak), MOST_MEMORY_MEGABYTES, BAR_WIDTH * 2)}[/]")
    return table


def is_ours(process: str) -> bool:
    return process not in ("postgres", "kafka")


def _agreement(summary: Summary) -> Panel:
    if not summary.disagreements:
        who = "registry, training and the script's own tally" if summary.tally else "registry and training"
        return Panel(f"[green]{len(summary.comparisons)} comparisons: {who} agree.[/]", box=box.ROUNDED, expand=False)
    lines = "\n".join(f"• {comparison}" for comparison in summary.disagreements)
    return Panel(f"[bold red]They do not agree:[/]\n{lines}", box=box.ROUNDED, expand=False)


def what_next(stack: RunningStack) -> str:
    """Addresses, and lines that work as they stand."""
    registry, training = stack.services["registry"].api, stack.services["training"].api
    docs = " · ".join(f"{name} {addresses.api}/docs" for name, addresses in stack.services.items())
    read = "python3 -c 'import json, sys; print(json.load(sys.stdin)"
    return f"""
[bold]The APIs, documented[/]  {docs}

[bold]Try next[/]
  SECRET=$({read}["auditor"]["secret"])' < {stack.clients_file})
  TOKEN=$(curl -s {stack.token_url} -d grant_type=client_credentials -d client_id=auditor \\
    --data-urlencode "client_secret=$SECRET" | {read}["access_token"])')
  curl -sw "\\n" -H "Authorization: Bearer $TOKEN" {registry}/funnel
  curl -sw "\\n" -H "Authorization: Bearer $TOKEN" "{registry}/households?area=52.08&decile_to=1&limit=3"
  curl -sw "\\n" -H "Authorization: Bearer $TOKEN" {registry}/rejections
  curl -sw "\\n" -H "Authorization: Bearer $TOKEN" {training}/figures/cohorts
  curl -sw "\\n" -H "Authorization: Bearer $TOKEN" "{training}/candidates?limit=3"

[bold]The same figures for programs[/]  {stack.folder / "demo.json"}
[bold]Stop[/]  make down (the data stays) · make clean (the data goes) · make status · make logs"""


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
