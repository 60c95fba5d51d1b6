"""A list file on its way to staged rows: what is taken, what is reported, and what hostile files cannot do."""

import csv
import hashlib
import io
import tracemalloc
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from contracts.p3ke import HEAD, Severity, UnreadableList
from contracts.registry import AgeBand, HouseholdDetails, PersonDetails, Sex
from services.kit.keys import Tampered
from services.registry.snapshots import reading as reading_module
from services.registry.snapshots.decisions import ListOffered
from services.registry.snapshots.reading import Batch, Reading, ReceivedFile, RowProblem, StagedRow
from services.registry.snapshots.staging import Digests, RowSeal, unpack

PEPPER = bytes(range(32))
OFFERED = ListOffered("P3KE", date(2024, 6, 30), ("52.01",), "list.csv")
DIGESTS = Digests(PEPPER, "P3KE")
SEAL = RowSeal(bytes(32), "s-1")
HEADER = (
    "id_keluarga,kode_kemdagri,desil_kesejahteraan,persentil,alamat,nama,nik,hubungan_kepala_keluarga,tanggal_lahir,"
    "jenis_kelamin,id_individu"
)
VILLAGE = "52.01.01.1001"
NIK = "5270014107800000"


def row(**cells: str) -> str:
    said = {
        "id_keluarga": "K-1",
        "kode_kemdagri": VILLAGE,
        "desil_kesejahteraan": "1",
        "persentil": "2",
        "alamat": "Dusun Karang Anyar",
        "nama": "Inaq Sari",
        "nik": NIK,
        "hubungan_kepala_keluarga": HEAD,
        "tanggal_lahir": "1980-07-01",
        "jenis_kelamin": "Perempuan",
        "id_individu": "K-1-01",
    } | cells
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(said.values())
    return line.getvalue()


def of(*rows: str | bytes, header: str = HEADER, end: bytes = b"\n") -> bytes:
    lines = [header, *rows]
    return b"".join((line.encode() if isinstance(line, str) else line) + end for line in lines)


def chunked(content: bytes, size: int) -> ReceivedFile:
    chunks = iter([content[at : at + size] for at in range(0, len(content), size)])
    return ReceivedFile(lambda: next(chunks, b""))


def read(content: bytes, *, chunk: int = 65_536) -> tuple[list[StagedRow], list[RowProblem], int]:
    reading = Reading(chunked(content, chunk), OFFERED, DIGESTS, SEAL)
    rows: list[StagedRow] = []
    problems: list[RowProblem] = []
    while (batch := reading.next_batch()) is not None:
        rows += batch.rows
        problems += batch.problems
    return rows, problems, reading.rows


def codes(problems: list[RowProblem]) -> list[tuple[int, str, str]]:
    return [(problem.row, problem.column, problem.code) for problem in problems]


# --- Good rows --------------------------------------------------------------------------------------------------------

CHILD = {
    "nama": "Sari",
    "nik": "",
    "hubungan_kepala_keluarga": "Anak",
    "tanggal_lahir": "2015-03-02",
    "id_individu": "K-1-02",
}


def test_a_staged_family_opens_to_what_the_list_said():
    rows, problems, count = read(of(row(), row(**CHILD)))
    assert (problems, count) == ([], 2)
    opened = [(staged.row, SEAL.open(staged.row, staged.sealed or b"")) for staged in rows]
    household = unpack(opened, shares_head=False)
    assert (household.row, household.area_code) == (2, VILLAGE)
    assert (household.welfare_decile, household.welfare_percentile) == (1, 2)
    assert household.details == HouseholdDetails(address="Dusun Karang Anyar", source_family_id="K-1")
    mother, child = household.people
    assert (mother.head, mother.sex, mother.age_band, mother.adult) == (True, Sex.FEMALE, AgeBand.FROM_22, True)
    assert (child.head, child.age_band, child.adult, child.row) == (False, AgeBand.FROM_7, False, 3)
    assert mother.details == PersonDetails(
        name="Inaq Sari",
        national_id=NIK,
        birth_date=date(1980, 7, 1),
        relation_to_head=HEAD,
        source_person_id="K-1-01",
    )
    assert len({household.household_id, mother.person_id, child.person_id}) == 3


def test_nothing_personal_can_be_read_in_a_staged_row():
    rows, _, _ = read(of(row()))
    shown = repr(rows).encode() + (rows[0].sealed or b"")
    for personal in ("K-1", "Inaq Sari", NIK, "Dusun", "1980"):
        assert personal.encode() not in shown


