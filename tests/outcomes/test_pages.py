"""The pages as HTML: what is on them, where their links lead, and what they never let in."""

import html
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from services.kit.clock import steer
from services.outcomes.figures import queries
from services.outcomes.figures.definitions import FIGURES
from services.outcomes.pages import formats
from services.outcomes.pages.texts import SOURCES, TEXTS
from services.outcomes.pages.views import IN_TABLES, LOMBOK, OF_COHORTS, ON_THE_MAP, SUMBAWA
from services.outcomes.rules.decisions import PROJECT_DEFAULTS
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import listed
from tests.outcomes.province import NOW, province, settle

OF = province(households=300, nominated_people=400, cohorts=8, seed=7)
PAGES = (
    "/",
    "/?map=completed",
    "/area/52.03",
    "/area/52.03.01",
    "/how/completed",
    "/how/graduated?by=kabupaten&part=52.01",
)


@pytest.fixture
async def settled(outcomes: Outcomes) -> Outcomes:
    await settle(OF, outcomes.pool)
    steer(outcomes.clock, NOW)
    return outcomes


async def page(outcomes: Outcomes, path: str, language: str = "id") -> httpx.Response:
    asked = path + ("&" if "?" in path else "?") + "lang=en" if language == "en" else path
    return await outcomes.client.get(asked)


def links(text: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'(?:href|src|data-live)="([^"]*)"', text)]


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


# --- What is on them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["id", "en"])
async def test_the_overview_tells_the_whole_way(settled: Outcomes, language):
    answer = await page(settled, "/", language)
    assert answer.status_code == 200
    text = words(answer.text)
    for key in (
        "funnel",
        "map",
        "graduation",
        "income",
        "needs",
        "followups",
        "cohorts",
        "support",
        "rejected",
        "basis",
    ):
        assert TEXTS[f"{key}.title"].in_(language) in text
    for place in ("Lombok Utara", "Kota Mataram", "Sumbawa Barat", "Kota Bima"):
        assert place in text
    for cohort in OF.classes:
        assert cohort.number in text
    told = {figure["id"]: figure for figure in (await settled.client.get("/public/figures")).json()["figures"]}
    for name in ("households_listed", "enrolled", "completed", "graduated_now"):
        value = told[name]["value"]
        assert value is None or f">{formats.count(value, language)}</a>" in answer.text


async def test_where_too_few_fell_back_to_be_told_the_page_says_how_many_ever_came_out(settled: Outcomes):
    await settled.pool.execute("UPDATE case_file SET standing = 'graduated' WHERE graduated_on IS NOT NULL")
    await settled.pool.execute(
        "UPDATE case_file SET standing = 'relapsed' "
        "WHERE case_id = (SELECT min(case_id) FROM case_file WHERE graduated_on IS NOT NULL)"
    )
    answer = await page(settled, "/")
    opening = words(answer.text).partition("Perjalanan")[0]
    told = {figure["id"]: figure for figure in (await settled.client.get("/public/figures")).json()["figures"]}
    assert told["graduated_now"]["value"] is None
    assert f"{told['graduated']['value']} keluarga pernah lulus dari kemiskinan ekstrem" in opening
    assert 'aria-current="true">Pernah lulus dari kemiskinan ekstrem</a>' in answer.text
    ever = {str(part["key"]): part["value"] for part in await cells(settled, "graduated")}
    assert any(ever.values())
    for code, value in ever.items():
        assert tile(answer.text, code) == ("···" if value is None else str(value))


async def test_numbers_money_and_days_are_written_as_people_here_do(settled: Outcomes):
    indonesian, english = [words((await page(settled, "/", language)).text) for language in ("id", "en")]
    people = sum(people for _, people in OF.homes.values())
    assert f"Jiwa terdaftar ? : Dari mana angka ini? {people:,}".replace(",", ".") in indonesian
    assert "Rp322.170" in indonesian
    assert "20 September 2025, 09.05 WITA" in indonesian
    assert "peristiwa 12.345" in indonesian
    assert "Rp322,170" in english
    assert "20 September 2025, 09:05 WITA" in english


async def test_an_empty_programme_has_a_page_too(outcomes: Outcomes):
    for language in ("id", "en"):
        for path in ("/", "/area/52.01", "/how/income_median"):
            answer = await page(outcomes, path, language)
            assert answer.status_code == 200
            said = words(answer.text).replace("None: it is counted", "").replace("None was adopted", "")
            assert "None" not in said


async def test_rejected_messages_are_told_by_the_system_that_sent_them(settled: Outcomes):
    """Also what the registry could not take in."""
    for language, systems in (
        ("id", ("Dukcapil", "Dinas koperasi dan UMKM")),
        ("en", ("Civil registry", "Agency for")),
    ):
        text = words((await page(settled, "/", language)).text)
        part = text[text.index(TEXTS["rejected.data"].in_(language)) :]
        table = part[
            part.index(TEXTS["rejected.system"].in_(language)) : part.index(TEXTS["basis.title"].in_(language))
        ]
        assert re.search(rf"{systems[1]}[^0-9]* 8 .*{systems[0]}[^0-9]* 4 ", table), table


