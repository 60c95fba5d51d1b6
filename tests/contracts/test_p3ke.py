"""The list's format: its columns, how a row is read, and what a hostile file can do (nothing)."""

import csv
import io
import re
import tracemalloc
from dataclasses import fields
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts import areas, registry
from contracts.envelope import Privacy, fields_of
from contracts.p3ke import (
    ALIASES,
    COLUMNS,
    FAMILY_FIELDS,
    Belongs,
    Kind,
    ListReader,
    PersonRow,
    Problem,
    Severity,
    UnreadableList,
    age_band,
    conflicts,
    family_fingerprint,
    parse_row,
    read_header,
)
from contracts.p3ke.files import LONGEST_ROW_BYTES, LONGEST_ROW_LINES
from contracts.registry import AgeBand, Sex

GOOD = {
    "id_keluarga": "KEL-0000001",
    "provinsi": "Nusa Tenggara Barat",
    "kabupaten_kota": "Kabupaten Lombok Barat",
    "kecamatan": "Gerung",
    "desa_kelurahan": "Kebon Ayu",
    "kode_kemdagri": "5201012002",
    "desil_kesejahteraan": "1",
    "persentil": "2",
    "alamat": "Dusun Gubuk Daya, RT 003",
    "kepala_keluarga": "Sahrun Hadi",
    "kepemilikan_rumah": "MILIK SENDIRI",
    "simpanan": "Tidak",
    "jenis_atap": "Seng",
    "jenis_dinding": "Bedek",
    "jenis_lantai": "Tanah",
    "sumber_penerangan": "Listrik PLN",
    "bahan_bakar_memasak": "Arang/Kayu",
    "sumber_air_minum": "sumur bor",
    "fasilitas_bab": "YA DENGAN SEPTIC-TANK",
    "bpnt": "YA",
    "bpum": "Tidak",
    "bst": "0",
    "pkh": "1",
    "sembako": "",
    "resiko_stunting": "tidak",
    "pensasaran": "P3KE",
    "nomor_kk": "5270010101100001",
    "id_individu": "KEL-0000001-02",
    "nama": "Rohani  Wati",
    "nik": "5270017107840002",
    "padan_dukcapil": "YA",
    "jenis_kelamin": "Perempuan",
    "hubungan_kepala_keluarga": "Istri/Suami",
    "tanggal_lahir": "31/07/1984",
    "status_kawin": "Kawin",
    "pekerjaan": "Pembuat gula aren",
    "pendidikan": "Tamat SD/Sederajat",
    "usia_dibawah_7": "Tidak",
    "usia_7_12": "Tidak",
    "usia_13_15": "Tidak",
    "usia_16_18": "Tidak",
    "usia_19_21": "Tidak",
    "usia_22_59": "Ya",
    "usia_60_keatas": "Tidak",
}
REQUIRED = ["id_keluarga", "kode_kemdagri", "desil_kesejahteraan"]
BY_NAME = {column.name: column for column in COLUMNS}


def read(**changed: str) -> PersonRow:
    row = parse_row(GOOD | changed)
    assert isinstance(row, PersonRow), row
    return row


def rejected(**changed: str) -> list[tuple[str, str]]:
    problems = parse_row(GOOD | changed)
    assert isinstance(problems, list), problems
    assert any(problem.severity is Severity.REJECTION for problem in problems)
    return [(problem.column, problem.code) for problem in problems]


def warned(**changed: str) -> list[tuple[str, str]]:
    warnings = read(**changed).warnings
    assert all(warning.severity is Severity.WARNING for warning in warnings)
    return [(warning.column, warning.code) for warning in warnings]


# --- The columns -----------------------------------------------------------------------------------------------------


def test_every_column_says_what_it_means_whose_it_is_and_how_far_it_may_travel():
    for column in COLUMNS:
        assert column.meaning
        assert isinstance(column.belongs, Belongs)
        assert isinstance(column.privacy, Privacy)
    assert len(BY_NAME) == len(COLUMNS)
    assert set(GOOD) == set(BY_NAME)
    assert [column.name for column in COLUMNS if column.required] == REQUIRED


def test_every_column_is_a_field_of_the_row_in_the_same_order():
    assert [field.name for field in fields(PersonRow)] == [*dict.fromkeys(c.field for c in COLUMNS), "warnings"]


