"""The locks: complete, hashed, without any host, and naming every package that the code imports."""

import ast
import re
import sys
from importlib import metadata

import pytest

from tests.support.stack import ROOT

OURS = {"benchmarks", "contracts", "deploy", "services", "tests"}


def named(file: str) -> set[str]:
    """The packages that a .in file names, with those of the files that it includes."""
    names = set()
    for line in (ROOT / file).read_text().splitlines():
        if line.startswith("-r "):
            names |= named(line[3:])
        elif line and not line.startswith("#"):
            names.add(re.split(r"[\[<>=~ ;]", line)[0])
    return names


def locked(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / file).read_text(), re.MULTILINE))


def imported(folder: str) -> set[str]:
    """The packages, by the names they are installed under, that a folder's modules import."""
    modules = {
        module.partition(".")[0]
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    installed = metadata.packages_distributions()
    foreign = modules - OURS - set(sys.stdlib_module_names)
    return {re.sub(r"[._]", "-", installed.get(module, [module])[0]).lower() for module in foreign}


@pytest.mark.parametrize("file", ["requirements", "requirements-dev"])
def test_a_lock_pins_and_hashes_all_and_names_no_host(file: str) -> None:
    text = (ROOT / f"{file}.txt").read_text()
    assert named(f"{file}.in") <= locked(f"{file}.txt").keys()
    assert "://" not in text
    assert "--index" not in text
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert [each.split()[0] for each in requirements if "==" not in each or "--hash=sha256:" not in each] == []


def test_both_locks_pin_the_same_versions() -> None:
    assert locked("requirements.txt").items() <= locked("requirements-dev.txt").items()


def test_this_environment_is_the_locked_one() -> None:
    wanted = locked("requirements-dev.txt")
    installed = {re.sub(r"[._]", "-", each.name).lower(): each.version for each in metadata.distributions()}
    both = installed.keys() & wanted.keys()
    assert {name: installed[name] for name in both} == {name: wanted[name] for name in both}


def test_services_import_only_what_is_locked_for_them_and_contracts_only_pydantic() -> None:
    assert imported("contracts") <= {"pydantic", "pydantic-core"}
    assert imported("services") <= locked("requirements.txt").keys()
    assert imported("deploy") | imported("tests") <= locked("requirements-dev.txt").keys()


def test_kafka_is_locked_by_digests_of_every_jar() -> None:
    lines = [line for line in (ROOT / "deploy/local/kafka.lock").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 46
    assert all(re.fullmatch(r"[\w.-]+:[\w.-]+:[\w.-]+ [0-9a-f]{64}", line) for line in lines)
