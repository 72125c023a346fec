"""A service of their own for hostile tests, since they measure what is left of it."""

from collections.abc import Iterator

import pytest

from tests.conftest import Serve, Server


@pytest.fixture(scope="package")
def besieged(serve: Serve) -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture(scope="package")
def port(besieged: Server) -> int:
    return int(besieged.url.rpartition(":")[2])
