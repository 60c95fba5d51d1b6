"""Archives: a stranger's Python verifies them, nothing in them changes unseen, and a database can be made of them."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.envelope import proof_bytes, value_digest
from services.audit import sample, standalone
from services.audit.archive import ArchiveSource, ArchiveWriter, NoArchive, entry_line
from services.audit.importing import NotImported, import_log
from services.audit.made import made_log
from services.audit.places import SERVICES
from services.audit.verify import verify_log
from services.kit.checkpoints import make_checkpoint
from services.kit.database import migrate
from services.kit.log_entries import entry_lines
from services.kit.merkle import leaf_hash
from services.kit.notes import Signer
from tests.support.databases import FreshDatabase

ROOT = Path(__file__).parents[2]
ARCHIVIST = Signer("entas/archive", bytes(range(32)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two services, in segments of 64 events."""
    import asyncio

    folder = tmp_path_factory.mktemp("archive") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.audit.archive.SEGMENT", 64)
        asyncio.run(write(folder))
    return folder


async def write(folder: Path) -> None:
    with ArchiveWriter(folder, ARCHIVIST) as writer:
        for service in ("registry", "outcomes"):
            log = made_log(service, 300, 70)
            await writer.add_log(service, log, log.signer.verifier)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def verified(archive: Path, *options: str, script: str = "verify.py") -> tuple[int, str]:
    """What the verifier in an archive says, with nothing to import but the standard library."""
    command = [sys.executable, "-I", "-S", str(archive / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=archive)
    return done.returncode, done.stdout + done.stderr


def test_an_archive_verifies_itself(made: Path):
    status, said = verified(made)
    assert status == 0, said
    assert "all is well: 600 events are what was signed" in said
    assert "registry: 300 events, of which 300 are what was signed" in said
    keys = [f"--key={made / 'keys' / name}" for name in ("archive.vkey", "registry.vkey", "outcomes.vkey")]
    status, said = verified(made, *keys, "--processes=1")
    assert (status, "Keys" in said) == (0, False)


def test_keys_that_were_given_by_another_way_are_believed_and_not_those_in_the_archive(made: Path, tmp_path: Path):
    (tmp_path / "mine").write_text(f"{Signer('entas/registry', bytes(32)).verifier}\n")
    status, said = verified(made, f"--key={tmp_path / 'mine'}")
    assert status == 1
    assert "WRONG  wrong-key: registry sequence 70: the checkpoint of 70 events: it is not signed by the key" in said
    assert "wrong-key: outcomes" not in said
    assert "registry: 300 events, of which 0 are what was signed" in said


def spoil_line(archive: Path) -> None:
    file = archive / "registry" / "log-000001.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).splitlines()
    lines[3] = lines[3][:-9]
    file.write_bytes(gzip.compress(b"\n".join(lines)))


def cut_gzip(archive: Path) -> None:
    file = archive / "registry" / "log-000002.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-200])


def change_leaves(archive: Path) -> None:
    file = archive / "outcomes" / "leaves-000000.bin"
    file.write_bytes(bytes(32) + file.read_bytes()[32:])


def drop_checkpoints(archive: Path) -> None:
    (archive / "outcomes" / "checkpoints.jsonl").write_text("")


def drop_file(archive: Path) -> None:
    (archive / "registry" / "log-000004.jsonl.gz").unlink()


def change_area(archive: Path) -> None:
    """What no leaf covers is covered by the archive's own signature."""
    file = archive / "registry" / "log-000000.jsonl.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"area_code":"', b'"area_code":"9', 1)))


def resign(archive: Path) -> None:
    content = (archive / "manifest.json").read_bytes().replace(b'"size": 300', b'"size": 299')
    (archive / "manifest.json").write_bytes(content)


def change_verifier(archive: Path) -> None:
    (archive / "manifest.sig").write_text((archive / "manifest.sig").read_text().replace("archive\n", "archiv\n", 1))


def drop_last_checkpoint(archive: Path) -> None:
    file = archive / "registry" / "checkpoints.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))


def drop_a_segment_from_the_list(archive: Path) -> None:
    manifest = json.loads((archive / "manifest.json").read_text())
    del manifest["services"]["registry"]["segments"][-1]
    (archive / "manifest.json").write_text(json.dumps(manifest))


def mangle_manifest(archive: Path) -> None:
    content = (archive / "manifest.json").read_text().replace('"first": 64', '"first": "x"')
    (archive / "manifest.json").write_text(content)


def mangle_checkpoint(archive: Path) -> None:
    file = archive / "outcomes" / "checkpoints.jsonl"
    file.write_text(file.read_text().replace("tails {", "tails [", 1))


def no_manifest(archive: Path) -> None:
    (archive / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_line, ["unreadable: registry sequence 67", "file: registry: registry/log-000001.jsonl.gz is not the"]),
        (cut_gzip, ["unreadable: registry sequence 1", "file: registry: registry/log-000002.jsonl.gz is not the file"]),
        (change_leaves, ["file: outcomes: outcomes/leaves-000000.bin is not the file that the manifest lists"]),
        (drop_checkpoints, ["no-checkpoint: outcomes", "outcomes/checkpoints.jsonl is not the file"]),
        (drop_file, ["file: registry: registry/log-000004.jsonl.gz is listed and not there", "truncated: registry"]),
        (change_area, ["file: registry: registry/log-000000.jsonl.gz is not the file that the manifest lists"]),
        (resign, ["manifest.json is not the one that was signed"]),
        (change_verifier, ["wrong-key: archive: manifest.sig: its signature is false"]),
        (drop_last_checkpoint, ["unchecked: registry sequence 280: no checkpoint covers the events from here on"]),
        (drop_a_segment_from_the_list, ["unchecked: registry sequence 210"]),
        (mangle_manifest, ["the manifest's segments do not follow one another"]),
        (mangle_checkpoint, ["note: outcomes: outcomes/checkpoints.jsonl line 1 is no checkpoint"]),
        (no_manifest, ["manifest.json"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_was_spoilt_is_named(copy: Path, spoil: Callable[[Path], None], said: list[str]):
    spoil(copy)
    status, told = verified(copy)
    assert status == 1
    assert "Traceback" not in told
    for text in said:
        assert text in told
    if spoil is change_leaves:
        assert "changed" not in told, "good events are not accused"


def test_a_verifier_reads_a_tar_as_well(made: Path, tmp_path: Path):
    tar = tmp_path / "made.tar"
    subprocess.run(["tar", "cf", tar, "-C", made, *(p.name for p in made.iterdir())], check=True)
    status, said = verified(made, str(tar))
    assert (status, "all is well: 600 events" in said) == (0, True), said


def test_leaves_are_hashed_as_the_contracts_say():
    for entry in made_log("training", 40, 40).found:
        for envelope in (
            entry.envelope,
            entry.envelope._replace(actor="Édi", causation_id="x" * 300),
            entry.envelope._replace(key="k" * 127, actor="a" * 128),
        ):
            said = json.loads(entry_line(entry._replace(envelope=envelope), -1))
            expected = leaf_hash(proof_bytes(envelope, entry.position.sequence, value_digest(entry.value)))
            assert standalone.leaf_of(said) == expected


def test_signatures_are_verified_as_rfc_8032_says():
    # RFC 8032, 7.1, tests 1 to 3.
    vectors = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ]
    for key, message, signature in vectors:
        told = [bytes.fromhex(text) for text in (key, signature, message)]
        assert standalone.is_signed(*told)
        assert not standalone.is_signed(told[0], told[1], told[2] + b"x")
        for at in (0, 31, 32, 63):
            spoilt = told[1][:at] + bytes([told[1][at] ^ 1]) + told[1][at + 1 :]
            assert not standalone.is_signed(told[0], spoilt, told[2])
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    for number in range(20):
        message = str(number).encode()
        signature = private.sign(message)
        assert standalone.is_signed(public, signature, message)
        # The same signature with the group's order added must not pass: RFC 8032, 5.1.7.
        longer = int.from_bytes(signature[32:], "little") + standalone.ORDER
        assert not standalone.is_signed(public, signature[:32] + longer.to_bytes(32, "little"), message)


# --- The sample -------------------------------------------------------------------------------------------------------


def test_the_sample_is_what_its_script_makes():
    assert (sample.SAMPLE / "verify.py").read_bytes() == (ROOT / "services/audit/standalone.py").read_bytes(), (
        "run `python -m services.audit.sample`"
    )
    for service in SERVICES:
        log = made_log(service, sample.EVENTS[service], 25)
        lines = gzip.decompress((sample.SAMPLE / service / "log-000000.jsonl.gz").read_bytes())
        assert lines == b"".join(entry_line(entry, entry.position.previous_sequence) for entry in log.found)
        notes = (sample.SAMPLE / service / "checkpoints.jsonl").read_text().splitlines()
        assert [json.loads(note) for note in notes] == log.told


def test_one_command_verifies_the_sample_tampers_with_a_copy_and_names_the_event():
    done = subprocess.run(
        [sys.executable, "-m", "services.audit", "sample"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all is well: 460 events are what was signed" in done.stdout
    assert "WRONG  changed: training sequence 57 training.cohorts/" in done.stdout


# --- The command line -------------------------------------------------------------------------------------------------


def audit(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "services.audit", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_verifies_an_archive_and_names_what_is_wrong_as_json(copy: Path):
    status, said = audit("verify", "--archive", str(copy))
    assert status == 0, said
    assert said.count("as signed") == 2
    [file] = list((copy / "registry").glob("log-000001*"))
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"version":2', b'"version":7', 1)))
    status, said = audit("verify", "registry", "--archive", str(copy), "--json")
    assert status == 1
    findings = {found["kind"]: found for found in map(json.loads, said.splitlines())}
    assert findings["changed"]["service"] == "registry"
    assert findings["changed"]["sequence"] in range(64, 128)
    assert "SHA-256" in findings["unreadable"]["text"]


def test_a_witness_that_saw_more_than_an_archive_made_later_holds_is_told(copy: Path, tmp_path: Path):
    witness = tmp_path / "notes.txt"
    longer = made_log("registry", 350, 70)
    witness.write_text("entas/registry\n12\nhal\n" + "".join(f"{note}\n" for note in longer.told))
    status, said = audit("verify", "registry", "--archive", str(copy), "--witness", str(witness))
    assert status == 1
    assert "restored: registry sequence 300" in said
    assert f"{witness.name} line " in said.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("verify",), "give --kafka, --api, --archive or --stack"),
        (("verify", "--archive", "/nowhere"), "/nowhere is no archive"),
        (("verify", "--api", "registry"), "it should be registry=https://"),
        (("verify", "--api", "registry=http://x"), "ENTAS_TOKEN_URL, ENTAS_CLIENT_ID, ENTAS_CLIENT_SECRET: not set"),
        (("verify", "--stack", "/nowhere"), "no stack runs in /nowhere"),
        (("verify", "--kafka", "127.0.0.1:1", "--keys", "/nowhere"), "the public key of registry is needed in"),
        (("export", "/tmp/x", "--kafka", "127.0.0.1:1", "--key", "/nowhere"), "a file with 64 hex digits"),
        (("import", "/nowhere", "registry", "--database", "postgresql://x"), "/nowhere is no archive"),
    ],
)
def test_what_the_command_cannot_do_it_says_in_a_line(arguments: tuple[str, ...], told: str):
    status, said = audit(*arguments)
    assert status == 1
    assert told in said.replace("\n", "")
    assert "Traceback" not in said


# --- Making and reading -----------------------------------------------------------------------------------------------


async def test_an_export_that_fails_leaves_nothing_behind(tmp_path: Path):
    class Failing(type(made_log("registry", 1, 1))):  # type: ignore[misc]
        async def entries(self, service: str, first: int, size: int) -> Any:
            yield self.found[:10]
            raise ConnectionError("away")

    log = made_log("registry", 40, 40)
    broken = Failing(log.service, log.found, log.told, log.signer)
    for name in ("folder", "file.tar"):
        with pytest.raises(ConnectionError), ArchiveWriter(tmp_path / name, ARCHIVIST) as writer:
            await writer.add_log("registry", broken, log.signer.verifier)
    assert os.listdir(tmp_path) == []


def test_an_archive_is_never_written_over_another(made: Path):
    with pytest.raises(NoArchive, match="is there already"):
        ArchiveWriter(made, ARCHIVIST)


# --- Import -----------------------------------------------------------------------------------------------------------


def migrate_kit(dsn: str) -> None:
    """A database with a log, and nothing else."""
    migrate(dsn, ROOT / "tests/support/lab_migrations")


async def test_an_imported_log_is_the_log_that_was_exported(made: Path, fresh_database: FreshDatabase):
    dsn = await fresh_database("lab", migrate_kit)
    source = ArchiveSource.open(made)
    assert await import_log(source, "registry", dsn) == 300
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    try:
        shown = b"".join([piece async for piece in entry_lines(pool, "/entas/registry", 0, 300)])
        files = sorted((made / "registry").glob("log-*.gz"))
        assert shown == b"".join(gzip.decompress(file.read_bytes()) for file in files)
        # A service's own parts go on from there: nothing is new to sign, and the tree is whole.
        assert await make_checkpoint(pool, "registry", Signer("entas/registry", bytes(32))) is None
        tiles = await pool.fetch("SELECT hashes FROM tile WHERE level = 0 ORDER BY number")
        leaves = b"".join(file.read_bytes() for file in sorted((made / "registry").glob("leaves-*")))
        assert b"".join(tile["hashes"] for tile in tiles) == leaves
        notes = await pool.fetch("SELECT note FROM checkpoint ORDER BY tree_size")
        assert [row["note"] for row in notes] == made_log("registry", 300, 70).told
        assert await pool.fetchval("SELECT count(*) FROM outbox") == 0
        ids = await pool.fetch("SELECT id FROM seal ORDER BY sequence")
        assert [row["id"] for row in ids] == sorted(row["id"] for row in ids)
    finally:
        pool.terminate()
    with pytest.raises(NotImported, match="the table log is not empty"):
        await import_log(source, "registry", dsn)


async def test_an_archive_that_was_touched_is_not_imported(copy: Path, fresh_database: FreshDatabase):
    dsn = await fresh_database("lab", migrate_kit)
    file = copy / "registry" / "log-000000.jsonl.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"version":1', b'"version":9', 1)))
    with pytest.raises(NotImported, match="SHA-256 differs"):
        await import_log(ArchiveSource.open(copy), "registry", dsn)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"].clear()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(NotImported, match="does not hold what was signed of registry"):
        await import_log(ArchiveSource.open(copy), "registry", dsn)
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT count(*) FROM log") == 0
    await connection.close()
    with pytest.raises(NotImported, match="holds outcomes, registry, not training"):
        await import_log(ArchiveSource.open(copy), "training", dsn)


async def test_the_archive_is_verified_with_any_source_as_any_other(made: Path):
    source = ArchiveSource.open(made)
    assert source.services == ["outcomes", "registry"]
    for service in source.services:
        assert (await verify_log(service, source, source.key(service))).well
