"""The area codes, the reference list behind them, and the published poverty figures."""

import csv
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import areas, figures
from contracts.areas import InvalidAreaCode, Level, UnknownArea
from contracts.figures import Measure, NoSingleFigure
from deploy.reference import kept_areas

REFERENCE = Path(areas.__file__).parent / "reference"


def listed(name: str) -> list[dict[str, str]]:
    with (REFERENCE / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


CODES = [row["code"] for row in listed("areas.csv")]


# --- The reference list ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("within", "kabupaten", "kecamatan", "villages"), [("52", 10, 117, 1_166), ("53.21", 1, 12, 127)]
)
def test_the_list_has_every_area_of_ntb_and_malaka(within, kabupaten, kecamatan, villages):
    by_dots = [
        sum(code.count(".") == dots and (code + ".").startswith(within + ".") for code in CODES) for dots in (1, 2, 3)
    ]
    assert by_dots == [kabupaten, kecamatan, villages]


def test_the_list_has_the_provinces_and_kabupaten_of_the_country_and_no_other_villages():
    assert sum("." not in code for code in CODES) == 38
    assert sum(code.count(".") == 1 for code in CODES) == 514
    assert {code[:5] for code in CODES if len(code) == 13 and not code.startswith("52")} == {"53.21"}


def test_the_list_is_what_the_generator_writes():
    assert [(row["code"], row["name"]) for row in listed("areas.csv")] == sorted((a.code, a.name) for a in kept_areas())


def test_every_listed_area_lies_in_a_listed_area():
    assert len(set(CODES)) == len(CODES)
    for code in CODES:
        assert "." not in code or code.rpartition(".")[0] in CODES


def test_names_are_as_the_decree_has_them():
    assert areas.name("52") == "Nusa Tenggara Barat"
    assert areas.name("52.01") == "Kabupaten Lombok Barat"
    assert areas.name("53.21.10.2004") == "Alas Selatan"
    assert [areas.short_name(code) for code in ("52.06", "52.72")] == ["Bima", "Kota Bima"]


def test_an_unknown_area_is_named_in_the_error():
    with pytest.raises(UnknownArea, match=r"52\.99"):
        areas.name("52.99")
    with pytest.raises(UnknownArea):
        areas.children("52.99")
    with pytest.raises(UnknownArea):
        areas.villages("52.99")
    assert not areas.is_known("52.99")
    assert not areas.is_known("32.04.05.2001")  # a village outside NTB and Malaka


def test_children_and_villages_are_those_below():
    assert areas.provinces() == tuple(sorted(code for code in CODES if len(code) == 2))
    assert areas.children("52") == tuple(sorted(code for code in CODES if len(code) == 5 and code[:2] == "52"))
    assert areas.children("52.01.01.2002") == ()
    for of in ("52", "52.01", "52.01.01", "52.71", "53.21", "53"):
        expected = [code for code in CODES if len(code) == 13 and code.startswith(of + ".")]
        assert areas.villages(of) == tuple(sorted(expected))
        assert expected
    assert areas.villages("52.01.01.2002") == ("52.01.01.2002",)
    assert areas.villages("32.04") == ()


def test_importing_reads_no_file():
    program = (
        "from contracts import areas, figures; print(areas._reference.cache_info(), figures._figures.cache_info())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.count("currsize=0") == 2


# --- Codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("52", "52"),
        ("5201", "52.01"),
        ("52.01", "52.01"),
        ("520101", "52.01.01"),
        ("5201012001", "52.01.01.2001"),
        (" 52.01.01.2001\n", "52.01.01.2001"),
    ],
)
def test_a_code_is_read_with_and_without_dots(text, code):
    assert areas.normalise(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "520",
        "52.1",
        "52.01.1",
        "52.01.01.201",
        "52.01.01.20011",
        "52.",
        ".52",
        "5a",
        "*",
        "٥٢",
        "52 01",
        "52..01",
    ],
)
def test_what_is_no_code_is_refused_without_being_repeated(text):
    with pytest.raises(InvalidAreaCode) as refusal:
        areas.normalise(text)
    assert "52.01.01.2001" in str(refusal.value)  # The remedy shows how a code looks.
    assert len(text) < 3 or text not in str(refusal.value).replace("52.01.01.2001", "")