def test_what_tells_who_somebody_is_is_personal():
    personal = {column.name for column in COLUMNS if column.privacy is Privacy.PERSONAL}
    assert personal >= {"nama", "nik", "nomor_kk", "alamat", "tanggal_lahir", "kepala_keluarga", "id_keluarga"}
    # Nothing that is personal in the facts that the registry publishes is less than that here, and the other way round.
    sealed = {*registry.PersonDetails.model_fields, *registry.HouseholdDetails.model_fields}
    for column in COLUMNS:
        if column.field in sealed:
            assert column.privacy is Privacy.PERSONAL, column.name
        if column.field in fields_of(registry.LivingConditions):
            assert column.privacy is Privacy.PSEUDONYMOUS, column.name


def test_known_values_are_read_as_themselves():
    for column in COLUMNS:
        if column.kind in (Kind.OPEN_WORDS, Kind.CLOSED_WORDS):
            for value in column.allowed:
                assert getattr(read(**{column.name: value.upper()}), column.field) == value


def test_every_alias_leads_to_a_column():
    assert set(ALIASES.values()) <= set(BY_NAME)
    assert not set(ALIASES) & set(BY_NAME)


# --- A row -----------------------------------------------------------------------------------------------------------


def test_a_row_is_read():
    assert parse_row(GOOD) == PersonRow(
        family_id="KEL-0000001",
        province="Nusa Tenggara Barat",
        kabupaten="Kabupaten Lombok Barat",
        kecamatan="Gerung",
        village="Kebon Ayu",
        village_code="52.01.01.2002",
        welfare_decile=1,
        welfare_percentile=2,
        address="Dusun Gubuk Daya, RT 003",
        household_head="Sahrun Hadi",
        house_ownership="Milik Sendiri",
        savings="Tidak",
        roof="Seng",
        wall="Bedek",  # a value that is not in the vocabulary is kept as it stands
        floor="Tanah",
        lighting="Listrik PLN",
        cooking_fuel="Arang/Kayu",
        drinking_water="Sumur Bor",
        latrine="Ya, dengan Septic Tank",
        receives_bpnt=True,
        receives_bpum=False,
        receives_bst=False,
        receives_pkh=True,
        receives_sembako=None,
        stunting_risk=False,
        targeting_flag="P3KE",
        family_card_number="5270010101100001",
        individual_id="KEL-0000001-02",
        name="Rohani Wati",
        national_id="5270017107840002",
        civil_registry_match=True,
        sex=Sex.FEMALE,
        relation_to_head="Istri/Suami",
        birth_date=date(1984, 7, 31),
        marital_status="Kawin",
        occupation="Pembuat gula aren",
        education="Tamat SD/Sederajat",
        age_band=AgeBand.FROM_22,
        warnings=(),
    )
    assert read().social_assistance == ("BPNT", "PKH")
    assert not read().is_head
    assert read(hubungan_kepala_keluarga="KEPALA  KELUARGA").is_head


def test_the_required_columns_alone_make_a_row():
    row = parse_row({name: GOOD[name] for name in REQUIRED})
    assert isinstance(row, PersonRow)
    assert (row.family_id, row.village_code, row.welfare_decile) == ("KEL-0000001", "52.01.01.2002", 1)
    assert (row.sex, row.age_band, row.warnings) == (Sex.UNKNOWN, AgeBand.UNKNOWN, ())
    said = {field.name for field in fields(row) if getattr(row, field.name) is not None}
    assert said == {"family_id", "village_code", "welfare_decile", "sex", "age_band", "warnings"}


@pytest.mark.parametrize("column", REQUIRED)
@pytest.mark.parametrize("empty", ["", "  ", "-", "NULL"])
def test_a_required_value_that_is_missing_rejects_the_row(column, empty):
    assert rejected(**{column: empty}) == [(column, "missing")]


def test_every_problem_of_a_row_is_reported_at_once():
    assert rejected(id_keluarga="", kode_kemdagri="52", desil_kesejahteraan="11", nik="1", bpnt="?") == [
        ("id_keluarga", "missing"),
        ("kode_kemdagri", "malformed-code"),
        ("desil_kesejahteraan", "out-of-range"),
        ("bpnt", "not-yes-or-no"),
        ("nik", "not-16-digits"),
    ]


