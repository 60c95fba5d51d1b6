"""The format of a P3KE-like targeting list: its columns, how a row is read, and how a file is read row by row.

P3KE comes as two files, one row per family and one row per person. The format here is the two joined: a CSV (commas,
UTF-8, a BOM is accepted) with one row per PERSON that also carries the columns of the person's family. Columns are
named as in public exports, in Indonesian snake_case; a heading may also be written "Desil Kesejahteraan".

Nothing that is reported here repeats a value of the file: where columns have slipped, a NIK can stand anywhere.

    reader = ListReader(file)
    for row, read in reader:
        match read:
            case PersonRow(): ...
            case problems: ...
"""

from contracts.p3ke.columns import ALIASES, COLUMNS, FAMILY_FIELDS, HEAD, Belongs, Column, Kind
from contracts.p3ke.files import Header, ListReader, UnreadableList, read_header
from contracts.p3ke.problems import Problem, Severity
from contracts.p3ke.rows import PersonRow, age_band, conflicts, family_fingerprint, parse_row

__all__ = [
    "ALIASES",
    "COLUMNS",
    "FAMILY_FIELDS",
    "HEAD",
    "Belongs",
    "Column",
    "Header",
    "Kind",
    "ListReader",
    "PersonRow",
    "Problem",
    "Severity",
    "UnreadableList",
    "age_band",
    "conflicts",
    "family_fingerprint",
    "parse_row",
    "read_header",
]
