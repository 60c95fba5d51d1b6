"""Signed notes: what was signed is read again, and whatever was changed is not taken for signed."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.notes import BadNote, Checkpoint, Signer, VerifierKey, WrongKey, read_checkpoint, verify

SIGNER = Signer("entas/registry", bytes(range(32)))
CHECKPOINT = Checkpoint(
    "registry",
    1204,
    sha256(b"root").digest(),
    datetime(2024, 7, 8, 1, 5, tzinfo=UTC),
    {"registry.rules": 104, "registry.households": 1100},
    {"registry.households/0": 1203},
    {"partners.dukcapil/0": {"next_offset": 17, "last_sequence": -1}},
)
NOTE = SIGNER.sign(CHECKPOINT.text())


def test_a_note_is_written_as_c2sp_says():
    assert NOTE.splitlines()[:-1] == [
        "entas/registry",
        "1204",
        b64encode(CHECKPOINT.root).decode(),
        "made 2024-07-08T01:05:00.000000Z",
        'counts {"registry.households":1100,"registry.rules":104}',
        'tails {"registry.households/0":1203}',
        'cursors {"partners.dukcapil/0":{"last_sequence":-1,"next_offset":17}}',
        "",
    ]
    dash, name, blob = NOTE.splitlines()[-1].split(" ")
    assert (dash, name, len(b64decode(blob))) == ("—", "entas/registry", 4 + 64)
    public = SIGNER.verifier.public
    assert b64decode(blob)[:4] == sha256(b"entas/registry\n\x01" + public).digest()[:4]


def test_what_was_signed_is_read_again():
    assert verify(NOTE, VerifierKey.read(str(SIGNER.verifier))) == CHECKPOINT.text()
    assert read_checkpoint(NOTE) == CHECKPOINT


def test_a_note_that_others_signed_too_is_still_good():
    other = Signer("witness.example", bytes(32))
    both = NOTE + other.sign(CHECKPOINT.text()).rpartition("\n\n")[2]
    assert verify(both, SIGNER.verifier) == verify(both, other.verifier) == CHECKPOINT.text()


@given(at=st.integers(0, len(NOTE) - 1), letter=st.characters(min_codepoint=9, max_codepoint=0x2FF))
def test_a_note_with_any_letter_changed_is_not_taken_for_signed(at: int, letter: str):
    changed = NOTE[:at] + letter + NOTE[at + 1 :]
    if changed == NOTE:
        return
    with pytest.raises((BadNote, WrongKey)):
        # Base64 has no second spelling for a text of these lengths; so no change at all may pass.
        assert verify(changed, SIGNER.verifier) != CHECKPOINT.text()


def test_a_note_of_another_key_names_both_keys():
    forged = Signer("entas/registry", bytes(32)).sign(CHECKPOINT.text())
    with pytest.raises(WrongKey, match=rf"not signed by entas/registry\+{SIGNER.verifier.hash.hex()}, but by entas/"):
        verify(forged, SIGNER.verifier)


@given(st.text() | st.binary().map(lambda noise: noise.decode("latin-1")))
def test_whatever_is_no_checkpoint_is_refused_in_words(text: str):
    with pytest.raises(BadNote):
        read_checkpoint(text)


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        ("1204\n", "01204\n"),
        ("1204\n", "-4\n"),
        ("entas/registry\n", "registry\n"),
        ("made ", "mad "),
        ("counts {", "counts ["),
        ('"registry.rules":104', '"registry.rules":true'),
        ('{"last_sequence":-1,"next_offset":17}', "17"),
    ],
)
def test_a_checkpoint_that_lacks_a_part_is_refused_in_words(whole: str, broken: str):
    text = CHECKPOINT.text()
    assert text.count(whole) >= 1
    with pytest.raises(BadNote, match=r"a checkpoint begins|one of the lines"):
        read_checkpoint(SIGNER.sign(text.replace(whole, broken, 1)))


@pytest.mark.parametrize("text", ["", "entas/registry", "entas/registry+00000000+AAAA", "a+b+c", "x" * 99])
def test_a_verifier_key_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError, match="a verifier key looks like"):
        VerifierKey.read(text)


def test_a_verifier_key_with_a_letter_wrong_is_noticed():
    name, key_hash, key = str(SIGNER.verifier).split("+", 2)
    with pytest.raises(ValueError, match="does not fit its own hash"):
        VerifierKey.read(f"{name}x+{key_hash}+{key}")
