"""The AsyncAPI documents, in the eyes of the format's official parser (npm) and beside the table of topics."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from contracts.envelope import Envelope, Position, headers_of
from contracts.service_documents import services
from contracts.topics import TOPICS, checkpoints_of, heard_by, published_by
from tests.support.tools import without

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "contracts" / "asyncapi"
TOOL = Path(__file__).parent / "asyncapi"
INSTALL_TIMEOUT_SECONDS = 300
PARSE_TIMEOUT_SECONDS = 120
ERROR = 0  # the parser's severities: 0 error, 1 warning, 2 information, 3 hint


@pytest.fixture(scope="session")
def parser() -> dict[str, str]:
    """An environment in which Node finds the parser: installed once from its lock file, under .local."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        without("node and npm are not installed", "the AsyncAPI documents")
    lock = (TOOL / "package-lock.json").read_bytes()
    home = ROOT / ".local" / "asyncapi-parser" / sha256(lock).hexdigest()[:16]
    if not home.exists():
        install(home)
    return os.environ | {"NODE_PATH": str(home / "node_modules")}


def install(home: Path) -> None:
    """Installs beside and moves into place, so that an install which was cut off is never taken for a whole one."""
    unfinished = home.with_name(f"{home.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(TOOL / name, unfinished)
    done = subprocess.run(
        ["npm", "ci"], cwd=unfinished, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(unfinished)
        without(f"npm could not install @asyncapi/parser:\n{done.stderr[-2000:]}", "the AsyncAPI documents")
    try:
        unfinished.rename(home)
    except OSError:
        shutil.rmtree(unfinished)  # Another run was faster.


def errors(environment: dict[str, str], *documents: Path) -> list[str]:
    """What the parser holds to be wrong, as "path: message"."""
    done = subprocess.run(
        ["node", str(TOOL / "diagnose.cjs"), *map(str, documents)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PARSE_TIMEOUT_SECONDS,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found.keys() == {str(document) for document in documents}
    return [f"{d['path']}: {d['message']}" for of in found.values() for d in of if d["severity"] == ERROR]


def document(service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCUMENTS / f"{service}.json").read_text(encoding="utf-8"))
    return found


# --- The parser's word ------------------------------------------------------------------------------------------------


def test_the_official_parser_accepts_the_documents(parser):
    assert errors(parser, *sorted(DOCUMENTS.glob("*.json"))) == []


def test_the_official_parser_refuses_what_is_wrong(parser, tmp_path):
    """Else its word would be worth nothing."""
    astray, unbound = document("training"), document("training")
    astray["operations"]["send-training.cohorts"]["channel"]["$ref"] = "#/channels/nowhere"
    unbound["channels"]["training.cohorts"]["bindings"]["kafka"]["partitions"] = "six"
    for name, broken in (("astray", astray), ("unbound", unbound)):
        (tmp_path / f"{name}.json").write_text(json.dumps(broken))
    complaints = errors(parser, tmp_path / "astray.json", tmp_path / "unbound.json")
    assert any("nowhere" in complaint for complaint in complaints)
    assert any("partitions" in complaint for complaint in complaints)


# --- What the documents say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", services())
def test_a_service_sends_its_own_topics_and_receives_what_it_hears(service):
    operations = document(service)["operations"].values()
    directions = {(operation["action"], operation["channel"]["$ref"]) for operation in operations}
    assert directions == {
        ("send", f"#/channels/{topic.name}") for topic in (*published_by(service), checkpoints_of(service))
    } | {("receive", f"#/channels/{topic.name}") for topic in heard_by(service)}


@pytest.mark.parametrize("service", services())
def test_a_channel_is_kept_and_cut_as_its_topic(service):
    for name, channel in document(service)["channels"].items():
        topic, kafka = TOPICS[name], channel["bindings"]["kafka"]
        assert (channel["address"], kafka["topic"], kafka["partitions"]) == (name, name, topic.partitions)
        assert (channel["x-owner"], channel["x-audience"]) == (topic.owner, topic.audience)
        assert channel["messages"].keys() == ({event.ce_type for event in topic.events} or {"Checkpoint"})
        kept = kafka["topicConfiguration"]["retention.ms"]
        assert kept == {None: -1, 7: 604_800_000}[topic.retention_days]


def test_the_headers_that_are_described_are_those_that_are_written():
    described = document("training")["components"]["schemas"]["EntasHeaders"]
    texts = dict.fromkeys(("id", "type", "source", "topic", "key", "actor", "correlation_id"), "x")
    now = datetime.now(UTC)
    whole = Envelope(**texts, version=1, time=now, recorded=now, causation_id="x", traceparent="x")
    written = {name for name, _ in headers_of(whole, Position(1, 0))}
    assert described["properties"].keys() == written
    assert written - set(described["required"]) == {"ce_causationid", "ce_traceparent"}


@pytest.mark.parametrize("service", services())
def test_examples_fit_the_headers_and_the_payload_of_their_message(service):
    whole = document(service)
    for message in whole["components"]["messages"].values():
        if message["contentType"] == "text/plain":
            continue  # A checkpoint is no JSON.
        (example,) = message["examples"]
        for part in ("headers", "payload"):
            # A reference is looked up in the document, so the document goes with it.
            fits = Draft7Validator({"definitions": {"part": message[part]}, **whole, "$ref": "#/definitions/part"})
            assert [error.message for error in fits.iter_errors(example[part])] == []
            assert not fits.is_valid(dict.fromkeys(example[part], 1))


# --- Where npm is missing ---------------------------------------------------------------------------------------------


def test_a_missing_npm_skips_on_a_desk_and_fails_where_changes_are_judged(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="node and npm are not installed"):
        without("node and npm are not installed", "the AsyncAPI documents")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI has to check the AsyncAPI documents"):
        without("node and npm are not installed", "the AsyncAPI documents")
