"""What a message says: values as people write them, and never a national id, however it is disguised."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.notifications import Language
from services.notifications.defaults import RULES_TO_ADOPT, TEMPLATES_TO_ADOPT
from services.notifications.facts import FACTS, KINDS, Kind, Place
from services.notifications.national_ids import holds_national_id
from services.notifications.templates.rendering import Unsendable, Written, write
from services.notifications.templates.state import TemplateVersion
from tests.notifications.facts import NIK, NOW

SAMPLES = {
    Kind.TEXT: "Kuliner",
    Kind.AREA: "52.01.01.2002",
    Kind.DATE: "2024-07-08",
    Kind.TIME: "2024-07-08T01:05:00+00:00",
    Kind.NUMBER: "1234567",
}
VALUES = {place.value: SAMPLES[kind] for place, kind in KINDS.items()}


def template(text: str, english: str = "Hello") -> TemplateVersion:
    return TemplateVersion(
        template_version=1, subject_id="Kabar", subject_en="News", text_id=text, text_en=english, adopted_at=NOW
    )


def written(text: str, language: Language = Language.INDONESIAN, **values: str) -> str:
    return write(template(text, text), language, VALUES | values).text


# --- As people write --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "indonesian", "english"),
    [
        ("starts_on", "8 Juli 2024", "8 July 2024"),
        ("told_at", "09.05", "09:05"),
        ("days", "1.234.567", "1,234,567"),
        ("course", "Kuliner", "Kuliner"),
        ("area", "Kebon Ayu, Gerung, Kabupaten Lombok Barat", "Kebon Ayu, Gerung, Kabupaten Lombok Barat"),
    ],
)
def test_values_are_written_as_people_write_them(place: str, indonesian: str, english: str):
    assert written(f"{{{place}}}") == indonesian
    assert written(f"{{{place}}}", Language.ENGLISH) == english


MONTHS = (
    *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
    *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
)


def test_each_month_has_its_indonesian_name():
    months = [written("{starts_on}", starts_on=f"2024-{month:02d}-01") for month in range(1, 13)]
    assert months == [f"1 {name} 2024" for name in MONTHS]


def test_an_area_that_the_reference_list_does_not_hold_is_shown_by_its_code():
    assert written("{area}", area="53.99.99.2001") == "53.99.99.2001"
    assert written("{area}", area="52") == "Nusa Tenggara Barat"


@pytest.mark.parametrize("command", TEMPLATES_TO_ADOPT, ids=lambda t: t.template_id)
@pytest.mark.parametrize("language", Language)
def test_every_default_can_be_written_for_each_rule_that_uses_it(command: Any, language: Language):
    version = TemplateVersion(template_version=1, adopted_at=NOW, **command.model_dump(exclude={"template_id"}))
    facts = [FACTS[rule.fact] for rule in RULES_TO_ADOPT if rule.template_id == command.template_id]
    assert facts
    for fact in facts:
        said = write(version, language, {place: VALUES[place] for place in fact.places})
        assert "{" not in said.text + said.subject
        assert len(said.text) < 700


# --- Hostile values ---------------------------------------------------------------------------------------------------


def test_a_value_is_one_line_without_signs_that_steer():
    assert written("{name}!", name="Sari\r\nBcc: all@example.org\x1b[2J\u202e \u200bLestari  ") == (
        "Sari Bcc: all@example.org [2J Lestari!"
    )
    assert len(written("{venue}", venue="x" * 10_000)) == 200


def test_a_value_that_looks_like_a_place_stays_what_it_is():
    assert written("{name}", name="{participant} {0} {name.__class__}") == "{participant} {0} {name.__class__}"


@pytest.mark.parametrize(
    "values", [{"starts_on": "soon"}, {"told_at": "x"}, {"days": "many"}, {"name": ""}, {"name": " \u200b\n"}]
)
def test_a_value_that_cannot_be_written_stops_the_message_and_is_not_in_the_error(values: dict[str, str]):
    [(place, value)] = values.items()
    with pytest.raises(Unsendable) as unfit:
        written(f"Halo {{{place}}}", **values)
    assert place in str(unfit.value)
    assert not value.strip() or value not in str(unfit.value)


def test_a_place_without_a_value_stops_the_message():
    with pytest.raises(Unsendable):
        write(template("{venue}"), Language.INDONESIAN, {"name": "Sari"})


# --- National ids -----------------------------------------------------------------------------------------------------

DISGUISES = [
    NIK,
    f"NIK:{NIK}.",
    "52 70 01 01 01 90 00 01",
    "5270.0101.0190.0001",
    "527001-010190-0001",
    "5270_0101_0190_0001",
    "5270 - 0101 - 0190 - 0001",
    "5270\n0101\r\n0190\t0001",
    "5270\u00a00101\u20090190\u202f0001",
    "5270\u200b0101\u200d0190\ufeff0001",
    "5270\u00ad0101\u00ad01900001",
    "5270–0101—0190−0001",
    "5,2,7,0,0,1,0,1,0,1,9,0,0,0,0,1",
    "5/2/7/0/0/1/0/1/0/1/9/0/0/0/0/1",
    "５２７００１０１０１９００００１",
    "٥٢٧٠٠١٠١٠١٩٠٠٠٠١",
    "①②③④⑤⑥⑦⑧⑨①②③④⑤⑥⑦",
    "5⃣2⃣7⃣0⃣0⃣1⃣0⃣1⃣0⃣1⃣9⃣0⃣0⃣0⃣0⃣1⃣",
    "5̲2̲7̲0̲0̲1̲0̲1̲0̲1̲9̲0̲0̲0̲0̲1̲",
    "𝟓𝟐𝟕𝟎𝟎𝟏𝟎𝟏𝟎𝟏𝟗𝟎𝟎𝟎𝟎𝟏",
    "²³4567890123456¹",
    "(5270)(0101)(0190)(0001)",
    "5·2·7·0·0·1·0·1·0·1·9·0·0·0·0·1",
    "⑫⑫⑫⑫⑫⑫⑫⑫",
    "99" + NIK + "99",
]


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_national_id_is_seen_in_every_disguise_and_never_sent(disguise: str):
    assert holds_national_id(disguise)
    assert holds_national_id(f"Halo Sari, {disguise} terima kasih")
    with pytest.raises(Unsendable) as unfit:
        written("Halo {name}", name=disguise)
    assert disguise not in str(unfit.value)


def test_a_national_id_that_only_comes_together_in_the_text_is_seen():
    with pytest.raises(Unsendable):
        written("{course} {venue}", course="Kelas 52700101", venue="01900001")


def test_a_national_id_in_a_subject_is_seen():
    version = TemplateVersion(
        template_version=1, subject_id="{name}", subject_en="x", text_id="Halo", text_en="Hello", adopted_at=NOW
    )
    with pytest.raises(Unsendable):
        write(version, Language.INDONESIAN, {"name": NIK})


@pytest.mark.parametrize(
    "harmless",
    [
        "angkatan P3KE-2024-01, dari 8 Juli 2024 sampai 12 Juli 2024, pukul 09.05",
        "+62 812-3456-7890",
        "Rp1.234.567",
        "527001010190000",  # 15 digits
        "5270010101 dan 900001",
        "Jl. Pejanggik No. 12, 83121 Mataram, telepon 0370-123456",
    ],
)
def test_what_is_no_national_id_goes_out(harmless: str):
    assert not holds_national_id(harmless)
    assert written("{venue}", venue=harmless) == harmless


@given(st.text(st.characters(categories=["Zs", "Pd", "Po", "Cf"]), max_size=2), st.integers(1, 15))
def test_whatever_stands_between_two_groups_it_is_seen(between: str, cut: int):
    assert holds_national_id(NIK[:cut] + between + NIK[cut:])


@given(st.text(), st.dictionaries(st.sampled_from(list(Place)), st.text()))
def test_whatever_the_values_the_text_is_safe_or_the_message_is_not_sent(text: str, values: dict[Place, str]):
    version = template("".join(c for c in text if c not in "{}") + "{name} {starts_on} {days}")
    try:
        said = write(version, Language.INDONESIAN, {place.value: value for place, value in values.items()})
    except Unsendable:
        return
    assert isinstance(said, Written)
    assert not holds_national_id(said.text)