def test_a_staged_row_opens_as_itself_only():
    rows, _, _ = read(of(row()))
    sealed = rows[0].sealed or b""
    with pytest.raises(Tampered):
        SEAL.open(3, sealed)
    with pytest.raises(Tampered):
        RowSeal(bytes(32), "s-2").open(2, sealed)
    with pytest.raises(Tampered):
        SEAL.open(2, sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_only_the_first_row_of_a_family_carries_its_columns():
    rows, _, _ = read(of(row(), row(**CHILD), row(id_keluarga="K-2", nik="", id_individu="x"), row(nik="")))
    assert [staged.family_version is not None for staged in rows] == [True, False, True, True]
    assert rows[0].family == rows[1].family == rows[3].family != rows[2].family
    assert rows[0].family_version == rows[3].family_version != rows[2].family_version


def test_two_rows_are_about_one_person_by_nik_else_by_the_sources_id():
    rows, _, _ = read(of(row(), row(id_individu=""), row(nik=""), row(nik="", id_individu="")))
    by_nik, same_nik, by_id, nobody = (staged.identity for staged in rows)
    assert by_nik == same_nik
    assert by_id not in (None, by_nik)
    assert nobody is None


def test_a_family_id_of_another_source_is_another_family():
    assert DIGESTS.family("K-1") != Digests(PEPPER, "DTSEN").family("K-1") != Digests(bytes(32), "DTSEN").family("K-1")


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_digest_is_of_the_bytes_and_chunks_line_ends_and_a_byte_order_mark_make_no_difference(
    chunk: int, end: bytes, mark: bytes
):
    content = mark + of(row(alamat='Jalan "Raya"\nDusun, Utara'), row(**CHILD, alamat="-"), end=end)
    file = chunked(content, chunk)
    reading = Reading(file, OFFERED, DIGESTS, SEAL)
    batch = reading.next_batch()
    assert batch is not None
    assert [staged.row for staged in batch.rows] == [2, 3]
    assert file.digest == hashlib.sha256(content).hexdigest()


# --- Rows that are reported -------------------------------------------------------------------------------------------


def test_a_bad_row_is_reported_and_the_others_are_taken():
    rows, problems, count = read(
        of(row(), row(nik="123"), row(desil_kesejahteraan="11", id_keluarga="K-3"), row(**CHILD))
    )
    assert [staged.row for staged in rows if staged.sealed is not None] == [2, 5]
    assert len({staged.family for staged in rows}) == 2, "a family is named by a row that cannot be taken too"
    assert count == 4
    assert [(p.row, p.column, p.severity) for p in problems] == [
        (3, "nik", Severity.REJECTION),
        (4, "desil_kesejahteraan", Severity.REJECTION),
    ]
    assert all(problem.reason and problem.remedy for problem in problems)


def test_a_neighbour_that_contradicts_its_family_is_reported_with_the_column():
    rows, problems, _ = read(of(row(), row(**CHILD, persentil="3"), row(**CHILD | {"id_individu": "K-1-03"})))
    assert codes(problems) == [(3, "persentil", "family-conflict")]
    assert [staged.family_version is not None for staged in rows] == [True, True, False]


def test_a_row_that_cannot_even_be_cut_into_cells_names_no_family():
    rows, problems, _ = read(of(row().encode() + b"\xff", row(id_keluarga="?")))
    assert rows == []
    assert codes(problems) == [(2, "", "not-utf-8"), (3, "id_keluarga", "malformed-identifier")]


def test_a_village_outside_the_declared_areas_is_reported_and_its_family_still_counts_as_named():
    rows, problems, _ = read(of(row(kode_kemdagri="52.02.01.1001")))
    assert codes(problems) == [(2, "kode_kemdagri", "outside-areas")]
    assert [(staged.family, staged.sealed) for staged in rows] == [(DIGESTS.family("K-1"), None)]


def test_somebody_without_a_name_is_taken_and_reported():
    rows, problems, _ = read(of(row(nama="")))
    assert codes(problems) == [(2, "nama", "no-name")]
    assert rows[0].sealed is not None


def test_a_warning_does_not_cost_the_row():
    rows, problems, _ = read(of(row(jenis_kelamin="Laki-laki")))
    assert codes(problems) == [(2, "nik", "nik-against-sex")]
    assert rows[0].sealed is not None


def test_columns_that_are_not_of_the_format_are_reported_once():
    rows, problems, _ = read(of(row() + ",x", row(**CHILD) + ",y", header=HEADER + ",hobi"))
    assert codes(problems) == [(1, "", "ignored-column")]
    assert len(rows) == 2


# --- Hostile files ----------------------------------------------------------------------------------------------------


def test_bytes_of_another_encoding_cost_their_row_only():
    latin = row(nama="Inaq S").encode() + "é".encode("cp1252")
    rows, problems, _ = read(of(row(), latin, row(**CHILD)))
    assert codes(problems) == [(3, "", "not-utf-8")]
    assert [staged.row for staged in rows] == [2, 4]


def test_a_nul_character_costs_its_row_only():
    rows, problems, _ = read(of(row(), row(nama="Inaq\0"), row(**CHILD)))
    assert codes(problems) == [(3, "", "control-character")]
    assert len(rows) == 2


def test_a_quotation_mark_that_is_never_closed_costs_few_rows_and_no_memory():
    people = [row(**CHILD | {"id_individu": f"K-1-{n:02}"}) for n in range(2, 60)]
    rows, problems, _ = read(of(row(), 'K-2,"never closed', *people))
    assert problems[0].row == 3
    assert problems[0].code == "open-quotation-mark"
    assert len(rows) == 59


def test_a_formula_is_defused():
    rows, problems, _ = read(of(row(alamat="=HYPERLINK(1)")))
    assert codes(problems) == [(2, "alamat", "formula")]
    assert unpack([(2, SEAL.open(2, rows[0].sealed or b""))], shares_head=False).details.address == "HYPERLINK(1)"


def test_a_field_of_ten_megabytes_costs_its_row_and_little_memory():
    content = of(row(), row(alamat="x" * 10_000_000), row(**CHILD))
    tracemalloc.start()
    rows, problems, _ = read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes(problems) == [(3, "", "row-too-long")]
    assert [staged.row for staged in rows] == [2, 4]
    # The chunks that `chunked` cuts are 10 MB by themselves.
    assert peak < 20_000_000


def test_memory_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading_module, "BATCH", 200)

    def lines(count: int) -> Iterator[bytes]:
        yield of()
        for n in range(count):
            yield (row(id_keluarga=f"K-{n}", nik="", id_individu=f"I-{n}") + "\n").encode()

    def peak_of(count: int) -> int:
        source = lines(count)
        reading = Reading(ReceivedFile(lambda: next(source, b"")), OFFERED, DIGESTS, SEAL)
        tracemalloc.start()
        while reading.next_batch() is not None:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert reading.rows == count
        return peak

    peak_of(100)
    assert peak_of(2_000) < 1.2 * peak_of(400)