@pytest.mark.parametrize("code", ["52.01.01.2002", "5201012002", " 52.01.01.2002 ", "'5201012002"])
def test_a_village_code_is_read_with_and_without_dots(code):
    assert read(kode_kemdagri=code).village_code == "52.01.01.2002"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("52", "malformed-code"),
        ("52.01", "malformed-code"),
        ("52.01.01", "malformed-code"),
        ("Gerung", "malformed-code"),
        ("52.01.01.2999", "unknown-village"),
        ("5201010001", "unknown-village"),  # a BPS number
        ("32.04.05.2001", "unknown-village"),  # outside NTB and Malaka
    ],
)
def test_a_code_that_is_no_known_village_rejects_the_row(code, problem):
    assert rejected(kode_kemdagri=code) == [("kode_kemdagri", problem)]


@pytest.mark.parametrize("text", [*map(str, range(1, 11)), "01", "1.0", "Desil 1", " 10 "])
def test_deciles_are_read(text):
    assert read(desil_kesejahteraan=text, persentil="").welfare_decile == int(re.search(r"\d+", text)[0])


@pytest.mark.parametrize("text", ["0", "11", "-1", "1,5", "1.5", "satu", "1e0", "١", "100000000000"])
def test_a_decile_outside_1_to_10_rejects_the_row(text):
    assert rejected(desil_kesejahteraan=text) == [("desil_kesejahteraan", "out-of-range")]


def test_a_percentile_is_optional_and_only_warned_about():
    assert read(persentil="").welfare_percentile is None
    assert read(persentil="100", desil_kesejahteraan="10").welfare_percentile == 100
    assert warned(persentil="101") == [("persentil", "out-of-range")]
    assert warned(persentil="11") == [("persentil", "percentile-against-decile")]
    assert warned(persentil="10") == []


@pytest.mark.parametrize("text", ["5270017107840002", "'5270017107840002", " 5270017107840002", "5270 0171 0784 0002"])
def test_a_nik_is_read(text):
    assert read(nik=text).national_id == "5270017107840002"


@pytest.mark.parametrize("text", ["", " ", "-", "NULL"])
def test_a_person_without_a_nik_is_taken(text):
    assert read(nik=text).national_id is None
    assert warned(nik=text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("527001710784000", "not-16-digits"),
        ("52700171078400022", "not-16-digits"),
        ("527001710784000X", "not-16-digits"),
        ("٥٢٧٠٠١٧١٠٧٨٤٠٠٠٢", "not-16-digits"),
        ("belum ada", "not-16-digits"),
        ("5.27001E+15", "rounded-number"),
        ("5,27E15", "rounded-number"),
    ],
)
def test_a_nik_that_is_given_but_has_not_16_digits_rejects_the_row(text, problem):
    assert rejected(nik=text) == [("nik", problem)]


def test_a_nik_that_disagrees_is_a_warning_and_never_a_rejection():
    assert warned(nik="5270013107840002") == [("nik", "nik-against-sex")]
    assert warned(nik="5270017007840002") == [("nik", "nik-against-birth-date")]
    assert warned(nik="5270017108840002") == [("nik", "nik-against-birth-date")]
    assert warned(nik="5270017107850002") == [("nik", "nik-against-birth-date")]
    assert warned(nik="5270018107840002") == [("nik", "nik-against-birth-date")]
    assert warned(nik="5270013107840002", jenis_kelamin="") == []
    assert warned(nik="5270017007840002", tanggal_lahir="") == []
    assert warned(nik="5270013107840002", jenis_kelamin="L") == []


def test_a_placeholder_is_no_nik():
    assert read(nik="0000000000000000").national_id is None
    assert warned(nik="9999999999999999") == [("nik", "placeholder")]


def test_a_family_card_number_that_has_not_16_digits_is_left_out():
    assert read(nomor_kk="123").family_card_number is None
    assert warned(nomor_kk="123") == [("nomor_kk", "not-16-digits")]


@pytest.mark.parametrize(
    "text",
    ["1984-07-31", "31/07/1984", "31-07-1984", "31.7.1984", "1984-7-31", "1984-07-31 00:00:00", "31/07/1984 0:00"],
)
def test_dates_are_read(text):
    assert read(tanggal_lahir=text).birth_date == date(1984, 7, 31)
    assert warned(tanggal_lahir=text) == []


