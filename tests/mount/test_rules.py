"""Rules for parts of the tree on a real mount: closes that wait for the bucket, and what may not be changed."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.mounts import Mount, mounted
from tierfs.control.exitcodes import ExitCode

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "export": {
        "quiet_s": 3600,
        "max_dirty_age_s": 86400,
        "rules": [
            {"path": "**/*.tmp", "mode": "ignore"},
            {"path": "safe", "mode": "on-close"},
            {"path": "kept", "mode": "read-only"},
            {"path": "soon", "quiet_s": 0.1},
        ],
    }
}


@pytest.fixture(params=["auto", "pyfuse3"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mount]:
    bucket = tmp_path / "bucket"
    for directory in ("safe", "kept", "soon"):
        (bucket / directory).mkdir(parents=True)
        (bucket / directory / "old").write_bytes(b"old bytes")
    settings = {**SETTINGS, "mount": {"connection": request.param}}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as made:
        yield made


def test_a_close_returns_when_the_bucket_has_the_file(mount: Mount, tmp_path: Path) -> None:
    bucket, safe = tmp_path / "bucket" / "safe", mount.path / "safe"
    (mount.path / "rests").write_bytes(b"x")
    (safe / "new").write_bytes(b"new bytes")
    assert (bucket / "new").read_bytes() == b"new bytes"
    for offset, data in ((0, b"NEW"), (9, b" and more")):  # in place, and at the end
        descriptor = os.open(safe / "new", os.O_WRONLY)
        os.pwrite(descriptor, data, offset)
        os.close(descriptor)
        assert (bucket / "new").read_bytes() == (safe / "new").read_bytes()
    with (safe / "old").open("r+b") as cold:
        cold.seek(4)
        cold.write(b"BYTES")
    assert (bucket / "old").read_bytes() == b"old BYTES"
    with (safe / "new").open("ab") as first, (safe / "new").open("rb") as reader:
        first.write(b"!")
        first.flush()
        os.close(os.dup(reader.fileno()))  # who only reads does not wait, nor has others sent
        assert not (bucket / "new").read_bytes().endswith(b"!")
        os.close(os.dup(first.fileno()))
        assert (bucket / "new").read_bytes().endswith(b"!"), "the close of any descriptor that may write"
    assert not (bucket.parent / "rests").exists(), "nobody else is hurried"
    info = json.loads(mount.tierctl("info", safe / "new", "--json").stdout)
    assert info["export"] == {"mode": "on-close", "quiet_s": 3600.0} and info["synced"]


def test_a_close_fails_where_the_bucket_does_not_take_the_file(mount: Mount, tmp_path: Path) -> None:
    directory, away = tmp_path / "bucket/safe", tmp_path / "away"
    descriptor = os.open(mount.path / "safe/new", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"bytes")
    directory.rename(away)
    directory.write_bytes(b"in its place")
    with pytest.raises(OSError) as caught:
        os.close(descriptor)
    assert caught.value.errno == errno.EINVAL, "as the directory says"
    assert (mount.path / "safe/new").read_bytes() == b"bytes", "it is not lost"
    directory.unlink()
    away.rename(directory)
    mount.tierctl("sync", mount.path / "safe")
    assert (directory / "new").read_bytes() == b"bytes"


def test_what_may_not_be_changed(mount: Mount, tmp_path: Path) -> None:
    kept = mount.path / "kept"
    assert (kept / "old").read_bytes() == b"old bytes"
    for verb in (
        (kept / "new").touch,
        lambda: (kept / "old").write_bytes(b"x"),
        (kept / "old").unlink,
        lambda: (kept / "old").chmod(0o600),
        lambda: (kept / "old").rename(mount.path / "new"),
        lambda: (mount.path / "safe/old").rename(kept / "old"),
        lambda: shutil.rmtree(kept),
        lambda: os.setxattr(kept / "old", "user.a", b"1"),
        lambda: kept.rename(mount.path / "other"),
    ):
        with pytest.raises(OSError) as caught:
            verb()
        assert caught.value.errno == errno.EROFS
    (tmp_path / "bucket/kept/old").write_bytes(b"others may")
    assert os.listdir(kept) == ["old"]


def test_each_part_rests_for_its_own_time(mount: Mount, tmp_path: Path) -> None:
    (mount.path / "rests").write_bytes(b"x")
    (mount.path / "soon/new").write_bytes(b"bytes")
    assert programs.wait_until((tmp_path / "bucket/soon/new").exists, 60)
    assert not (tmp_path / "bucket/rests").exists()


def test_what_is_ignored_stays_here(mount: Mount, tmp_path: Path) -> None:
    bucket, soon = tmp_path / "bucket", mount.path / "soon"
    (bucket / "theirs.tmp").mkdir()
    (bucket / "theirs.tmp/file").write_bytes(b"theirs")
    work = soon / "work.tmp"
    work.mkdir()
    (work / "part").write_bytes(b"local bytes")
    (soon / "f.tmp").write_bytes(b"new bytes")
    mount.wait_synced()
    assert sorted(os.listdir(bucket / "soon")) == ["old"] and "theirs.tmp" not in os.listdir(mount.path)
    assert mount.status()["pending_exports"] == 0
    info = json.loads(mount.tierctl("info", work / "part", "--json").stdout)
    assert info["export"]["mode"] == "ignore" and info["dirty"] and not info["synced"] and info["pending"] is None
    assert "without these changes" in mount.tierctl("info", work / "part").stdout
    with pytest.raises(OSError) as caught:
        work.rename(soon / "work")
    assert caught.value.errno == errno.EXDEV
    shutil.move(work, soon / "work")  # as mv(1) does
    (soon / "f.tmp").rename(soon / "f")
    (soon / "old").rename(soon / "old.tmp")
    mount.wait_synced()
    assert (bucket / "soon/f").read_bytes() == b"new bytes"
    assert (bucket / "soon/work/part").read_bytes() == b"local bytes"
    assert not (bucket / "soon/old").exists() and (soon / "old.tmp").read_bytes() == b"old bytes"
    mount.umount()
    mount.mount()
    assert (soon / "old.tmp").read_bytes() == b"old bytes"
    assert (bucket / "theirs.tmp/file").read_bytes() == b"theirs"


def test_a_rule_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    rules = {"export": {"rules": [{"path": "a"}, {"path": "b", "mode": "ignored"}]}}
    made = Mount(f"file://{tmp_path}/bucket", tmp_path, rules, {})
    done = made.tierfs(*made.mount_command(), check=False)
    assert done.returncode == ExitCode.CONFIG
    assert f"{made.config}:10: [[export.rules]] mode: 'ignored' is not one of" in done.stderr
