"""Files changed on both sides of a real mount, and what `tierctl conflicts` makes of them: the bucket follows.

The kernel keeps names and attributes as long as it may by default, so what is resolved has to reach its caches.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.mount.posix.tools import attempt
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.programs import Completed

SETTINGS: Mapping[str, Mapping[str, Any]] = {"import": {"revalidate_s": 0}, "export": {"quiet_s": 0.2}}


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    place = tmp_path / "bucket"
    place.mkdir()
    return place


@contextlib.contextmanager
def mount_of(bucket: Path, directory: Path, **sections: Mapping[str, Any]) -> Iterator[Mount]:
    with mounted(f"file://{bucket}", directory, settings={**SETTINGS, **sections}) as mount:
        yield mount


def becomes(look: Any, expected: object) -> bool:
    return programs.wait_until(lambda: attempt(look) == expected, 20)


def put(bucket: Path, name: str, body: bytes) -> None:
    """As a client of the bucket that knows nothing of tierfs."""
    temporary = bucket.parent / "put"
    temporary.write_bytes(body)
    temporary.rename(bucket / name)


def change_both(mount: Mount, bucket: Path, name: str, mine: bytes, theirs: bytes) -> None:
    """Returns when the mount has found out; the file was there before."""
    (mount.path / name).write_bytes(b"common\n")
    mount.wait_synced()
    # open, so that the export does not begin before the other side has changed it
    with (mount.path / name).open("r+b", buffering=0) as file:
        file.write(mine)
        file.truncate(len(mine))
        put(bucket, name, theirs)
    mount.wait_synced()


def listed(mount: Mount, *arguments: str) -> list[dict[str, Any]]:
    answer = json.loads(mount.tierctl("conflicts", "list", mount.path, "--json", *arguments).stdout)
    found: list[dict[str, Any]] = answer["conflicts"]
    return found


def conflicts(mount: Mount, verb: str, *words: str, check: bool = True) -> Completed:
    """`diff` or `resolve` of one mount among those of the machine."""
    return mount.tierctl("conflicts", verb, *words, "--mount", mount.path, check=check)


def bodies(bucket: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bucket.iterdir() if path.is_file()}


@pytest.mark.parametrize(("keep", "expected"), [("local", b"mine\n"), ("bucket", b"theirs\n")])
def test_a_conflict_is_seen_compared_and_resolved(bucket: Path, tmp_path: Path, keep: str, expected: bytes) -> None:
    with mount_of(bucket, tmp_path) as mount:
        change_both(mount, bucket, "f", b"mine\n", b"theirs\n")
        (found,) = listed(mount)
        assert (found["winner"], found["state"]) == ("f", "open")
        copy = found["loser"]
        assert bodies(bucket) == {"f": b"theirs\n", copy: b"mine\n"}
        assert (mount.path / "f").read_bytes() == b"theirs\n"  # and the kernel keeps the name
        assert (mount.path / copy).read_bytes() == b"mine\n"

        shown = conflicts(mount, "diff", str(found["id"])).stdout
        assert shown.endswith(f"--- f\n+++ {copy}\n@@ -1 +1 @@\n-theirs\n+mine\n")
        command = ("resolve", str(found["id"]), "--keep", keep)
        conflicts(mount, *command, "--dry-run")
        assert sorted(os.listdir(mount.path)) == ["f", copy]

        conflicts(mount, *command)
        assert os.listdir(mount.path) == ["f"]
        assert (mount.path / "f").read_bytes() == expected
        assert attempt(os.stat, mount.path / copy) == "ENOENT"
        mount.wait_synced()
        assert bodies(bucket) == {"f": expected}
        assert listed(mount) == [] and mount.status()["conflicts"] == 0
        assert conflicts(mount, *command, check=False).returncode == 6


def test_a_copy_that_is_removed_by_hand_is_no_conflict_any_more(bucket: Path, tmp_path: Path) -> None:
    with mount_of(bucket, tmp_path) as mount:
        change_both(mount, bucket, "f", b"mine\n", b"theirs\n")
        change_both(mount, bucket, "g", b"\0mine", b"\0their")
        assert mount.status()["conflicts"] == 2
        first, second = listed(mount)
        assert "binary differs at offset 1" in conflicts(mount, "diff", str(second["id"])).stdout
        (mount.path / first["loser"]).unlink()
        (mount.path / second["loser"]).rename(mount.path / "merged")
        assert mount.status()["conflicts"] == 0
        assert [found["state"] for found in listed(mount)] == ["gone", "gone"]
        both = [str(first["id"]), str(second["id"])]
        conflicts(mount, "resolve", *both, "--keep", "bucket")
        assert listed(mount) == []
        mount.wait_synced()
        assert bodies(bucket) == {"f": b"theirs\n", "g": b"\0their", "merged": b"\0mine"}


def test_two_mounts_change_one_file(bucket: Path, tmp_path: Path) -> None:
    fresh = {"attr_timeout_s": 0, "entry_timeout_s": 0, "negative_timeout_s": 0}
    with mount_of(bucket, tmp_path / "a", mount=fresh) as one, mount_of(bucket, tmp_path / "b", mount=fresh) as other:
        (one.path / "f").write_bytes(b"common")
        one.wait_synced()
        assert becomes((other.path / "f").read_bytes, b"common")
        with (other.path / "f").open("r+b", buffering=0) as file:
            file.write(b"second")
            (one.path / "f").write_bytes(b"first!")
            one.wait_synced()
        other.wait_synced()
        assert listed(one) == []  # whoever comes first has no conflict
        (found,) = listed(other)
        for mount in (one, other):
            assert becomes((mount.path / "f").read_bytes, b"first!")
            assert becomes((mount.path / found["loser"]).read_bytes, b"second")
        conflicts(other, "resolve", str(found["id"]), "--keep", "local")
        other.wait_synced()
        assert becomes((one.path / "f").read_bytes, b"second")
        assert becomes(lambda: os.listdir(one.path), ["f"])


@pytest.mark.parametrize(("policy", "expected"), [("bucket-wins", b"theirs"), ("local-wins", b"mine")])
def test_a_policy_decides_and_says_so_in_the_log(bucket: Path, tmp_path: Path, policy: str, expected: bytes) -> None:
    with mount_of(bucket, tmp_path, conflicts={"policy": policy}) as mount:
        change_both(mount, bucket, "f", b"mine", b"theirs")
        assert becomes((mount.path / "f").read_bytes, expected)
        assert bodies(bucket) == {"f": expected}
        assert os.listdir(mount.path) == ["f"]
        assert mount.status()["conflicts"] == 0 and listed(mount) == []
        assert f"policy {policy}" in mount.log()


def test_conflicts_outlive_a_crash(bucket: Path, tmp_path: Path) -> None:
    with mount_of(bucket, tmp_path, mount={"restart": False}) as mount:
        change_both(mount, bucket, "f", b"mine", b"theirs")
        before = listed(mount)
        mount.kill9()
        mount.remount()
        assert listed(mount) == before
        conflicts(mount, "resolve", str(before[0]["id"]), "--keep", "local")
        mount.wait_synced()
        assert bodies(bucket) == {"f": b"mine"}
