"""The world that the fault tests share, made once."""

from collections.abc import Iterator

import pytest

from tests.faults.beginning import a_programme_under_way
from tests.faults.load import Load


@pytest.fixture(scope="package")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """What a test does to the world stays done for those after it."""
    with a_programme_under_way(tmp_path_factory.mktemp("lists")) as load:
        yield load
