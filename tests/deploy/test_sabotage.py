"""The saboteur's table fits the code: each fault can be planted, and the test that must see it exists."""

from pathlib import Path

import pytest

from tests.sabotage import FAULTS, Fault

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted_and_its_test_exists(fault: Fault):
    assert (ROOT / fault.file).read_text().count(fault.sound) == 1, f"{fault.file} has changed: mend the fault's text"
    file, _, name = fault.test.partition("::")
    assert f"def {name}" in (ROOT / file).read_text(), f"{fault.test} does not exist"


def test_there_are_faults_enough():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 15
