"""People over HTTP, whatever they take part in: finding, correcting, forgetting them; who looked at their data."""

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from contracts.registry import PersonDetails
from services.kit.auth import Principal, requires
from services.kit.http import Reads, Work, reads_as, works_as
from services.kit.logs import correlation_id
from services.kit.paging import Page
from services.kit.transaction import Workplace, log_look
from services.registry import search
from services.registry.api.parameters import WHO_SEE_NAMES, Id, Pages, unknown
from services.registry.households import decisions as households
from services.registry.households.decisions import CorrectPerson
from services.registry.participants import decisions as participants
from services.registry.participants.queries import people as load_people
from services.registry.participants.state import PARTICIPANTS
from services.registry.people import queries
from services.registry.people.queries import FoundPerson, Read

router = APIRouter(tags=["people"])

MOST_FOUND = 50
PROMISE = (
    "The person's key is destroyed: nothing sealed under it can be read any more, here at once, in other services "
    "within a minute, and in backups of the key table once those have expired."
)


class SearchPeople(BaseModel):
    """In the body and not in the address: what is looked for is personal, and addresses are logged."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=3, max_length=200)] | None = None
    national_id: Annotated[str, Field(pattern=r"^[0-9]{16}$")] | None = None

    @model_validator(mode="after")
    def _asks_for_one(self) -> Self:
        if (self.name is None) == (self.national_id is None):
            raise ValueError("give either a name or a national_id")
        return self


@router.post("/people/search")
async def search_people(
    wanted: SearchPeople, reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_NAMES))]
) -> list[FoundPerson]:
    """Persons of your areas with a name like this one, or with this NIK. Each who is shown is in the read log."""
    async with reads as db:
        if wanted.national_id is not None:
            found = await queries.people_with_national_id(db.connection, wanted.national_id)
        else:
            found = await queries.people_named(db.connection, wanted.name or "", MOST_FOUND)
        sealed = await queries.sealed_records(db.connection, found)
        opened = await db.open(sealed, PersonDetails, "search")
    return [
        person.model_copy(update={"name": details.name})
        for person, details in zip(found, opened, strict=True)
        if details is not None
    ]


class MatchPeople(BaseModel):
    """In the body alone, as every NIK: addresses are logged."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    national_ids: Annotated[list[Annotated[str, Field(pattern=r"^[0-9]{16}$")]], Field(max_length=500)]


class Matches(BaseModel):
    """Everybody who bears each number; a number that nobody bears is missing."""

    matches: dict[str, list[str]]


@router.post("/people/match")
async def match_people(
    wanted: MatchPeople, request: Request, principal: Annotated[Principal, Depends(requires("service:*"))]
) -> Matches:
    """Tells services whom a partner spoke of by NIK, in all areas. Each person who is named is in the read log before
    the answer leaves."""
    workplace: Workplace = request.app.state.workplace
    async with workplace.pool.acquire() as connection, connection.transaction():
        found = await search.people_by_national_id(connection, wanted.national_ids)
        matches = {number: [listed.person_id for listed in people] for number, people in found.items()}
        named = {person for people in matches.values() for person in people}
        await log_look(connection, named, principal.subject, "match", ["national_id"], correlation_id() or "")
    return Matches(matches=matches)


@router.get("/people/{person_id}/reads")
async def list_reads(
    person_id: Id, reads: Annotated[Reads, Depends(reads_as("officer", "district", "auditor"))], pages: Pages
) -> Page[Read]:
    """Who looked at the person's data, when and what for: what they are to be shown within 3x24 hours (UU 27/2022)."""
    async with reads as db:
        return await queries.reads_of(db.connection, pages, person_id)


class Corrected(BaseModel):
    person_id: str
    corrected: bool  # False: all of it was known already


@router.post("/people/{person_id}/corrections", response_model=Corrected)
async def correct_person(
    person_id: Id, command: CorrectPerson, work: Annotated[Work, Depends(works_as("officer"))]
) -> Response:
    """Mends what is known of a person, everywhere; the whole record is sealed anew."""
    async with work as tx:
        person = (await load_people(tx, [person_id])).get(person_id)
        if person is None:
            raise unknown("person")
        member, participant = person.member, person.participant
        tx.authorise(member.area_code)
        # The participant's record is the fuller one: it has the telephone number that a visit brought.
        fullest = participant if participant is not None and participant.sealed is not None else member
        (details,) = await tx.open([(person_id, fullest.sealed_by, fullest.sealed)], PersonDetails, "correction")
        corrected = households.correct_member(member, details, command, tx.now)
        await tx.decide([*corrected, *(told for fact in corrected for told in participants.correct(participant, fact))])
        entries = [
            search.entry(member.household_id, person_id, mended)
            for fact in corrected
            for mended in fact.personal.values()
            if isinstance(mended, PersonDetails)
        ]
        tx.before_log(lambda connection: search.index(connection, entries))
        return tx.answer(Corrected(person_id=person_id, corrected=bool(corrected)))


class ErasePerson(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # It stays in the log for ever, so it holds no number that could be somebody's.
    basis: Annotated[
        str,
        Field(
            max_length=200,
            pattern=r"^([^0-9]+[0-9]{0,6})+$",
            description="The legal basis, and nothing about the person",
            examples=["UU 27/2022 art. 8"],
        ),
    ]


class Erased(BaseModel):
    person_id: str
    promise: str


@router.post("/people/{person_id}/erasure", response_model=Erased)
async def erase_person(
    person_id: Id, command: ErasePerson, work: Annotated[Work, Depends(works_as("officer"))]
) -> Response:
    """Forgets a person for good, at their wish. Facts stay, and say nothing about anybody any more."""
    async with work as tx:
        person = (await load_people(tx, [person_id])).get(person_id)
        if person is None:
            raise unknown("person")
        member = person.member
        tx.authorise(member.area_code)
        await tx.decide(participants.erase(person.participant, member, command.basis))
        tx.before_log(lambda connection: queries.forget(connection, member.household_id, person_id))
        erased = await tx.row(PARTICIPANTS, person_id)
        assert erased is not None
        answer = Erased(person_id=person_id, promise=PROMISE)
        return tx.answer(answer, version=erased.version, stream=f"registry.participants/{person_id}")