async def test_every_public_figure_explains_itself(settled: Outcomes):
    for figure in FIGURES.values():
        answer = await settled.client.get(f"/how/{figure.id}")
        assert answer.status_code == (404 if figure.public is None else 200)
        if figure.public is not None:
            text = words(answer.text)
            assert figure.definition.id in text
            assert figure.answers.title.id in text
            assert f"/public/figures/{figure.id}" in text
            assert "tersegel sampai peristiwa 12.345" in text


async def test_how_a_number_is_known_names_the_rule_and_its_terms(settled: Outcomes):
    text = words((await settled.client.get("/how/graduated")).text)
    assert "Graduasi, versi 1 ( graduation ), berlaku sejak 2 Mei 2024" in text
    assert "garis per orang dan bulan: Rp322.170" in text
    assert "makanan, air bersih, sanitasi dan tempat tinggal" in text


async def test_what_a_rule_stands_on_is_said_in_both_languages(settled: Outcomes):
    assert {rule.source for rule in PROJECT_DEFAULTS.values()} == SOURCES.keys()
    for path in ("/", "/how/graduated"):
        indonesian, english = [words((await page(settled, path, language)).text) for language in ("id", "en")]
        assert "Dua sumber nafkah: Desa Berdaya NTB" in indonesian
        assert "Two livelihoods" not in indonesian
        assert "Two livelihoods: Desa Berdaya NTB" in english


async def test_a_hidden_number_says_that_it_is_hidden_and_why(settled: Outcomes):
    hidden = [part for part in (await cells(settled, "graduated_now")) if part["hidden"]]
    assert hidden, "this province hides nothing"
    key = hidden[0]["key"]
    answer = await settled.client.get(f"/how/graduated_now?by=kabupaten&part={key}")
    text = words(answer.text)
    assert "···" in text
    assert "tidak ada kelompok di bawah 5 orang" in text


async def cells(outcomes: Outcomes, figure_id: str) -> list[dict[str, object]]:
    told = await outcomes.client.get(f"/public/figures/{figure_id}", params={"by": "kabupaten"})
    parts: list[dict[str, object]] = told.json()["parts"]
    return parts


def tile(text: str, code: str) -> str:
    """What stands on the tile of this kabupaten."""
    found = re.search(rf'at-{code.replace(".", "-")}">.*?tile-number">(.*?)</a>', text, re.DOTALL)
    assert found, code
    return words(found[1]).split()[0]


@pytest.mark.parametrize("shown", ON_THE_MAP)
async def test_the_tiles_show_what_is_chosen(settled: Outcomes, shown):
    answer = await settled.client.get("/", params={"map": shown})
    tiles = dict(re.findall(r'at-(52-[0-9]{2})"><a class="tile shade-([0-5])', answer.text))
    values = {str(part["key"]).replace(".", "-"): part["value"] for part in await cells(settled, shown)}
    assert tiles.keys() == values.keys() == {code.replace(".", "-") for code in (*LOMBOK, *SUMBAWA)}
    if any(values.values()):
        assert tiles[max(values, key=lambda code: values[code] or 0)] == "5"
    assert {tiles[code] for code, value in values.items() if not value} <= {"0"}


async def test_a_place_outside_ntb_gets_a_tile_of_its_own(outcomes: Outcomes):
    await outcomes.told(*(listed(f"m{n}", area_code="53.21.10.2004") for n in range(7)))
    answer = await outcomes.client.get("/")
    assert "Malaka" in words(answer.text)
    assert "Alas Selatan" not in words(answer.text)
    kabupaten = await outcomes.client.get("/area/53.21")
    assert "Kobalima Timur" in words(kabupaten.text)


# --- Where they lead --------------------------------------------------------------------------------------------------


async def test_every_link_leads_somewhere_in_here(settled: Outcomes):
    seen: set[str] = set()
    for language in ("id", "en"):
        for path in PAGES:
            answer = await page(settled, path, language)
            found = links(answer.text)
            assert all(link.startswith(("/", "#", "data:,")) for link in found)
            anchors = {link[1:] for link in found if link.startswith("#")}
            assert anchors <= set(re.findall(r'id="([^"]+)"', answer.text))
            if language == "en":
                own = [link for link in found if re.match(r"/(\?|area|how|$)", link)]
                back = [link for link in own if "lang=en" not in link]
                assert len(set(back)) == 1, "only the switch leads back to Bahasa Indonesia"
            if language == "id":
                seen |= {link.partition("#")[0] for link in found if link.startswith("/")}
    assert len(seen) > 150
    for link in sorted(seen):
        assert (await settled.client.get(link)).status_code == 200, link


