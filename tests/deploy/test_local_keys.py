"""The local stack makes each service a key to sign checkpoints with, and shows outsiders the public half."""

from pathlib import Path

from deploy.local.layout import Layout
from services.kit.notes import Signer, VerifierKey, verify


def test_a_stack_shows_the_key_that_verifies_what_a_service_signs(tmp_path: Path):
    layout = Layout(tmp_path)
    layout.prepare()
    for service in layout.services:
        shown = VerifierKey.read((tmp_path / "keys" / f"{service.name}.vkey").read_text())
        file = layout.checkpoint_key(service)
        signer = Signer(f"entas/{service.name}", bytes.fromhex(file.read_text()))
        assert verify(signer.sign("said\n"), shown) == "said\n"
        assert file.stat().st_mode & 0o077 == 0
    before = {file.name: file.read_text() for file in (tmp_path / "keys").iterdir()}
    layout.prepare()
    assert {file.name: file.read_text() for file in (tmp_path / "keys").iterdir()} == before
    assert len(set(before.values())) == len(layout.services)
