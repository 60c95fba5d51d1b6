"""The README's program runs as it stands, and what the README names is there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "contracts" / "README.md").read_text(encoding="utf-8")


def test_the_program_in_the_readme_runs():
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "597 018fdbd3-2900-7654-8944-7608868d4fdb 27\n"


def test_every_file_and_folder_in_the_table_is_there():
    named = [name for row in re.findall(r"^\| (`.*?) \|", README, flags=re.MULTILINE) for name in row.split()]
    assert len(named) > 8
    for name in named:
        assert (ROOT / "contracts" / name.strip("`")).exists(), name