@given(st.sampled_from(CODES))
def test_every_listed_code_survives_losing_its_dots(code):
    assert areas.normalise(code.replace(".", "")) == code
    assert areas.normalise(code) == code


def test_level_parent_and_ancestors():
    village = "52.01.01.2001"
    assert areas.ancestors(village) == ("52", "52.01", "52.01.01")
    assert areas.ancestors("52.01") == ("52",)
    assert areas.ancestors("52") == ()
    assert [areas.parent(code) for code in ("52", "52.01", village)] == [None, "52", "52.01.01"]
    assert [areas.level(code) for code in (*areas.ancestors(village), village)] == list(Level)
    assert areas.at_level(village, Level.KABUPATEN) == "52.01"
    for wrong in ("", "5201", "52.01.01.20011"):
        with pytest.raises(InvalidAreaCode):
            areas.level(wrong)
    with pytest.raises(InvalidAreaCode):
        areas.at_level("52", Level.KABUPATEN)


def test_kota_and_kelurahan_are_told_by_their_numbers():
    assert areas.is_kota("52.71")
    assert areas.is_kota("52.72.01.1001")
    assert not areas.is_kota("52.08")
    assert areas.is_kelurahan("52.71.01.1004")
    assert not areas.is_kelurahan("53.21.10.2004")
    assert not areas.is_kelurahan("52.71.01")


@given(st.sampled_from(CODES), st.sampled_from(CODES))
def test_an_area_covers_itself_and_what_lies_in_it(prefix, code):
    segments = prefix.split(".")
    assert areas.covers(prefix, code) == (code.split(".")[: len(segments)] == segments)
    assert all(areas.covers(ancestor, code) for ancestor in areas.ancestors(code))


def test_a_prefix_covers_on_segment_borders_only():
    assert not areas.covers("52.0", "52.01")
    assert not areas.covers("5", "52")
    assert not areas.covers("52.01.", "52.01.01")
    assert not areas.covers("", "52")
    assert not areas.covers("52.01", "52")
    assert areas.covers("*", "52.01")


# --- Figures ---------------------------------------------------------------------------------------------------------


def test_the_figures_are_the_published_ones():
    assert figures.figure("52", Measure.POOR_THOUSANDS, 2022) == Decimal("731.94")
    assert figures.figure("52.03", Measure.POOR_PERCENT, 2024) == Decimal("14.51")
    assert figures.figure("52.02", Measure.EXTREME_POOR_PERCENT, 2024) == Decimal("0.72")
    assert figures.figures("52.08", Measure.EXTREME_POOR_PERCENT)[0].year is None
    assert all(figure.source for figure in figures.figures())


def test_the_kabupaten_of_2022_add_up_to_the_province_but_for_rounding():
    total = sum(figures.figure(code, Measure.POOR_THOUSANDS, 2022) for code in areas.children("52"))
    assert total - figures.figure("52", Measure.POOR_THOUSANDS, 2022) == Decimal("0.01")


def test_where_sources_disagree_both_values_stand_and_none_is_chosen():
    values = {figure.value for figure in figures.figures("52.71", Measure.POOR_THOUSANDS, 2024)}
    assert values == {Decimal("42.51"), Decimal("43")}
    assert len(figures.figures("52", Measure.EXTREME_POOR_PERCENT, 2024)) == 2
    with pytest.raises(NoSingleFigure, match="2 published values"):
        figures.figure("52.71", Measure.POOR_THOUSANDS, 2024)
    with pytest.raises(NoSingleFigure, match="0 published values"):
        figures.figure("52.07", Measure.POOR_THOUSANDS, 2024)


def test_every_figure_is_of_a_known_area():
    assert {row["area_code"] for row in listed("poverty_figures.csv")} == {"52", *areas.children("52")}
