"""Programmes, their courses and quotas."""

from typing import Annotated

from fastapi import APIRouter, Response

from contracts.training import CompetencyUnit
from services.kit.http import CommandTransaction
from services.kit.paging import Page
from services.kit.transaction import new_id
from services.training.api.shapes import FromJson, IdPath, OfficerWork, OpenReads, Paged, View
from services.training.programmes import decisions, queries
from services.training.programmes.state import PROGRAMMES, Programme, ProgrammeStatus

router = APIRouter(tags=["programmes"])


class ProgrammeView(View):
    programme_id: str
    version: int
    area_code: str
    name: str
    year: int
    status: ProgrammeStatus


class CourseView(View):
    course_id: str
    title: str
    lesson_hours: int
    units: Annotated[tuple[CompetencyUnit, ...], FromJson]


class QuotaView(View):
    area_code: str
    places: int
    taken: int


class ProgrammeInFull(ProgrammeView):
    courses: list[CourseView]
    quotas: list[QuotaView]


@router.post("/programmes", status_code=201, response_model=ProgrammeView)
async def open_programme(command: decisions.OpenProgramme, work: OfficerWork) -> Response:
    """Opens a training programme (diklat) for an area and a year."""
    async with work as tx:
        tx.authorise(command.area_code)
        programme_id = new_id()
        await tx.decide(decisions.open_programme(programme_id, command))
        return await _programme(tx, programme_id, status=201)


@router.post("/programmes/{programme_id}/courses", status_code=201, response_model=CourseView)
async def define_course(programme_id: IdPath, command: decisions.DefineCourse, work: OfficerWork) -> Response:
    """Adds a course with its lesson hours (JP) and competency units (SKKNI)."""
    async with work as tx:
        programme = await _locked(tx, programme_id)
        course_id = new_id()
        await tx.decide(decisions.define_course(programme, course_id, command))
        view = CourseView.model_validate({"course_id": course_id, **command.model_dump()})
        return await _answer(tx, programme_id, view, status=201)


@router.post("/programmes/{programme_id}/quotas", response_model=ProgrammeView)
async def set_quota(programme_id: IdPath, command: decisions.SetQuota, work: OfficerWork) -> Response:
    """Says how many places of the programme a kabupaten or kota may fill. Without a quota there is no limit."""
    async with work as tx:
        programme = await _locked(tx, programme_id)
        taken = await queries.places_taken(tx.connection, programme_id)
        await tx.decide(decisions.set_quota(programme, taken, command))
        return await _programme(tx, programme_id)


@router.post("/programmes/{programme_id}/close", response_model=ProgrammeView)
async def close_programme(programme_id: IdPath, work: OfficerWork) -> Response:
    """Closes the programme for new cohorts."""
    async with work as tx:
        programme = await _locked(tx, programme_id)
        await tx.decide(decisions.close_programme(programme))
        return await _programme(tx, programme_id)


async def _locked(tx: CommandTransaction, programme_id: str) -> Programme | None:
    programme = await tx.row(PROGRAMMES, programme_id)
    if programme is not None:
        tx.authorise(programme.area_code)
        tx.expect_version(programme)
    return programme


async def _programme(tx: CommandTransaction, programme_id: str, *, status: int = 200) -> Response:
    return await _answer(tx, programme_id, ProgrammeView.of(await tx.row(PROGRAMMES, programme_id)), status=status)


async def _answer(tx: CommandTransaction, programme_id: str, view: View, *, status: int = 200) -> Response:
    programme = await tx.row(PROGRAMMES, programme_id)
    assert programme is not None
    return tx.answer(
        view, status=status, version=programme.version, stream=f"{PROGRAMMES.topic}/{programme.programme_id}"
    )


@router.get("/programmes")
async def list_programmes(reads: OpenReads, paged: Paged) -> Page[ProgrammeView]:
    """The programmes, the latest year first."""
    async with reads as db:
        rows = await queries.programmes(db.connection, paged.after(int, str), paged.fetch)
        return paged.page(rows, ProgrammeView.of, lambda row: (row["year"], row["programme_id"]))


@router.get("/programmes/{programme_id}")
async def show_programme(programme_id: IdPath, reads: OpenReads) -> ProgrammeInFull:
    """One programme with its courses and quotas. `taken` counts the people whom the caller's areas let be seen."""
    async with reads as db:
        programme = await queries.programme(db.connection, programme_id)
        if programme is None:
            raise decisions.no_such_programme()
        taken = await queries.places_taken(db.connection, programme_id)
        quotas = await queries.quotas(db.connection, programme_id)
        return ProgrammeInFull(
            **ProgrammeView.of(programme).model_dump(),
            courses=[CourseView.of(row) for row in await queries.courses(db.connection, programme_id)],
            quotas=[QuotaView(**row, taken=taken.get(row["area_code"], 0)) for row in quotas],
        )
