"""The pages in a real browser: on a phone and on a desk, in both languages, with and without script, on paper."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright, expect

from services.kit.clock import steer
from tests.kit.serving import served
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import known
from tests.outcomes.province import NOW, province, settle
from tests.support.tools import without

OF = province(households=300, nominated_people=400, cohorts=8, seed=7)
PHONE, DESK = 360, 1440
PATHS = ("/", "/area/52.03", "/how/graduated_now?by=kabupaten&part=52.03")
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
SMALL_TEXT, LARGE_TEXT = 4.5, 3.0  # WCAG 2.2, 1.4.3


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        without("Chromium is not installed", "the pages in a browser")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest.fixture
async def site(outcomes: Outcomes) -> AsyncIterator[str]:
    """The address of outcomes with a province that chance has drawn."""
    await settle(OF, outcomes.pool)
    steer(outcomes.clock, NOW)
    async with served(outcomes.client._transport.app) as address:  # type: ignore[attr-defined]
        yield address


async def opened(browser: Browser, address: str, *, width: int = DESK, **options: Any) -> tuple[Page, list[str]]:
    """A page, and what it complained of: errors, and whatever it asked for from elsewhere."""
    complaints: list[str] = []
    context = await browser.new_context(viewport={"width": width, "height": 800}, **options)
    page = await context.new_page()

    def ask(request: Request) -> None:
        if urlsplit(request.url).netloc not in (urlsplit(address).netloc, ""):
            complaints.append(f"asked for {request.url}")

    page.on("request", ask)
    page.on("pageerror", lambda error: complaints.append(f"error {error}"))
    page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
    answer = await page.goto(address, wait_until="load")
    assert answer is not None
    assert answer.status == 200
    return page, complaints


def in_language(path: str, language: str) -> str:
    return path if language == "id" else f"{path}{'&' if '?' in path else '?'}lang=en"


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("language", ["id", "en"])
async def test_pages_fit_their_screen_and_ask_nobody_else(site: str, browser: Browser, width, language):
    for path in PATHS:
        page, complaints = await opened(browser, site + in_language(path, language), width=width)
        assert await page.evaluate("document.documentElement.lang") == language
        assert await page.evaluate("document.documentElement.scrollWidth") == width, path
        assert complaints == []
        await page.context.close()


async def test_without_script_a_page_says_the_same(site: str, browser: Browser):
    with_script, _ = await opened(browser, site)
    without_script, complaints = await opened(browser, site, java_script_enabled=False)
    texts = [await page.locator("main").text_content() for page in (with_script, without_script)]
    assert texts[0] == texts[1]
    assert complaints == []
    summary = without_script.locator("#fact-completed > summary")
    await summary.focus()
    await without_script.keyboard.press("Enter")
    assert "Peraturan Menteri Ketenagakerjaan 6/2025" in (await without_script.locator("#fact-completed").inner_text())


async def test_the_keyboard_reaches_every_number_and_shows_where_it_is(site: str, browser: Browser):
    page, _ = await opened(browser, site)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    assert await page.evaluate("document.activeElement.getBoundingClientRect().left") == 0
    wanted = await page.evaluate("document.querySelectorAll('main a.n, main a.tile, main summary').length")
    assert wanted > 100
    reached = set()
    for _ in range(wanted + 200):
        await page.keyboard.press("Tab")
        place = await page.evaluate(
            """() => {
                const at = document.activeElement;
                if (!at.matches("main a.n, main a.tile, main summary")) return null;
                const style = getComputedStyle(at);
                const like = [...document.querySelectorAll("main a.n, main a.tile, main summary")];
                return [like.indexOf(at), style.outlineStyle, parseFloat(style.outlineWidth)];
            }"""
        )
        if place is not None:
            number, outline, outline_width = place
            assert (outline, outline_width >= 2) == ("solid", True)
            reached.add(number)
    assert reached == set(range(wanted))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_what_it_is_on(site: str, browser: Browser, scheme):
    for path in PATHS:
        page, _ = await opened(browser, site + path, color_scheme=scheme)
        await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        measured = await page.evaluate(CONTRAST)
        assert len(measured) > 40
        weak = [text for text in measured if text["contrast"] < (LARGE_TEXT if text["large"] else SMALL_TEXT)]
        assert weak == []
        await page.context.close()


async def test_tables_say_what_they_are(site: str, browser: Browser):
    page, _ = await opened(browser, site)
    nameless = await page.evaluate(
        """() => [...document.querySelectorAll("table")].filter((table) =>
            !table.caption || [...table.querySelectorAll("th")].some((head) => !head.scope)).length"""
    )
    assert nameless == 0
    assert await page.evaluate("document.querySelectorAll('h1').length") == 1


async def test_who_wants_no_motion_gets_none(site: str, browser: Browser):
    page, _ = await opened(browser, site, reduced_motion="reduce")
    assert await page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


async def test_a_page_can_be_printed(site: str, browser: Browser):
    page, _ = await opened(browser, site)
    await page.emulate_media(media="print")
    for part in (".switch", ".skip", ".choices", ".contents"):
        assert not await page.locator(part).first.is_visible()
    assert await page.locator("#fact-completed .fact-number").is_visible()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = await page.pdf(format="A4", print_background=False)
    assert paper.startswith(b"%PDF")


async def test_an_open_page_tells_what_is_new_and_leaves_the_reader_where_they_are(
    outcomes: Outcomes, browser: Browser
):
    steer(outcomes.clock, NOW)
    app = outcomes.client._transport.app  # type: ignore[attr-defined]
    async with served(app) as address:
        page, complaints = await opened(browser, address)
        await page.locator("#fact-nominated > summary").click()
        assert await page.locator("#fact-nominated .fact-number").inner_text() == "0"
        await outcomes.told(*(fact for n in range(8) for fact in known(f"p{n}")))
        await outcomes.pool.execute("INSERT INTO cursor VALUES ('registry.participants', 0, 24, 23)")
        await expect(page.locator("#fact-nominated .fact-number")).to_have_text("8", timeout=30_000)
        assert await page.locator("#fact-nominated").get_attribute("open") is not None
        assert await page.evaluate("document.activeElement.parentElement.id") == "fact-nominated"
        assert await page.locator(".live").inner_text() == "langsung"
        assert complaints == []


async def test_a_page_says_when_it_is_not_live_any_more(outcomes: Outcomes, browser: Browser):
    app = outcomes.client._transport.app  # type: ignore[attr-defined]
    async with served(app) as address:
        page, _ = await opened(browser, address)
        await expect(page.locator(".live")).to_have_text("langsung")
    await expect(page.locator(".live")).to_have_text("pembaruan berhenti", timeout=30_000)


def test_a_missing_browser_skips_on_a_desk_and_fails_where_changes_are_judged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Chromium is not installed"):
        without("Chromium is not installed", "the pages in a browser")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI has to check the pages in a browser"):
        without("Chromium is not installed", "the pages in a browser")
