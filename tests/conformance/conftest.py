"""The object stores that the suites of this directory run over."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from attrs import evolve

from tests.support.backends import Backend, Keys, directory_backend, s3_backend
from tests.support.s3double import S3Double
from tests.support.weed import WeedServer
from tierfs.objectstore.base import Capabilities
from tierfs.objectstore.probe import probe
from tierfs.objectstore.retrying import RetryingStore
from tierfs.objectstore.s3 import S3Store
from tierfs.objectstore.settings import RetrySettings, S3Settings

BACKENDS = ["directory", "directory-without-xattrs", "directory-retrying", "s3-double", "s3-weed"]


@pytest.fixture(scope="session")
def double_server() -> Iterator[S3Double]:
    with S3Double() as server:
        yield server


@pytest.fixture(scope="session")
def probed_weed(weed: WeedServer) -> tuple[S3Settings, Capabilities]:
    """One bucket of the real server for the session, and what the probe saw there, as at a mount."""
    settings = S3Settings(bucket=weed.create_bucket(), endpoint_url=weed.endpoint_url, region="us-east-1")

    async def ask() -> Capabilities:
        store = S3Store(settings)
        try:
            return await probe(store, "conformance")
        finally:
            await store.aclose()

    with pytest.MonkeyPatch.context() as patch:
        for name, value in weed.environment.items():
            patch.setenv(name, value)
        return settings, trio.run(ask)


@pytest.fixture
def double(double_server: S3Double, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Double]:
    """The strict S3 double without faults and without recorded requests, and its credentials."""
    for name, value in double_server.environment.items():
        monkeypatch.setenv(name, value)
    double_server.forget_requests()
    yield double_server
    double_server.clear_faults()


@pytest.fixture
def double_backend(double: S3Double) -> Backend:
    bucket = double.create_bucket()
    settings = S3Settings(bucket=bucket, endpoint_url=double.endpoint_url, region="us-east-1")
    return evolve(s3_backend("s3-double", settings), double=double, bucket=bucket)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Every object store in turn; a server is only started when its turn comes."""
    match request.param:
        case "s3-double":
            backend = request.getfixturevalue("double_backend")
            assert isinstance(backend, Backend)
            return backend
        case "s3-weed":
            settings, capabilities = request.getfixturevalue("probed_weed")
            weed = request.getfixturevalue("weed")
            monkeypatch = request.getfixturevalue("monkeypatch")
            for name, value in weed.environment.items():
                monkeypatch.setenv(name, value)
            return evolve(
                s3_backend("s3-weed", settings, capabilities),
                keys=Keys.FOLDED,
                is_ordered=False,
                forgets_prefixes=False,
                limits_metadata=False,
                limits_parts=False,
            )
        case "directory-retrying":
            backend = directory_backend(tmp_path)
            return evolve(backend, open=lambda: RetryingStore(backend.open(), RetrySettings()))
        case name:
            return directory_backend(tmp_path, use_xattrs=name == "directory")
