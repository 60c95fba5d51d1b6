"""Whether a service's log still begins with what a witness saw: by consistency proofs (RFC 6962), reading no event."""

from base64 import b64decode
from collections.abc import Sequence

from services.audit.api_source import ApiSource
from services.audit.findings import Finding, Findings, Kind
from services.audit.signed import Signed, SignedNote, read_signed
from services.audit.sources import Noted
from services.kit.merkle import verify_consistency
from services.kit.notes import VerifierKey


async def check_witness(
    service: str, api: ApiSource, key: VerifierKey, witnessed: Sequence[Noted]
) -> tuple[int, list[Finding]]:
    """How many of the witness's notes the service could prove to be beginnings of its newest checkpoint; and what is
    wrong. The notes have to be read before the service is asked."""
    findings = Findings(service)
    newest = [noted async for noted in api.newest(service)]
    signed = read_signed(service, key, [*newest, *witnessed], findings)
    proven = 0
    for note in _to_be_proven(signed):
        proven += await _prove(service, api, signed, note, findings)
    return proven, findings.shown


def _to_be_proven(signed: Signed) -> list[SignedNote]:
    return [
        note for size in sorted(signed.notes) for note in signed.notes[size] if not note.own and size <= signed.size
    ]


async def _prove(service: str, api: ApiSource, signed: Signed, note: SignedNote, findings: Findings) -> bool:
    assert signed.newest is not None
    size, root = note.checkpoint.size, note.checkpoint.root
    answer = await api.consistency(service, size, signed.size)
    path = [b64decode(node) for node in answer["path"]]
    if verify_consistency(size, signed.size, root, signed.newest.root, path):
        return True
    if not findings.of[Kind.FORKED]:
        text = f"{note.where} is no beginning of the log of {signed.size} events that the service shows now"
        findings.add(Kind.FORKED, text, sequence=max((s for s in signed.notes if s < size), default=0))
    return False
