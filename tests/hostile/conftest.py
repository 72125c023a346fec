"""A service of their own for hostile tests, since they measure what is left of it."""

from collections.abc import Iterator

import pytest

from tests.conftest import Serve, Server, free_port


@pytest.fixture(scope="package")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="package")
def besieged(serve: Serve, grpc_port: int) -> Iterator[Server]:
    with serve(EKIBEN_GRPC_PORT=str(grpc_port)) as server:
        yield server


@pytest.fixture(scope="package")
def port(besieged: Server) -> int:
    return int(besieged.url.rpartition(":")[2])
