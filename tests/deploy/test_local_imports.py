"""The import rules of pyproject.toml bite: each is broken by an import that it is there to forbid."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support.stack import ROOT

# Rule -> the module that would break it, and the line that does.
PLANTED = {
    "house": ("services/registry/handlers.py", "import services.training.handlers"),
    "contracts": ("contracts/areas.py", "import asyncpg"),
    "registry": ("services/registry/rules/decisions.py", "import services.registry.handlers"),
    "training": ("services/training/left_over.py", "import json"),
    "outcomes": ("services/outcomes/left_over.py", "import json"),
    "notifications": ("services/notifications/left_over.py", "import json"),
    "audit": ("services/audit/story.py", "import services.kit.transaction"),
    "concepts": ("services/training/rules/state.py", "import services.training.rules.decisions"),
    "decisions": ("services/training/rules/decisions.py", "import services.training.cohorts.queries"),
    "state": ("services/training/cohorts/state.py", "import services.training.classes.decisions"),
    "pure": ("services/training/classes/decisions.py", "import logging"),
    "demo": ("deploy/demo/people.py", "import services.kit.rows"),
    "local": ("deploy/local/daemon.py", "import contracts.topics"),
    "oracles": ("tests/contracts/proof_oracle.py", "import services.kit.merkle"),
}


def lint(folder: Path) -> str:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_every_import_rule_can_be_broken(tmp_path: Path) -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {rule["id"] for rule in rules} == PLANTED.keys()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("contracts", "services", "deploy", "tests"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "schemas"))
    for file, line in PLANTED.values():
        with (tmp_path / file).open("a") as planted:
            planted.write(f"\n{line}\n")
    said = " ".join(lint(tmp_path).split())
    assert [rule["id"] for rule in rules if f"{rule['name']} BROKEN" not in said] == []
