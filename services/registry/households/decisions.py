"""Owns what the civil registry's facts, and corrections, mean for a household. Pure."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contracts import areas
from contracts.envelope import Event
from contracts.p3ke import age_band
from contracts.registry import (
    AgeBand,
    AreaCode,
    DelistingReason,
    HouseholdChanged,
    HouseholdDelisted,
    LeavingReason,
    MemberCorrected,
    MemberIdentityChecked,
    MemberLeft,
    PersonDetails,
    Sex,
)
from services.kit.refusal import FieldProblem, Refused
from services.registry.households.state import Household, HouseholdMember

SERVED: tuple[AreaCode, ...] = (areas.NTB, areas.MALAKA)
"""Where the programme works; the reference list of areas knows every village there."""

WITA = timezone(timedelta(hours=8), "WITA")
ADULT_FROM_YEARS = 18

_NATIONAL_ID = re.compile(r"[0-9]{16}")


def today_in_wita(now: datetime) -> date:
    """The date on the calendars of the programme's offices; Asia/Makassar has never had summer time."""
    return now.astimezone(WITA).date()


# --- What the civil registry says -------------------------------------------------------------------------------------

Candidate = tuple[Household, HouseholdMember]


def the_one_meant(national_id: str, candidates: Sequence[Candidate]) -> Candidate:
    """Whom a fact of the civil registry is about: of several records the one in use, and nothing is guessed.

    Refuses by the field national_id, and never repeats it.
    """
    if not _NATIONAL_ID.fullmatch(national_id):
        raise _nobody("is not a NIK of 16 digits", "Publish the person's NIK.")
    in_use = [candidate for candidate in candidates if candidate[0].is_listed and not candidate[1].has_left]
    meant = in_use or candidates
    if not meant:
        raise _nobody(
            "no person with this national id is listed",
            "Nothing is to be done, unless they are listed here without their NIK: then have them corrected.",
        )
    if len(meant) > 1:
        raise _nobody(
            "several listed persons bear this national id", "Find out who it is, and have the others corrected."
        )
    return meant[0]


def _nobody(message: str, remedy: str) -> Refused:
    problem = FieldProblem("national_id", message, remedy)
    return Refused("unknown-person", "It is not known who this is about.", fields=[problem])


def record_identity(member: HouseholdMember, matched: bool) -> list[Event]:
    """Nothing if the same is known already."""
    if member.civil_registry_match is matched:
        return []
    return [
        MemberIdentityChecked(
            household_id=member.household_id, person_id=member.person_id, civil_registry_match=matched
        )
    ]


def record_death(household: Household, member: HouseholdMember, died_on: date, now: datetime) -> list[Event]:
    """The person belongs to the household no longer; the last one's death delists it. Nothing if known already.

    Of somebody whom a list left out it is recorded too, or a later list could bring them back.
    """
    if member.left_because is LeavingReason.DECEASED:
        return []
    _refuse_future("died_on", died_on, now)
    if member.left_because is LeavingReason.MOVED:
        return []
    left = MemberLeft(
        household_id=member.household_id,
        person_id=member.person_id,
        reason=LeavingReason.DECEASED,
        on=died_on,
        counted_no_longer=True if member.has_left else None,
    )
    if member.has_left or household.people > 1 or not household.is_listed:
        return [left]
    gone = HouseholdDelisted(household_id=household.household_id, reason=DelistingReason.NO_MEMBERS_LEFT)
    return [left, gone]


def destination(
    household: Household, member: HouseholdMember, to_area_code: str, moved_on: date, now: datetime
) -> AreaCode:
    """The village that a household moved to, here or elsewhere. Refuses what is no move of the household."""
    _refuse_all_but_the_head(household, member)
    _refuse_future("moved_on", moved_on, now)
    return _village(to_area_code)


def move(household: Household, village: AreaCode) -> list[Event]:
    """The household lives in another village, or is delisted if that lies outside the areas served here."""
    if is_served(village):
        if village == household.area_code:
            return []
        return [HouseholdChanged(household_id=household.household_id, area_code=village)]
    if not household.is_listed:
        return []
    return [HouseholdDelisted(household_id=household.household_id, reason=DelistingReason.MOVED_AWAY)]


