"""Fixtures of the tests that mount the holder with a small file system behind it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.holder_mounts import REPOSITORY, Demo, mounted


@pytest.fixture(scope="session")
def holder_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("this machine has no /dev/fuse that this user may open")
    output = tmp_path_factory.mktemp("holder") / "tierfs-holder"
    subprocess.run([REPOSITORY / "native/holder/build.sh", output], check=True, timeout=240)
    return output


@pytest.fixture
def plain(tmp_path: Path, holder_program: Path) -> Iterator[Demo]:
    """No file is registered: all goes to Python."""
    with mounted(tmp_path, holder_program) as demo:
        yield demo


@pytest.fixture
def hot(tmp_path: Path, holder_program: Path) -> Iterator[Demo]:
    with mounted(tmp_path, holder_program, "hot") as demo:
        yield demo


@pytest.fixture
def passing(hot: Demo) -> Demo:
    """The same, skipped where files are read by the holder instead."""
    (hot.mount / "probe").write_bytes(b"x")
    if hot.status()["passthrough_state"] != 1:
        pytest.skip("passthrough needs root, its kernel and a file system of this directory that is not stacked")
    return hot
