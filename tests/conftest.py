"""Fixtures that every kind of test may use. A server is started once a session, on first use.

A test with the marker `long` takes minutes or hours: it runs only with `--long`, which also plays the long variants of
the others. What such a test did is a line at the end of `./tests/run.sh --long`, by the fixture `summarize`.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.moto_server import MotoServer
from tests.support.weed import WeedServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take minutes or hours, too")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        os.environ["TIERFS_TEST_LONG"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def summarize(record_property: Callable[[str, object], None]) -> Callable[[int, int, int], None]:
    """To be called once with (cases, faults injected, failures): tests/support/tally.py prints them."""

    def tell(cases: int, faults: int, failures: int) -> None:
        record_property("summary", f"{cases} cases, {faults} faults injected, {failures} failures")

    return tell


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