def test_a_batch_is_bounded_by_its_problems_too():
    reading = Reading(chunked(of(*[row(nik="123")] * 5_000), 65_536), OFFERED, DIGESTS, SEAL)
    batches: list[Batch] = []
    while (batch := reading.next_batch()) is not None:
        batches.append(batch)
    assert [len(batch.problems) for batch in batches] == [2_000, 2_000, 1_000]


def test_no_problem_repeats_a_value_of_the_file():
    secret = "5270999999999999"
    bad = [
        row(nik=secret + "0"),
        row(kode_kemdagri=secret),
        row(desil_kesejahteraan=secret),
        row(id_keluarga=f"?{secret}"),
        row(jenis_kelamin=secret, tanggal_lahir=secret, nama=secret),
        f"{secret},{secret}",
    ]
    _, problems, _ = read(of(*bad))
    assert {problem.row for problem in problems} == {2, 3, 4, 5, 6, 7}
    assert secret not in repr(problems)


# --- Files that are no lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "missing-column", id="empty"),
        pytest.param(b"\n", "missing-column", id="an empty line"),
        pytest.param(b"%PDF-1.7\n\x00\x01", "missing-column", id="another format"),
        pytest.param(of(header="id_keluarga,nama"), "missing-column", id="missing columns"),
        pytest.param(of(header=HEADER + ",nik"), "column-twice", id="a column twice"),
        pytest.param(of(header=HEADER.replace(",", ";")), "wrong-separator", id="semicolons"),
        pytest.param(of(header=HEADER).decode().encode("utf-16"), "control-character", id="UTF-16"),
        pytest.param(b'"' + b"x" * 200_000, "row-too-long", id="a header without an end"),
    ],
)
def test_a_file_without_a_readable_header_is_no_list(content: bytes, code: str):
    with pytest.raises(UnreadableList) as unreadable:
        Reading(chunked(content, 1 << 16), OFFERED, DIGESTS, SEAL)
    assert code in {problem.code for problem in unreadable.value.problems}


def test_a_header_alone_is_a_list_of_nobody():
    assert read(of()) == ([], [], 0)


def test_what_the_sender_breaks_off_is_an_error_and_no_shorter_list():
    chunks: list[Any] = [of(row())]

    def receive() -> bytes:
        if chunks:
            return bytes(chunks.pop())
        raise ConnectionError("the sender is gone")

    reading = Reading(ReceivedFile(receive), OFFERED, DIGESTS, SEAL)
    with pytest.raises(ConnectionError):
        reading.next_batch()
