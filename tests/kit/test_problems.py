"""Problem details: every error has the same form, names field and remedy, and repeats nothing that was sent."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException, Query, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from services.kit import problems
from services.kit.auth import Forbidden
from services.kit.logs import bind_correlation
from services.kit.problems import field_problems
from services.kit.refusal import FieldProblem, Refused, Unavailable

NIK = "5270010101010001"
CORRELATION = "0190a5d3-7c1e-7000-8000-000000000001"


class Mode(StrEnum):
    CLASSROOM = "classroom"
    ON_SITE = "on_site"


class Member(BaseModel):
    name: str = Field(min_length=3, max_length=40)
    national_id: str = Field(pattern=r"^\d{16}$")


class ByCar(BaseModel):
    kind: Literal["car"]


class OnFoot(BaseModel):
    kind: Literal["foot"]


class Enrol(BaseModel):
    model_config = ConfigDict(extra="forbid")

    participant_id: UUID
    mode: Mode
    place: int = Field(ge=1, le=30)
    starts: date
    at: AwareDatetime
    members: list[Member] = Field(max_length=2)
    way: Annotated[ByCar | OnFoot, Field(discriminator="kind")]
    by_name: dict[str, int] = {}
    note: str = ""

    @field_validator("note")
    @classmethod
    def _calm(cls, value: str) -> str:
        if "!" in value:
            raise ValueError(f"a note is calm, this is not: {value}")
        return value


GOOD: dict[str, Any] = {
    "participant_id": CORRELATION,
    "mode": "classroom",
    "place": 3,
    "starts": "2024-07-08",
    "at": "2024-07-08T09:05:00+08:00",
    "members": [],
    "way": {"kind": "car"},
}


@pytest.fixture
async def api():
    app = FastAPI()
    problems.install(app)

    @app.middleware("http")
    async def correlate(request: Request, call_next: Any) -> Any:
        bind_correlation(CORRELATION)
        request.state.correlation_id = CORRELATION
        return await call_next(request)

    @app.post("/enrol")
    async def enrol(command: Enrol, limit: Annotated[int, Query(le=500)] = 50, x: Annotated[int, Header()] = 0) -> str:
        return "done"

    @app.get("/raise/{what}")
    async def fail(what: str) -> str:
        match what:
            case "refused":
                raise Refused("cohort-full", "All 30 places are taken.", remedy="Put the candidate on the waitlist.")
            case "fields":
                problem = FieldProblem("place", "Place 3 is taken.", "Choose another one.")
                raise Refused("place-taken", "The place is taken.", status=422, fields=[problem])
            case "careless":
                raise Refused(
                    "x", f"Nobody has {NIK}.", remedy=f"Not {NIK}", fields=[FieldProblem("a", f"{NIK} is bad")]
                )
            case "forbidden":
                raise Forbidden("Area 52.02 is outside the areas of this account.")
            case "unavailable":
                raise Unavailable("keys-unavailable", "The registry does not answer.", retry_after_seconds=7)
            case "413":
                raise HTTPException(413)
            case "teapot":
                raise HTTPException(418, "I am one", headers={"X-Pot": "tea"})
            case _:
                raise RuntimeError(f"no participant {NIK}")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def shown(request: Any, status: int) -> dict[str, Any]:
    answer = await request
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert NIK not in answer.text
    body = answer.json()
    assert body["status"] == status
    assert body["type"] == f"urn:entas:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == CORRELATION
    body["answer"] = answer
    return body


async def test_a_refusal_says_code_detail_and_remedy(api):
    body = await shown(api.get("/raise/refused"), 409)
    del body["answer"]
    assert body == {
        "type": "urn:entas:problem:cohort-full",
        "code": "cohort-full",
        "title": "Cohort full",
        "status": 409,
        "detail": "All 30 places are taken.",
        "instance": CORRELATION,
        "remedy": "Put the candidate on the waitlist.",
    }


async def test_a_refusal_can_name_fields(api):
    body = await shown(api.get("/raise/fields"), 422)
    assert body["errors"] == [{"field": "place", "message": "Place 3 is taken.", "remedy": "Choose another one."}]


async def test_a_careless_refusal_does_not_show_a_national_id(api):
    body = await shown(api.get("/raise/careless"), 409)
    assert body["detail"] == "Nobody has [16 digits masked]."


async def test_who_is_known_but_may_not_gets_403(api):
    assert (await shown(api.get("/raise/forbidden"), 403))["code"] == "forbidden"


async def test_an_outage_says_when_to_try_again(api):
    body = await shown(api.get("/raise/unavailable"), 503)
    assert body["answer"].headers["retry-after"] == "7"
    assert body["remedy"] == "Try again in 7 s."


async def test_an_unknown_path_an_unknown_method_and_a_large_body_have_remedies(api):
    assert (await shown(api.get("/nowhere"), 404))["code"] == "not-found"
    body = await shown(api.get("/enrol"), 405)
    assert body["answer"].headers["allow"] == "POST"
    assert "Allow" in body["remedy"]
    assert "smaller" in (await shown(api.get("/raise/413"), 413))["remedy"]


async def test_headers_of_an_http_error_are_kept(api):
    body = await shown(api.get("/raise/teapot"), 418)
    assert body["detail"] == "I am one"
    assert body["answer"].headers["x-pot"] == "tea"


async def test_a_failure_of_ours_tells_nothing_but_the_instance(api):
    body = await shown(api.get("/raise/other"), 500)
    assert body["code"] == "internal-error"
    assert "participant" not in body["answer"].text
    assert "Idempotency-Key" in body["remedy"]


async def test_a_good_request_passes(api):
    assert (await api.post("/enrol", json=GOOD)).json() == "done"


@pytest.mark.parametrize(
    ("change", "field", "message", "remedy"),
    [
        ({"place": None}, "body.place", "valid integer", "Correct this field"),
        ({"place": 31}, "body.place", "less than or equal to 30", "up to 30"),
        ({"mode": "online"}, "body.mode", "'classroom' or 'on_site'", "one of 'classroom' or 'on_site'"),
        ({"participant_id": "x-ray"}, "body.participant_id", "no UUID", "as it was given"),
        ({"starts": "yesterday"}, "body.starts", "valid date", "Correct this field"),
        ({"at": "2024-07-08T09:05:00"}, "body.at", "timezone", "with its zone"),
        ({"members": [{"name": "Al", "national_id": NIK}]}, "body.members.0.name", "at least 3", "at least 3"),
        ({"members": [{"name": "Siti"}]}, "body.members.0.national_id", "required", "Add this field"),
        ({"members": [{}, {}, {}]}, "body.members", "at most 2", "at most 2 items"),
        ({"way": {"kind": "Siti Aminah"}}, "body.way", "not one of those", "'car', 'foot'"),
        ({"surprise": 1}, "body.surprise", "not permitted", "Remove this field"),
        ({NIK: 1}, "body.*", "not permitted", "Remove this field"),
        ({"Siti Aminah": 1}, "body.*", "not permitted", "Remove this field"),
        ({"by_name": {"Siti Aminah": "x"}}, "body.by_name.*", "valid integer", "Correct this field"),
        ({"note": "Siti Aminah!"}, "body.note", "a note is calm, this is not: the value", "Correct this field"),
    ],
)
async def test_a_wrong_field_is_named_with_its_remedy_and_not_repeated(api, change, field, message, remedy):
    body = await shown(api.post("/enrol", json=GOOD | change), 422)
    [error] = [error for error in body["errors"] if error["field"] == field]
    assert message in error["message"]
    assert remedy in error["remedy"]
    assert "Siti" not in body["answer"].text
    assert "x-ray" not in body["answer"].text


async def test_queries_headers_and_broken_bodies_are_explained_too(api):
    body = await shown(api.post("/enrol?limit=501", json=GOOD, headers={"x": "many"}), 422)
    assert {error["field"] for error in body["errors"]} == {"query.limit", "header.x"}
    body = await shown(api.post("/enrol", content=b'{"nik": 527', headers={"content-type": "application/json"}), 422)
    assert body["errors"][0]["message"] == "The body is no valid JSON"


def test_every_field_of_a_rejected_message_can_be_explained_outside_http():
    with pytest.raises(ValidationError) as found:
        Enrol.model_validate(GOOD | {"place": 0, "mode": "x"})
    explained = field_problems(found.value.errors())
    assert [one.field for one in explained] == ["mode", "place"]
    assert all(one.message and one.remedy for one in explained)


SECRET = "Rahasia-7261"
ANYTHING = st.recursive(
    st.sampled_from([SECRET, f"x{SECRET}!", None, 7, 1e9, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "name", SECRET]), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, "by_name", "note", SECRET], ANYTHING)))
def test_no_wrong_value_is_ever_repeated(body):
    try:
        TypeAdapter(Enrol).validate_python(body)
    except ValidationError as error:
        # A field's name is repeated, so that its sender finds it; what stands in the field is not.
        for one in field_problems(error.errors()):
            assert SECRET not in f"{one.message} {one.remedy}"


def test_a_refusal_is_the_callers_to_mend():
    with pytest.raises(ValueError, match="4xx"):
        Refused("x", "y", status=500)
