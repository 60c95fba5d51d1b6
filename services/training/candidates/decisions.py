"""Who may be given a place in a class, and what speaks against it."""

from datetime import datetime

from contracts import areas
from contracts.areas import AreaCode, Level
from contracts.training import DeliveryMode
from services.kit.refusal import Refused
from services.training.candidates.state import Candidate, CandidateStatus


def objection_to(
    candidate: Candidate | None, delivery_mode: DeliveryMode, area_code: AreaCode, holds_at: datetime
) -> Refused | None:
    """Why this person cannot be given a place in a class of this mode and area; None if nothing speaks against it.

    The verification has to hold at the instant `holds_at`.
    """
    if candidate is None:
        return Refused(
            "no-such-candidate",
            "The registry has told of no such participant.",
            status=404,
            remedy="Check the id; a participant who was nominated a moment ago arrives within seconds.",
        )
    if candidate.status is not CandidateStatus.VERIFIED:
        return Refused(
            "not-verified",
            f"The participant is {candidate.status}, and only a verified one is given a place.",
            remedy="Have the participant visited and verified in the registry.",
        )
    if not candidate.holds_at(holds_at):
        return Refused(
            "verification-too-old",
            "The participant's verification does not hold long enough.",
            remedy="Have it renewed in the registry: people's condition changes.",
        )
    if not candidate.adult:
        return Refused("not-adult", "The participant is not an adult.", remedy="Choose an adult of the household.")
    if not can_come(candidate, delivery_mode, area_code):
        return Refused(
            "cannot-leave-home",
            "The participant cannot leave home, and the class is neither on site nor in their kecamatan.",
            remedy="Choose an on-site cohort, or one in the participant's own kecamatan.",
        )
    return None


def can_come(candidate: Candidate, delivery_mode: DeliveryMode, area_code: AreaCode) -> bool:
    """Whether the class is where the participant can be.

    Chosen people cancelled because they could not leave their children (Balatkop NTB, 2024): who cannot leave home
    is given a place only where the class comes to them, on site, or meets in their own kecamatan.
    """
    return (
        candidate.can_leave_home
        or delivery_mode is DeliveryMode.ON_SITE
        or same_kecamatan(candidate.area_code, area_code)
    )


def same_kecamatan(one: AreaCode, other: AreaCode) -> bool:
    """Whether two areas lie in one kecamatan; false if either is larger than a kecamatan."""
    if min(areas.level(one), areas.level(other)) < Level.KECAMATAN:
        return False
    return areas.at_level(one, Level.KECAMATAN) == areas.at_level(other, Level.KECAMATAN)
