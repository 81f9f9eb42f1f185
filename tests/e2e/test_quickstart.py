"""deploy/quickstart.sh from an empty home: it installs, mounts, runs its job, and does so again without harm."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.mounts import MARK, find_mount
from tests.support.programs import Completed

QUICKSTART = Path(__file__).parents[2] / "deploy/quickstart.sh"


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Everything that it makes goes below `tmp_path`; its daemon is ended and its mount taken away in the end."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("this machine has no /dev/fuse that this user may open")
    mark = uuid.uuid4().hex
    # pip's cache is the user's own: the point here is not to load the packages a second time
    cache = programs.run(["sh", "-c", 'echo "${PIP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pip}"']).stdout.strip()
    yield {
        "HOME": str(tmp_path / "home"),
        "PIP_CACHE_DIR": cache,
        "TIERFS_PREFIX": str(tmp_path / "prefix"),
        "TIERFS_BIN_DIR": str(tmp_path / "bin"),
        "TIERFS_SBIN_DIR": str(tmp_path / "sbin"),
        "TIERFS_UNIT_DIR": str(tmp_path / "units"),
        "TIERFS_DEMO_DIR": str(tmp_path / "demo"),
        MARK: mark,
    }
    programs.end(programs.with_environment(MARK, mark))
    with contextlib.suppress(programs.ProgramError):
        if find_mount(tmp_path / "demo/mnt"):
            programs.run(["umount", "-l", tmp_path / "demo/mnt"])


def quickstart(env: dict[str, str]) -> Completed:
    return programs.run([QUICKSTART], env=env, timeout_s=280)


@pytest.mark.timeout(600)
def test_twice_from_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "home").mkdir()
    mount, bucket = tmp_path / "demo/mnt", tmp_path / "demo/bucket"
    first = quickstart(env)
    assert first.stdout.splitlines()[-1].startswith("==> quickstart: OK")
    assert find_mount(mount)
    archive = (bucket / "first-job/project.tar.gz").read_bytes()
    assert archive == (mount / "first-job/project.tar.gz").read_bytes()
    assert (tmp_path / "share/man/man1/tierctl.1").exists()
    if os.geteuid() == 0:
        assert f"ExecStart={tmp_path}/bin/tierfs mount" in (tmp_path / "units/tierfs@.service").read_text()
        fake = programs.run([tmp_path / "sbin/mount.tierfs", "s3://bucket", "/mnt", "-f"])
        assert fake.returncode == 0
    (mount / "mine").write_bytes(b"stays over a second run")
    second = quickstart(env)
    assert "is installed in" in second.stdout
    assert "is mounted already" in second.stdout
    assert second.stdout.splitlines()[-1].startswith("==> quickstart: OK")
    assert (mount / "mine").read_bytes() == b"stays over a second run"
    programs.run([tmp_path / "bin/tierfs", "umount", mount], env=env)
    assert find_mount(mount) is None
    assert (bucket / "mine").read_bytes() == b"stays over a second run"
    third = quickstart(env)
    assert (mount / "mine").read_bytes() == b"stays over a second run"
    assert third.stdout.splitlines()[-1].startswith("==> quickstart: OK")
    programs.run([tmp_path / "bin/tierfs", "umount", mount], env=env)