@pytest.mark.parametrize(
    "text", ["1984-02-30", "31/13/1984", "07/31/1984", "0000-00-00", "1884-07-31", "31 Juli", "30526"]
)
def test_what_is_no_date_is_left_out_with_a_warning(text):
    assert read(tanggal_lahir=text).birth_date is None
    assert warned(tanggal_lahir=text) == [("tanggal_lahir", "no-date")]


def test_a_value_outside_a_closed_vocabulary_is_left_out_with_a_warning():
    assert read(fasilitas_bab="Kakus").latrine is None
    assert warned(fasilitas_bab="Kakus", sumber_air_minum="Sungai") == [
        ("sumber_air_minum", "unknown-words"),
        ("fasilitas_bab", "unknown-words"),
    ]
    assert warned(pkh="mungkin", jenis_kelamin="x", usia_22_59="?") == [
        ("pkh", "not-yes-or-no"),
        ("jenis_kelamin", "unknown-words"),
        ("usia_22_59", "not-yes-or-no"),
    ]


def test_two_age_bands_are_none():
    assert read(usia_7_12="Ya").age_band is AgeBand.UNKNOWN
    assert warned(usia_7_12="Ya") == [("usia_dibawah_7", "several-age-bands")]


@pytest.mark.parametrize(
    ("years", "band"), [(0, "0-6"), (6, "0-6"), (7, "7-12"), (13, "13-15"), (16, "16-18"), (19, "19-21"), (22, "22-59"),
                        (59, "22-59"), (60, "60+"), (101, "60+")]
)  # fmt: skip
def test_the_age_band_goes_by_completed_years(years, band):
    assert age_band(date(2022 - years, 10, 10), date(2022, 10, 10)) == band
    assert age_band(date(2021 - years, 10, 11), date(2022, 10, 10)) == band


# --- What a row may not bring in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "\t=", "\u200b="])
def test_no_text_can_start_a_formula(start):
    attack = f"{start}HYPERLINK(A1)"
    assert rejected(nama=attack) == [("nama", "formula")]
    assert rejected(kepala_keluarga=attack) == [("kepala_keluarga", "formula")]
    for column in ("alamat", "pekerjaan", "jenis_atap", "kecamatan"):
        row = read(**{column: attack})
        assert getattr(row, BY_NAME[column].field) == "HYPERLINK(A1)"
        assert [warning.code for warning in row.warnings] == ["formula"]


@pytest.mark.parametrize("column", ["nama", "kepala_keluarga"])
@pytest.mark.parametrize(
    ("text", "problem"),
    [("x" * 121, "too-long"), ("Rohani\x00Wati", "control-character"), ("Rohani\x1b[2J", "control-character"),
     ("5270017107840002", "number")],
)  # fmt: skip
def test_a_name_that_is_none_rejects_the_row(column, text, problem):
    assert rejected(**{column: text}) == [(column, problem)]


@pytest.mark.parametrize("name", ["H. Abd. Ra'uf, S.Pd", "Inaq Senah", "Ni Luh Gede", "Ａ", "Zoë", "Siti-Hawa II"])
def test_names_as_people_have_them_are_kept(name):
    assert read(nama=name).name == name


def test_line_breaks_and_invisible_characters_are_tidied():
    row = read(alamat="Dusun\r\n Gubuk\tDaya\u00a0RT\u200b 1", nama="\ufeffRohani\u202e Wati")
    assert (row.address, row.name) == ("Dusun Gubuk Daya RT 1", "Rohani Wati")
    assert read(nama="Zoe\u0308").name == "Zo\u00eb"


def test_somebodys_number_in_another_column_is_left_out():
    for column in ("pekerjaan", "jenis_lantai", "desa_kelurahan", "pensasaran"):
        assert getattr(read(**{column: "NIK 5270017107840002"}), BY_NAME[column].field) is None
        assert warned(**{column: "5270017107840002"}) == [(column, "number")]


def test_long_texts_are_left_out():
    assert warned(alamat="x" * 401, jenis_atap="y" * 81) == [("alamat", "too-long"), ("jenis_atap", "too-long")]
    assert rejected(id_keluarga="z" * 65) == [("id_keluarga", "malformed-identifier")]


