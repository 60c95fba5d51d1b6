"""Keyset pages: nothing is skipped or shown twice, and a bad cursor is the caller's to mend."""

from base64 import urlsafe_b64encode
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from hypothesis import given
from hypothesis import strategies as st

from services.kit import problems
from services.kit.paging import BadCursor, Page, Paging, decode_cursor, encode_cursor, paging

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
PARTS = {
    str: TEXT,
    int: st.integers(-(1 << 63), (1 << 63) - 1),
    date: st.dates(),
    datetime: st.builds(
        lambda day, zone: day.astimezone(zone),
        st.integers(-(10**9), 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
        st.sampled_from([UTC, timezone(timedelta(hours=8))]),
    ),
}
SHAPES = st.lists(st.sampled_from(list(PARTS)), min_size=1, max_size=4)


@given(st.data())
def test_a_cursor_gives_back_the_key_that_it_was_made_of(data):
    shape = data.draw(SHAPES)
    key = tuple(data.draw(PARTS[kind]) for kind in shape)
    assert decode_cursor(encode_cursor(key), shape) == key


def cursor_of(text: str) -> str:
    return urlsafe_b64encode(text.encode(errors="surrogatepass")).decode().rstrip("=")


@pytest.mark.parametrize(
    ("cursor", "shape"),
    [
        ("", [str]),
        ("a", [str]),
        ("?!*", [str]),
        ("ÿÿ", [str]),
        (cursor_of("not json"), [str]),
        (cursor_of('"a"'), [str]),
        (cursor_of('{"a":1}'), [str]),
        (cursor_of('["a"]') + "=", [str]),
        (cursor_of('["a"]') + "\n", [str]),
        (cursor_of('[ "a"]'), [str]),
        (cursor_of('["a"]'), [str, str]),
        (cursor_of('["a","b"]'), [str]),
        (cursor_of('["a"]'), [int]),
        (cursor_of("[1]"), [str]),
        (cursor_of("[true]"), [int]),
        (cursor_of("[1.0]"), [int]),
        (cursor_of("[1e400]"), [int]),
        (cursor_of(f"[{1 << 63}]"), [int]),
        (cursor_of("[" + "9" * 5000 + "]"), [int]),
        (cursor_of("[null]"), [str]),
        (cursor_of('["\\u0000"]'), [str]),
        (cursor_of('["\\ud800"]'), [str]),
        (cursor_of('["yesterday"]'), [date]),
        (cursor_of('["2024-07-08T09:05:00"]'), [datetime]),
        (cursor_of('["0001-01-01T00:00:00+14:00"]'), [datetime]),
        (cursor_of('["2024-07-08 09:05:00+00:00"]'), [datetime]),
        (cursor_of("[" * 100_000), [str]),
    ],
)
def test_what_this_list_did_not_give_is_refused(cursor, shape):
    with pytest.raises(BadCursor) as refusal:
        decode_cursor(cursor, shape)
    assert refusal.value.status == 422


@given(st.text(max_size=80), SHAPES)
def test_any_text_is_either_a_cursor_or_refused(text, shape):
    try:
        key = decode_cursor(text, shape)
    except BadCursor:
        return
    assert encode_cursor(key) == text


def test_a_cursor_of_an_instant_without_a_zone_is_our_mistake():
    with pytest.raises(ValueError, match="time zone"):
        encode_cursor((datetime(2024, 7, 8),))  # noqa: DTZ001 - The missing zone is the case.


ROWS = sorted((decile, f"household-{number:03}") for number in range(120) for decile in [number * 7 % 10 + 1])


@pytest.fixture
async def api():
    app = FastAPI()
    problems.install(app)

    @app.get("/households")
    async def households(asked: Annotated[Paging, Depends(paging)]) -> Page[str]:
        after = asked.after(int, str)
        rows = [row for row in ROWS if after is None or row > after][: asked.fetch]
        return asked.page(rows, item=lambda row: row[1], key=lambda row: row)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("limit", [1, 7, 40, 119, 120, 121, 500])
async def test_walking_the_pages_shows_every_item_once_and_in_order(api, limit):
    seen, cursor, pages = [], {}, 0
    while cursor is not None:
        body = (await api.get("/households", params={"limit": limit} | cursor)).json()
        assert len(body["items"]) <= limit
        seen += body["items"]
        cursor = {"cursor": body["next"]} if body["next"] else None
        pages += 1
    assert seen == [name for _, name in ROWS]
    assert pages == -(-len(ROWS) // limit)


async def test_a_page_holds_fifty_items_unless_asked_otherwise(api):
    assert len((await api.get("/households")).json()["items"]) == 50


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=" + "a" * 2001, "cursor=broken"])
async def test_a_bad_limit_or_cursor_is_explained(api, query):
    answer = await api.get(f"/households?{query}")
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "query." + query.split("=")[0]
    assert error["remedy"]
    assert "broken" not in answer.text
