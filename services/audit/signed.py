"""What was signed of a log, by the service's own notes and by those that witnesses kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.envelope import instant_text
from services.audit.findings import Findings, Kind
from services.audit.sources import Noted
from services.kit.notes import BadNote, Checkpoint, VerifierKey, WrongKey, read_checkpoint, verify


@dataclass(frozen=True, slots=True)
class SignedNote:
    checkpoint: Checkpoint
    noted: Noted

    @property
    def where(self) -> str:
        return self.noted.where

    @property
    def own(self) -> bool:
        return self.noted.own


@dataclass
class Signed:
    """The good notes by the size of the log that they speak of. `newest` is the source's own newest."""

    notes: dict[int, list[SignedNote]] = field(default_factory=dict)
    newest: Checkpoint | None = None

    @property
    def size(self) -> int:
        """How many events the source has to have."""
        return 0 if self.newest is None else self.newest.size


def read_signed(
    service: str, key: VerifierKey, notes: Sequence[Noted], findings: Findings, made_before: str | None = None
) -> Signed:
    """Checks signatures, and that the notes tell one history of a log that only grew.

    A witness may know of checkpoints that an archive cannot hold, being older: those made after `made_before`.
    """
    signed = Signed()
    for noted in notes:
        note = _checked(service, key, noted, findings)
        if note is not None:
            _add(signed, note, findings)
    if signed.newest is None:
        findings.add(Kind.UNCHECKED, "the source has no checkpoint that can be trusted: nothing is signed", sequence=0)
    _compare_histories(signed, findings)
    _compare_with_witnesses(signed, findings, made_before)
    return signed


def _checked(service: str, key: VerifierKey, noted: Noted, findings: Findings) -> SignedNote | None:
    size = None
    try:
        checkpoint = read_checkpoint(noted.text)
        size = checkpoint.size
        verify(noted.text, key)
    except BadNote as error:
        findings.add(Kind.UNREADABLE, f"{noted.where}: {error}", place=noted.place, offset=noted.offset)
        return None
    except WrongKey as error:
        text = f"{noted.where}: {error}"
        findings.add(Kind.WRONG_KEY, text, sequence=size, place=noted.place, offset=noted.offset)
        return None
    if checkpoint.service != service:
        text = f"{noted.where}: it is a checkpoint of {checkpoint.service}"
        findings.add(Kind.WRONG_KEY, text, sequence=size, place=noted.place, offset=noted.offset)
        return None
    return SignedNote(checkpoint, noted)


def _add(signed: Signed, note: SignedNote, findings: Findings) -> None:
    size = note.checkpoint.size
    there = signed.notes.setdefault(size, [])
    if any(n.checkpoint == note.checkpoint and n.own == note.own for n in there):
        return  # A copy, which is harmless.
    if note.own and signed.newest is not None and size < signed.newest.size and not there:
        text = (
            f"{note.where} speaks of {size} events after {signed.newest.size} were signed: an older database was in use"
        )
        findings.add(Kind.RESTORED, text, sequence=size, place=note.noted.place, offset=note.noted.offset)
    there.append(note)
    if note.own and size > signed.size:
        signed.newest = note.checkpoint


def _compare_histories(signed: Signed, findings: Findings) -> None:
    """Whether two histories were signed. Said where they part: all that follows differs too."""
    agreed = 0
    for size in sorted(signed.notes):
        first, *others = signed.notes[size]
        if other := next((note for note in others if note.checkpoint.root != first.checkpoint.root), None):
            text = f"two histories were signed: for {size} events {first.where} and {other.where} have different roots"
            findings.add(Kind.FORKED, text, sequence=agreed, place=other.noted.place, offset=other.noted.offset)
            return
        agreed = size


def _compare_with_witnesses(signed: Signed, findings: Findings, made_before: str | None) -> None:
    """Whether a witness knows of a log that was longer than the source's own newest checkpoint says."""
    if signed.newest is None:
        return
    foreign = [note for notes in signed.notes.values() for note in notes if not note.own]
    longer = [
        note
        for note in foreign
        if note.checkpoint.size > signed.size
        and (made_before is None or instant_text(note.checkpoint.made) <= made_before)
    ]
    if longer:
        most = max(longer, key=lambda note: note.checkpoint.size)
        cut_off = {p: last for p, last in most.checkpoint.tails.items() if last >= signed.size}
        text = (
            f"the log had {most.checkpoint.size} events by {instant_text(most.checkpoint.made)} ({most.where}), here "
            f"it has {signed.size}: an older database was restored, or the end was cut off; gone: up to {cut_off}"
        )
        place = next(iter(cut_off)) if len(cut_off) == 1 else None
        findings.add(Kind.RESTORED, text, sequence=signed.size, place=place)