VALUE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(sorted(set(GOOD.values()))),
    st.sampled_from(["=1+1", "5270017107840002", "x" * 70_000, "\x00", "1e999", "9" * 5_000, "١٢٣", "\ud800"]),
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*GOOD, "lain"]), VALUE))
def test_any_row_is_read_or_rejected_and_no_value_is_repeated(changed):
    row = parse_row(GOOD | changed)
    problems = row if isinstance(row, list) else row.warnings
    fixed = {problem for problem in problems if problem in PROBLEMS}
    assert fixed == set(problems), "a problem is one of a fixed set, so that it cannot hold a value"
    if isinstance(row, PersonRow):
        for field in fields(row):
            value = getattr(row, field.name)
            assert not (isinstance(value, str) and value[:1] in set("=+-@\t\r"))
            assert not (isinstance(value, str) and "\x00" in value)


def all_problems() -> set[Problem]:
    """Every problem that each column's reader can report, gathered with texts that have no value of a person."""
    probes = ["", "x", "=x", "x" * 500, "\x00", "123456789", "1e5", "52", "5299992999", "0" * 16, "99", "2", "12", "Ya"]
    found: set[Problem] = set()
    for name in GOOD:
        for probe in probes:
            row = parse_row(GOOD | {name: probe})
            found |= set(row if isinstance(row, list) else row.warnings)
    for nik in ("5270013107840002", "5270017007840002"):
        found |= set(read(nik=nik).warnings)
    return found | set(read(persentil="90").warnings)


PROBLEMS = all_problems()


def test_every_problem_says_where_why_and_what_to_do():
    assert len(PROBLEMS) > 60
    for problem in PROBLEMS:
        assert problem.column in BY_NAME
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", problem.code)
        assert problem.reason.endswith(".")
        assert problem.remedy.endswith(".")


# --- Families --------------------------------------------------------------------------------------------------------


def test_rows_of_a_family_agree_when_they_say_the_same_in_other_words():
    first, row = read(), read(nama="Sahdan", nik="", kode_kemdagri="52.01.01.2002", kepemilikan_rumah="milik sendiri")
    assert conflicts(first, row) == []
    assert family_fingerprint(first) == family_fingerprint(row)


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("desil_kesejahteraan", "2"),
        ("kode_kemdagri", "52.01.01.1001"),
        ("alamat", "Dusun lain"),
        ("pkh", ""),
        ("nomor_kk", ""),
    ],
)
def test_a_row_that_disagrees_about_the_family_names_the_column(column, other):
    first, row = read(persentil=""), read(**{"persentil": "", column: other})
    assert [(problem.column, problem.code) for problem in conflicts(first, row)] == [(column, "family-conflict")]
    assert family_fingerprint(first) != family_fingerprint(row)


def test_only_family_columns_are_compared():
    person = {column.name: "" for column in COLUMNS if column.belongs is Belongs.PERSON}
    assert conflicts(read(), read(**person)) == []
    assert set(FAMILY_FIELDS) == {column.field for column in COLUMNS if column.belongs is Belongs.FAMILY}


# --- The header ------------------------------------------------------------------------------------------------------


def codes_of(refusal: pytest.ExceptionInfo[UnreadableList]) -> list[tuple[str, str]]:
    return [(problem.column, problem.code) for problem in refusal.value.problems]


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_required_column_is_one_clear_error(missing):
    with pytest.raises(UnreadableList, match=f"required column {missing} is missing") as refusal:
        read_header([name for name in GOOD if name != missing])
    assert codes_of(refusal) == [(missing, "missing-column")]


def test_headings_as_exports_show_them_are_understood():
    headings = {
        "ID Keluarga P3KE": "id_keluarga",
        "Kode Kemdagri": "kode_kemdagri",
        "Desil Kesejahteraan": "desil_kesejahteraan",
        "Kabupaten/Kota": "kabupaten_kota",
        "Penerima BPNT": "bpnt",
        "Resiko Stunting": "resiko_stunting",
        "Memiliki Simpanan Uang/Perhiasan/Ternak/Lainnya": "simpanan",
        "Usia dibawah 7 tahun": "usia_dibawah_7",
        "Usia 7-12": "usia_7_12",
        "Usia 60 tahun keatas": "usia_60_keatas",
    }
    header = read_header(list(headings))
    assert header.columns == tuple(headings.values())
    assert header.warnings == ()