@pytest.mark.parametrize("path", PAGES)
async def test_every_number_of_a_table_leads_to_how_it_is_known(settled: Outcomes, path):
    text = (await settled.client.get(path)).text
    for cell in re.findall(r"<td>(.*?)</td>", text, re.DOTALL):
        if re.search(r"\d|···", words(cell)) and "<td" not in cell:
            known = re.search(r'<a class="n[^"]*" href="/how/', cell)
            assert known or path_of_positions(text, cell), cell


def path_of_positions(text: str, cell: str) -> bool:
    """The positions themselves are what numbers stand on."""
    positions = text.partition('class="positions"')[2].partition("</details>")[0]
    return f"<td>{cell}</td>" in positions


async def test_the_switch_keeps_the_page(settled: Outcomes):
    text = (await settled.client.get("/area/52.01?map=completed")).text
    assert '<a class="switch" href="/area/52.01?map=completed&amp;lang=en" hreflang="en"' in text
    back = (await settled.client.get("/area/52.01?map=completed&lang=en")).text
    assert '<a class="switch" href="/area/52.01?map=completed" hreflang="id"' in back


# --- What is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/area/52.99", "/area/52.01.01.2002", "/area/%3Cscript%3E", "/how/unheard_of", "/how/completed?by=name",
     "/how/reports_unmatched", "/how/completed?by=kabupaten&part=52.99"],
)  # fmt: skip
async def test_what_is_not_there_is_told_by_a_page(outcomes: Outcomes, path):
    for language, title in (("id", "Halaman tidak ditemukan"), ("en", "Page not found")):
        answer = await page(outcomes, path, language)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert title in answer.text
        assert "<script" not in answer.text


async def test_while_the_database_is_away_a_page_says_so(outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch):
    async def away(_connection: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(queries, "standing", away)
    answer = await outcomes.client.get("/")
    assert answer.status_code == 503
    assert "Basis data tidak menjawab" in answer.text
    monkeypatch.undo()
    assert (await outcomes.client.get("/")).status_code == 200


async def test_an_unknown_language_or_map_is_the_usual_one(outcomes: Outcomes):
    usual = (await outcomes.client.get("/")).text
    other = (await outcomes.client.get("/?lang=xx&map=secrets")).text
    assert '<html lang="id">' in other
    assert other.count('aria-current="true"') == usual.count('aria-current="true"') == 1


# --- What they let in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/area/52.99"])
async def test_nothing_from_elsewhere_and_nothing_inline_may_run(settled: Outcomes, path):
    answer = await settled.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?://", answer.text)


async def test_style_and_script_may_be_kept_for_a_year(outcomes: Outcomes):
    found = [link for link in links((await outcomes.client.get("/")).text) if link.startswith("/assets/")]
    assert len(found) == 2
    for link in found:
        asset = await outcomes.client.get(link)
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["content-type"].startswith(("text/css", "text/javascript"))
        assert "http" not in asset.text.replace("http-equiv", "")
    for name in ("/assets/../views.py", "/assets/entas.css"):
        assert (await outcomes.client.get(name)).status_code == 404


async def test_a_page_that_is_known_is_not_sent_again(settled: Outcomes):
    first = await settled.client.get("/")
    again = await settled.client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "public, no-cache"


async def test_the_live_part_is_the_page_without_its_frame(settled: Outcomes):
    whole = (await settled.client.get("/?lang=en")).text
    (address,) = re.findall(r'data-live="([^"]+)"', whole)
    live = (await settled.client.get(html.unescape(address))).text
    assert live.strip() in whole
    assert "<html" not in live


# --- As large as it gets ----------------------------------------------------------------------------------------------


def rounds(times: int) -> Iterator[None]:
    for _ in range(times):
        yield


async def test_a_page_of_the_whole_province_takes_less_than_a_second(outcomes: Outcomes):
    """60,642 households, 282,486 people, and who was trained of them: the first page, with nothing kept from before."""
    whole = province(households=60_642, nominated_people=1500, cohorts=16, seed=3)
    await settle(whole, outcomes.pool)
    await outcomes.pool.execute("VACUUM ANALYZE")
    steer(outcomes.clock, NOW)
    taken = []
    for _ in rounds(5):
        outcomes.client._transport.app.state.__dict__["_state"].pop("press", None)  # type: ignore[attr-defined]
        started = time.perf_counter()
        answer = await outcomes.client.get("/")
        taken.append(time.perf_counter() - started)
        assert answer.status_code == 200
    assert "60.642" in answer.text
    assert min(taken) < 1, taken


def test_tables_and_tiles_show_public_figures():
    assert all(FIGURES[name].public is not None for name in (*IN_TABLES, *OF_COHORTS, *ON_THE_MAP))
