"""Facts as the tests of interventions tell them: what Dinas Koperasi publishes, and what outcomes makes of it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.outcomes import (
    CaseClosed,
    CaseOpened,
    ClosingReason,
    InterventionKind,
    InterventionMatched,
    InterventionReported,
    InterventionSubject,
    InterventionUnmatched,
    UnmatchedReason,
)
from contracts.partners import (
    AnnualMeetingHeld,
    AssistanceDelivered,
    FinancingGranted,
    MarketAccessGranted,
    MemberJoinedCooperative,
    MentoringVisited,
)
from contracts.training import DeliveryMode
from services.outcomes.interventions.state import subject_of

NOW = datetime(2024, 9, 2, 1, 0, tzinfo=UTC)  # Monday, 2 September 2024, 09.00 in Mataram
TODAY = date(2024, 9, 2)
LAST_WEEK = TODAY - timedelta(days=7)
VILLAGE = "52.01.01.2002"  # Kebon Ayu, Gerung
IN_LOMBOK_TIMUR = "52.03.01.2001"
IN_MALAKA = "53.21.10.2004"  # Alas Selatan
COOPERATIVE = "5201030500123"
SARI, DEWI = "p-sari", "p-dewi"
SARIS_NIK, DEWIS_NIK, STRANGERS_NIK = "5270014107800000", "5270015203850000", "5270019999990000"


def mentored(nik: str = SARIS_NIK, on: date = LAST_WEEK) -> MentoringVisited:
    return MentoringVisited(national_id=nik, visited_on=on)


def financed(nik: str = SARIS_NIK, on: date = LAST_WEEK, **changes: Any) -> FinancingGranted:
    said = {"amount_rupiah": 5_000_000, "scheme": "KUR_SUPER_MIKRO"} | changes
    return FinancingGranted(national_id=nik, granted_on=on, **said)


def joined(nik: str = SARIS_NIK, on: date = LAST_WEEK, number: str = COOPERATIVE) -> MemberJoinedCooperative:
    return MemberJoinedCooperative(national_id=nik, joined_on=on, cooperative_number=number)


def sold(nik: str = SARIS_NIK, on: date = LAST_WEEK, scheme: str = "PASAR_DESA") -> MarketAccessGranted:
    return MarketAccessGranted(national_id=nik, granted_on=on, scheme=scheme)


def assisted(nik: str = SARIS_NIK, on: date = LAST_WEEK, **changes: Any) -> AssistanceDelivered:
    return AssistanceDelivered(national_id=nik, delivered_on=on, **({"scheme": "PKH"} | changes))


def met(number: str = COOPERATIVE, **changes: Any) -> AnnualMeetingHeld:
    said = {
        "cooperative_number": number,
        "name": "Koperasi Tenun Kebon Ayu",
        "area_code": VILLAGE,
        "year": 2023,
        "held_on": date(2024, 3, 18),
        "members": 42,
        "net_surplus_rupiah": 18_500_000,
    }
    return AnnualMeetingHeld(**(said | changes))


# --- Outcomes' own ----------------------------------------------------------------------------------------------------


def reported(id_: str = "i-1", nik: str = SARIS_NIK, **changes: Any) -> InterventionReported:
    said: dict[str, Any] = {
        "kind": InterventionKind.FINANCING,
        "system": "dinkop",
        "given_on": LAST_WEEK,
        "amount_rupiah": 5_000_000,
        "scheme": "KUR_MIKRO",
        "personal": {subject_of(id_): InterventionSubject(national_id=nik)},
    }
    return InterventionReported(intervention_id=id_, **(said | changes))


def membership(id_: str = "i-1", number: str = COOPERATIVE, **changes: Any) -> InterventionReported:
    said: dict[str, Any] = {
        "kind": InterventionKind.COOPERATIVE_MEMBERSHIP,
        "amount_rupiah": None,
        "scheme": None,
        "cooperative_number": number,
    }
    return reported(id_, **(said | changes))


def matched(id_: str = "i-1", person: str = SARI) -> InterventionMatched:
    return InterventionMatched(intervention_id=id_, participant_id=person, matched_by="national_id")


def unmatched(id_: str = "i-1") -> InterventionUnmatched:
    return InterventionUnmatched(intervention_id=id_, because=UnmatchedReason.NOBODY_BEARS_THE_NUMBER)


def opened(person: str = SARI, area_code: str = VILLAGE) -> CaseOpened:
    return CaseOpened(
        case_id=person,
        participant_id=person,
        cohort_id="cohort-1",
        course_id="course-1",
        delivery_mode=DeliveryMode.CLASSROOM,
        completed_on=date(2024, 7, 12),
        completed_at=datetime(2024, 7, 12, 9, 0, tzinfo=UTC),
        area_code=area_code,
    )


def closed(person: str = SARI, because: ClosingReason = ClosingReason.PLAN_COMPLETED) -> CaseClosed:
    return CaseClosed(case_id=person, because=because)