def test_unknown_columns_are_ignored_and_named_once():
    header = read_header([*REQUIRED, "Golongan Darah", "", "5270017107840002", "=cmd|' /C calc'!A0"])
    assert header.columns == (*REQUIRED, "", "", "", "")
    assert [(warning.code, warning.severity) for warning in header.warnings] == [("ignored-column", "warning")] * 3
    assert "golongan_darah" in header.warnings[0].reason
    assert "number 6" in header.warnings[1].reason  # What may be a value is not repeated.


@pytest.mark.parametrize("twin", ["id_keluarga", "ID KELUARGA", "id_p3ke"])
def test_a_column_that_stands_twice_is_refused(twin):
    with pytest.raises(UnreadableList) as refusal:
        read_header([*GOOD, twin])
    assert codes_of(refusal) == [("id_keluarga", "column-twice")]


def test_a_file_without_a_header_is_refused_without_repeating_it():
    with pytest.raises(UnreadableList) as refusal:
        ListReader(sheet(header=list(GOOD.values())))
    assert codes_of(refusal) == [(name, "missing-column") for name in REQUIRED]
    assert not any(value in str(refusal.value) for value in GOOD.values() if len(value) > 3)


# --- Files -----------------------------------------------------------------------------------------------------------


def line(**changed: str) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow((GOOD | changed).values())
    return text.getvalue().encode()


def sheet(*lines: bytes, header: list[str] | None = None) -> io.BytesIO:
    text = io.StringIO()
    csv.writer(text).writerow(header or list(GOOD))
    return io.BytesIO(text.getvalue().encode() + b"".join(lines))


def outcome(file: io.BytesIO) -> list[tuple[int, str]]:
    """Row number and the person's name, or the code of the row's first problem."""
    return [(row, read.name if isinstance(read, PersonRow) else read[0].code) for row, read in ListReader(file)]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_file_is_read_row_by_row(bom, newline):
    body = sheet(line(nama="A"), b"\r\n", b"," * 43 + b"\r\n", line(nama="B")).getvalue()
    assert outcome(io.BytesIO(bom + body.replace(b"\r\n", newline))) == [(2, "A"), (5, "B")]


def test_a_quoted_heading_after_a_bom_is_read():
    quoted = b'\xef\xbb\xbf"id_keluarga",kode_kemdagri,desil_kesejahteraan\nK-1,5201012002,1'
    assert [row for row, read in ListReader(io.BytesIO(quoted)) if isinstance(read, PersonRow)] == [2]


