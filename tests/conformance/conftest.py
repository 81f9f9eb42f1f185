"""The object stores that the suites of this directory run over."""

from pathlib import Path

import pytest

from tests.support.backends import Backend, directory_backend

BACKENDS = ["directory", "directory-without-xattrs"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return directory_backend(tmp_path, use_xattrs=request.param == "directory")