def is_served(area_code: AreaCode) -> bool:
    return any(areas.covers(served, area_code) for served in SERVED)


def _refuse_all_but_the_head(household: Household, member: HouseholdMember) -> None:
    if member.person_id != household.head_person_id:
        raise Refused(
            "not-the-head",
            "Only the head of a household can register its move.",
            fields=[
                FieldProblem(
                    "national_id",
                    "this person is not the head of a listed household",
                    "Publish the move with the national id of the household's head.",
                )
            ],
        )


def _refuse_future(field: str, on: date, now: datetime) -> None:
    if on > today_in_wita(now):
        raise Refused(
            "date-in-the-future",
            "A fact cannot lie in the future.",
            fields=[FieldProblem(field, "lies in the future", "Publish it once it has happened, with its date.")],
        )


def _village(code: str) -> AreaCode:
    """The dotted code of a village. Refuses another level, and a village that a served area does not have."""
    try:
        village = areas.normalise(code)
    except areas.InvalidAreaCode:
        raise _wrong_area("is not a Kemendagri code") from None
    if areas.level(village) is not areas.Level.VILLAGE:
        raise _wrong_area("is not a village's code")
    if is_served(village) and not areas.is_known(village):
        raise _wrong_area("is not in the list of areas")
    return village


def _wrong_area(reason: str) -> Refused:
    remedy = "Use the village's 10-digit code of Kepmendagri 300.2.2-2138/2025."
    return Refused("wrong-area", "The village is not known.", fields=[FieldProblem("to_area_code", reason, remedy)])


# --- Corrections ------------------------------------------------------------------------------------------------------

Line = Annotated[str, Field(min_length=1, max_length=200)]


class CorrectPerson(BaseModel):
    """What is right. A field that is left out stays as it is; null says that nobody knows."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Line = ""
    national_id: Annotated[str, Field(pattern=r"^[0-9]{16}$")] | None = None
    birth_date: date | None = None
    sex: Sex = Sex.UNKNOWN
    relation_to_head: Line | None = None
    marital_status: Line | None = None
    occupation: Line | None = None
    education: Line | None = None


def correct_member(
    member: HouseholdMember, details: PersonDetails | None, command: CorrectPerson, now: datetime
) -> list[MemberCorrected]:
    """The person's whole record, mended. Nothing if nothing differs; refuses for somebody who was erased."""
    if details is None:
        raise Refused("person-erased", "Nothing personal is known of this person any more.", status=410)
    mended = details.model_copy(update=command.model_dump(exclude_unset=True, exclude={"sex"}))
    sex = command.sex if "sex" in command.model_fields_set else member.sex
    if mended == details and sex is member.sex:
        return []
    age = (member.age_band, member.adult)
    if mended.birth_date != details.birth_date:
        age = _age(mended.birth_date, today_in_wita(now))
    return [
        MemberCorrected(
            household_id=member.household_id,
            person_id=member.person_id,
            sex=sex,
            age_band=age[0],
            adult=age[1],
            personal={member.person_id: mended},
        )
    ]


def _age(birth_date: date | None, today: date) -> tuple[AgeBand, bool]:
    if birth_date is None:
        return AgeBand.UNKNOWN, False
    if birth_date > today:
        raise Refused(
            "date-in-the-future",
            "Nobody listed here is still to be born.",
            status=422,
            fields=[FieldProblem("body.birth_date", "lies in the future", "Give the date of birth.")],
        )
    return age_band(birth_date, today), is_adult(birth_date, today)


def is_adult(birth_date: date, on: date) -> bool:
    """Whether somebody has completed 18 years (UU 35/2014 art. 1: a child is who has not)."""
    return (on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))) >= ADULT_FROM_YEARS


# --- Who belongs ------------------------------------------------------------------------------------------------------


def living_members(members: Sequence[HouseholdMember]) -> list[HouseholdMember]:
    """Those who belong to the household."""
    return [member for member in members if not member.has_left]


def head_of(household: Household, members: Sequence[HouseholdMember]) -> HouseholdMember | None:
    return next((member for member in members if member.person_id == household.head_person_id), None)