def test_a_value_may_hold_commas_quotes_and_line_breaks():
    reader = ListReader(sheet(line(alamat='Dusun "Lauk",\nRT 1', nama="A"), line(nama="B")))
    (_, first), (row, second) = reader
    assert (first.address, row, second.name) == ('Dusun "Lauk", RT 1', 3, "B")


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (line().replace(b"Kawin", b"Ka\x00win"), "control-character"),
        (line().replace(b"Kawin", "Zoë".encode("latin-1")), "not-utf-8"),
        (line(pekerjaan="x" * (LONGEST_ROW_BYTES + 5)), "row-too-long"),
        (line(pekerjaan="x" * (5 * LONGEST_ROW_BYTES)), "row-too-long"),
        (line().replace(b"Kawin", b'"Kawin'), "open-quotation-mark"),
        (line().replace(b"Kawin", b'"Kawin"x'), "misplaced-quotation-mark"),
        (line().replace(b",Kawin", b",Ka,win"), "wrong-number-of-cells"),
        (line().replace(b",Kawin", b""), "wrong-number-of-cells"),
        (line().replace(b",", b";"), "wrong-number-of-cells"),
        (b"ya\rtidak\r\n", "misplaced-quotation-mark"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_row_costs_itself_and_no_other(broken, problem):
    many = [line(nama=f"Warga {'i' * n}", alamat="Dusun Lauk") for n in range(1, 2 * LONGEST_ROW_LINES)]
    expected = [(row, f"Warga {'i' * (row - 3)}") for row in range(4, 2 * LONGEST_ROW_LINES + 3)]
    assert outcome(sheet(line(nama="A"), broken, *many)) == [(2, "A"), (3, problem), *expected]


def test_a_quotation_mark_left_open_near_the_end_costs_one_row():
    open_quote = line().replace(b"Kawin", b'"Kawin')
    assert outcome(sheet(open_quote, line(nama="A"))) == [(2, "open-quotation-mark"), (3, "A")]
    assert outcome(sheet(line(nama="A"), open_quote)) == [(2, "A"), (3, "misplaced-quotation-mark")]
    with_garbage = outcome(sheet(open_quote, b"\xff\n", line(nama="A")))
    assert with_garbage == [(2, "open-quotation-mark"), (3, "not-utf-8"), (4, "A")]


def test_cells_beyond_the_header_are_harmless_while_they_are_empty():
    assert outcome(sheet(line(nama="A").replace(b"\r\n", b",,,\r\n"))) == [(2, "A")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_refused_with_the_remedy(encoding):
    text = sheet(line()).getvalue().decode()
    with pytest.raises(UnreadableList, match="CSV UTF-8"):
        ListReader(io.BytesIO(text.encode(encoding)))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_refused_with_the_remedy(separator):
    with pytest.raises(UnreadableList, match="commas") as refusal:
        ListReader(io.BytesIO(separator.join(GOOD).encode() + b"\n"))
    assert codes_of(refusal) == [("", "wrong-separator")]


@pytest.mark.parametrize("content", [b"", b"\n", b"PK\x03\x04\x00\x00", b'"', b"x" * 200_000])
def test_what_is_no_list_at_all_is_refused(content):
    with pytest.raises(UnreadableList):
        ListReader(io.BytesIO(content))


def test_reading_goes_on_where_another_reader_stopped():
    lines = [line(nama="A"), b'"\n', line(alamat="x\ny", nama="B"), b"\xff\n", b"\n", line(nama="C"), b'a"b\n', line()]
    file = sheet(*lines)
    whole = list(ListReader(file))
    assert len(whole) == 7
    for stop in range(len(whole) + 1):
        file.seek(0)
        first = ListReader(file)
        rows = iter(first)
        before = [next(rows) for _ in range(stop)]
        file.seek(0)
        second = ListReader(file)
        second.resume(first.row, first.offset)
        assert [*before, *second] == whole


def test_the_offset_ends_at_the_end_of_the_file():
    file = sheet(line(), b'"\n', line(pekerjaan="x" * 200_000), line().rstrip())
    reader = ListReader(file)
    assert [row for row, _ in reader] == [2, 3, 4, 5]
    assert reader.offset == len(file.getvalue())


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.text(alphabet=',"\n\r;x1=\x00é', max_size=60).map(str.encode),
            st.just(line()),
            st.just(line().replace(b"Kawin", b'"')),
        ),
        max_size=30,
    ),
    st.booleans(),
)
@example([b'"' * 61 + b"\n", line()], True)
def test_no_file_stops_the_reader_or_hides_a_whole_row(pieces, ended):
    separator = b"\r\n" if ended else b""
    file = sheet(*(piece + separator for piece in pieces))
    rows = list(ListReader(file))
    assert [row for row, _ in rows] == sorted({row for row, _ in rows})
    if ended:
        # A good row that stands on lines of its own is read unless the quotation marks before it swallow it.
        good = sum(piece == line() for piece in pieces)
        quotes = any(b'"' in piece and piece != line() for piece in pieces)
        found = sum(isinstance(read, PersonRow) and read.name == "Rohani Wati" for _, read in rows)
        assert quotes or found == good


def test_a_large_file_is_read_in_constant_memory():
    class Endless(io.RawIOBase):
        """A header, and then rows without end, of which each tenth has an open quotation mark."""

        def __init__(self, rows: int) -> None:
            self._head = sheet().getvalue()
            self._rows = rows
            self._rest = b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            while len(self._rest) < len(buffer) and self._rows:
                self._rows -= 1
                number = f"KEL-{self._rows}"
                self._rest += self._head + line(id_keluarga=number, nama="Warga" if self._rows % 10 else 'W"')
                self._head = b""
            part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
            buffer[: len(part)] = part
            return len(part)

    def peak(rows: int) -> int:
        tracemalloc.start()
        count = sum(1 for _ in ListReader(io.BufferedReader(Endless(rows))))
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == rows
        return top

    peak(100)
    assert peak(3_000) < peak(300) + 1_000_000


def test_an_area_known_to_the_reference_is_a_village_that_a_row_may_name():
    for village in (areas.villages("52")[0], areas.villages("53.21")[-1]):
        assert read(kode_kemdagri=village.replace(".", "")).village_code == village
