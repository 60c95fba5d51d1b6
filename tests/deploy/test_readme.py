"""The papers stay true: every command they name exists, and every file that they link to is there."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.audit.__main__ import app as AUDIT
from services.kit.process import command_line
from services.registry.__main__ import SERVICE as REGISTRY

ROOT = Path(__file__).parents[2]
PAPERS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "contracts/README.md")
SERVICES = tuple(
    f"services/{name}/README.md" for name in ("registry", "training", "outcomes", "notifications", "audit")
)
RUNBOOKS = tuple(sorted(f"docs/runbooks/{file.name}" for file in (ROOT / "docs/runbooks").glob("*.md")))
ONE_SCREEN = 80


def commands_in(paper: str) -> set[str]:
    """Each `make …` of a paper, in a code block or between backticks."""
    text = (ROOT / paper).read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    quoted = "\n".join(re.findall(r"`([^`\n]+)`", text))
    return set(re.findall(r"^make [a-z-]+(?: [A-Z]+=\S+)*", f"{blocks}\n{quoted}", re.MULTILINE))


@pytest.mark.parametrize("paper", [*PAPERS, *SERVICES, *RUNBOOKS])
def test_every_make_command_of_a_paper_is_a_target(paper: str):
    for command in sorted(commands_in(paper)):
        planned = subprocess.run(
            [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert planned.returncode == 0, f"{paper} names `{command}`: {planned.stderr}"


def test_the_readme_names_every_target_that_a_newcomer_needs():
    named = {command.split()[1] for command in commands_in("README.md")}
    assert named >= {
        "demo",
        "test",
        "up",
        "down",
        "status",
        "logs",
        "clean",
        "check",
        "bench",
        "schemas",
        "saboteur",
        "audit",
    }


def test_ci_runs_check_then_test():
    script = (ROOT / ".ci/run").read_text()
    assert script.index("make check") < script.index("make test")


@pytest.mark.parametrize("paper", [*PAPERS, *SERVICES, *RUNBOOKS])
def test_every_link_of_a_paper_leads_somewhere(paper: str):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / paper).read_text()):
        assert ((ROOT / paper).parent / link).exists(), f"{paper} links to {link}"


@pytest.mark.parametrize("paper", SERVICES)
def test_a_services_paper_fits_one_screen(paper: str):
    assert len((ROOT / paper).read_text().splitlines()) <= ONE_SCREEN


def commands_of_services() -> set[tuple[str, ...]]:
    """Each `python -m services.training parked release …` of the papers. Commands of every service are the kit's."""
    named = set()
    for paper in (*SERVICES, *RUNBOOKS):
        found = re.findall(r"python -m services\.([a-z<>]+) ([a-z-]+)(?: ([a-z]+))?", (ROOT / paper).read_text())
        for service, command, rest in found:
            module = "audit" if service == "audit" else "registry"
            named.add((module, command, rest) if command == "parked" and rest else (module, command))
    return named - {("registry", "reindex")}  # Which is the registry's alone, and takes no --help.


@pytest.mark.parametrize("words", sorted(commands_of_services()), ids=" ".join)
def test_every_command_of_a_service_that_a_paper_names_is_one(words: tuple[str, ...]):
    app = AUDIT if words[0] == "audit" else command_line(REGISTRY)
    shown = CliRunner().invoke(app, [*words[1:], "--help"])
    assert shown.exit_code == 0, shown.output[-300:]


def test_every_path_of_the_architecture_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in set(re.findall(r"`((?:contracts|services|deploy|tests|benchmarks)/[A-Za-z_/]*(?:\.py)?)`", text)):
        assert (ROOT / path).exists(), f"ARCHITECTURE.md names {path}"
