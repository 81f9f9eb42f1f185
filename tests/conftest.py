"""Fixtures that every kind of test may use. A server is started once a session, on first use."""

from collections.abc import Iterator

import pytest

from tests.support.moto_server import MotoServer
from tests.support.weed import WeedServer


@pytest.fixture(scope="session")
def weed() -> Iterator[WeedServer]:
    """The real S3 server, with its credentials in this process's environment.

    The environment is set for the session: the programs that tests start (daemons, other S3
    clients) find the server through it, as they would on a user's machine.
    """
    with WeedServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def weed_bucket(weed: WeedServer) -> str:
    """The name of a fresh, empty bucket of that server."""
    return weed.create_bucket()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    """Buckets and queues that know each other."""
    with MotoServer() as server:
        yield server
