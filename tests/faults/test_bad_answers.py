"""What a server answers wrongly, late, or not at all: never wrong bytes, never a second copy, and the right errno."""

import errno
import json
import os
import random
import threading
from collections.abc import Callable

import pytest

from tests.faults.conftest import MIB, PART_BYTES, Rig
from tests.support import programs
from tests.support.mounts import Mount
from tests.support.s3double import Fault

Errors = Callable[[Mount, str], list[str]]
DENIED = Fault(status=403, code="AccessDenied")
LOST_ANSWER = Fault(drop=True, applied=True)
SMALL = random.Random(1).randbytes(300_000)
LARGE = random.Random(2).randbytes(3 * PART_BYTES + 12_345)


def test_denied_key_is_eacces_and_the_rest_works(rig: Rig, errors_of: Errors) -> None:
    for key in ("open", "closed", "large"):
        rig.put(key, LARGE if key == "large" else SMALL)
    rig.double.fail_next("GetObject", "closed", DENIED, times=0)
    rig.double.fail_next("GetObject", "large", DENIED, times=0)
    with rig.mounted() as mount:
        assert sorted(os.listdir(mount.path)) == ["closed", "large", "open"]
        with pytest.raises(PermissionError):
            (mount.path / "closed").read_bytes()
        assert len(errors_of(mount, "closed")) == 1, mount.log()
        with pytest.raises(PermissionError):
            (mount.path / "large").read_bytes()
        assert (mount.path / "open").read_bytes() == SMALL
        assert mount.status()["degraded"] is None
        rig.double.clear_faults()
        assert (mount.path / "closed").read_bytes() == SMALL
        assert (mount.path / "large").read_bytes() == LARGE


def test_denied_export_is_shown_and_others_go_up(rig: Rig) -> None:
    rig.double.fail_next("PutObject", "d/denied", DENIED, times=0)
    with rig.mounted() as mount:
        (mount.path / "d").mkdir()
        for name in ("before", "denied", "later"):
            (mount.path / "d" / name).write_bytes(name.encode())
        assert programs.wait_until(lambda: {"d/before", "d/later"} <= set(rig.object_keys()), 20)
        assert programs.wait_until(lambda: bool(mount.status()["failing_exports"]), 20)
        (failing,) = mount.status()["failing_exports"]
        assert "d/denied" in failing["path"]
        assert "denied" in failing["error"]
        shown = mount.tierctl("status", mount.path).stdout
        assert "failing" in shown
        assert "d/denied" in shown
        refused = mount.tierctl("sync", mount.path, check=False)
        assert refused.returncode != 0
        assert "d/denied" in refused.stderr
        assert (mount.path / "d/denied").read_bytes() == b"denied"
        rig.double.clear_faults()
        mount.tierctl("sync", mount.path)
        assert rig.body("d/denied") == b"denied"
        assert mount.status()["failing_exports"] == []


@pytest.mark.parametrize("key", ["small", "large"])
def test_truncated_body_is_fetched_again(rig: Rig, key: str) -> None:
    body = {"small": SMALL, "large": LARGE}[key]
    rig.put(key, body)
    rig.double.fail_next("GetObject", key, Fault(truncate_body=True))
    with rig.mounted() as mount:
        assert (mount.path / key).read_bytes() == body
        assert rig.double.count("GetObject", key) >= 2


def test_corrupt_body_is_fetched_again(rig: Rig) -> None:
    with rig.mounted(directory=rig.directory / "writer") as writer:
        # what tierfs wrote in one piece carries a checksum of the whole, by which a wrong byte is told
        (writer.path / "f").write_bytes(SMALL)
        writer.wait_synced()
    rig.double.fail_next("GetObject", "f", Fault(corrupt_body=True))
    with rig.mounted(directory=rig.directory / "reader") as reader:
        assert (reader.path / "f").read_bytes() == SMALL
        assert rig.double.count("GetObject", "f") >= 2


def test_body_that_stays_corrupt_is_eio(rig: Rig, errors_of: Errors) -> None:
    with rig.mounted(directory=rig.directory / "writer") as writer:
        (writer.path / "f").write_bytes(SMALL)
        writer.wait_synced()
    rig.double.fail_next("GetObject", "f", Fault(corrupt_body=True), times=0)
    with rig.mounted(directory=rig.directory / "reader") as reader:
        with pytest.raises(OSError) as caught:
            (reader.path / "f").read_bytes()
        assert caught.value.errno == errno.EIO
        assert len(errors_of(reader, "'f'")) == 1, reader.log()
        rig.double.clear_faults()
        assert (reader.path / "f").read_bytes() == SMALL


def test_a_dirty_file_whose_bytes_are_lost_is_eio_with_one_line(rig: Rig, errors_of: Errors) -> None:
    with rig.mounted(export={"quiet_s": 3600}) as mount:
        (mount.path / "d").mkdir()
        (mount.path / "d/f").write_bytes(SMALL)
        mount.umount(drain=False)
        (lost,) = (path for path in (mount.cache / "hot").rglob("*") if path.is_file() and path.stat().st_size)
        lost.unlink()
        mount.mount()
        for _ in range(2):
            with pytest.raises(OSError) as caught:
                (mount.path / "d/f").read_bytes()
            assert caught.value.errno == errno.EIO
        told = [line for line in errors_of(mount, "/d/f") if "failed with EIO" in line]
        assert len(told) == 1, mount.log()
        assert "open /d/f failed with EIO: the backing file of " in told[0]
        assert "its changes are lost. Write the file anew or remove it." in told[0]
        (mount.path / "d/f").unlink()


def test_body_that_stays_truncated_is_eio(rig: Rig) -> None:
    rig.put("large", LARGE)
    rig.double.fail_next("GetObject", "large", Fault(truncate_body=True), times=0)
    with rig.mounted() as mount:
        with pytest.raises(OSError) as caught:
            (mount.path / "large").read_bytes()
        assert caught.value.errno == errno.EIO
        rig.double.clear_faults()
        assert (mount.path / "large").read_bytes() == LARGE


def test_object_that_is_replaced_during_a_read_is_never_mixed(rig: Rig) -> None:
    old, new = b"o" * (4 * PART_BYTES), b"n" * (4 * PART_BYTES)
    rig.put("large", old)
    with rig.mounted(content={"readahead_max_bytes": 0}) as mount:
        with (mount.path / "large").open("rb", buffering=0) as file:
            assert file.read(MIB) == old[:MIB]
            rig.put("large", new)
            seen = set()
            with pytest.raises(OSError) as caught:
                while data := file.read(MIB):
                    seen |= set(data)
            assert caught.value.errno == errno.ESTALE
            assert seen <= set(b"o")
        # the next open has the new version, whole
        assert programs.wait_until(lambda: read_or_stale(mount, "large") == new, 20)


def read_or_stale(mount: Mount, name: str) -> bytes:
    try:
        return (mount.path / name).read_bytes()
    except OSError as error:
        assert error.errno == errno.ESTALE
        return b""


def test_object_that_is_replaced_while_it_is_opened_whole(rig: Rig) -> None:
    rig.put("small", b"old" * 1000)
    with rig.mounted() as mount:
        assert (mount.path / "small").stat().st_size == 3000
        rig.put("small", b"newer" * 1000)
        assert programs.wait_until(lambda: read_or_stale(mount, "small") == b"newer" * 1000, 20)


@pytest.mark.parametrize("op", ["PutObject", "CompleteMultipartUpload"])
def test_lost_answer_of_a_write_is_no_conflict(rig: Rig, op: str) -> None:
    body = SMALL if op == "PutObject" else LARGE
    rig.double.fail_next(op, "f", LOST_ANSWER)
    with rig.mounted() as mount:
        (mount.path / "f").write_bytes(body)
        mount.wait_synced()
        assert rig.object_keys() == ["f"]
        assert rig.body("f") == body
        # over its own version, too
        rig.double.fail_next(op, "f", LOST_ANSWER)
        (mount.path / "f").write_bytes(body[::-1])
        mount.wait_synced()
        assert rig.body("f") == body[::-1]
        assert rig.object_keys() == os.listdir(mount.path) == ["f"]
        assert not mount.status()["conflicts"]


@pytest.mark.parametrize("op", ["CopyObject", "DeleteObject*"])
def test_lost_answer_of_a_rename(rig: Rig, op: str) -> None:
    with rig.mounted() as mount:
        (mount.path / "a").write_bytes(SMALL)
        mount.wait_synced()
        rig.double.fail_next(op, "*", LOST_ANSWER)
        (mount.path / "a").rename(mount.path / "b")
        mount.wait_synced()
        assert rig.object_keys() == os.listdir(mount.path) == ["b"]
        assert rig.body("b") == SMALL
        assert not mount.status()["conflicts"]


def test_lost_answer_and_a_daemon_that_died_on_it(rig: Rig) -> None:
    landed = threading.Event()
    with rig.mounted(store={"read_timeout_s": 30}) as mount:
        rig.double.fail_next("PutObject", "f", Fault(hold=landed, applied=True, drop=True))
        (mount.path / "f").write_bytes(SMALL)
        rig.double.wait_for("PutObject", "f")
        mount.kill9()
        landed.set()
        assert programs.wait_until(lambda: rig.object_keys() == ["f"], 20)
        mount.remount()
        mount.wait_synced()
        assert rig.object_keys() == os.listdir(mount.path) == ["f"]
        assert (mount.path / "f").read_bytes() == rig.body("f") == SMALL
        assert not mount.status()["conflicts"]


def test_burst_of_throttling(rig: Rig) -> None:
    names = [f"f{number:02}" for number in range(20)]
    for name in names:
        rig.put(f"cold/{name}", name.encode())
    throttled = Fault(status=503, code="SlowDown")
    with rig.mounted(store={"retry_budget_s": 60}) as mount:
        rig.double.fail_next("*Object*", "*", throttled, times=12)
        for name in names:
            (mount.path / name).write_bytes(name.encode())
        for name in names:
            assert (mount.path / "cold" / name).read_bytes() == name.encode()
        mount.wait_synced()
        assert mount.status()["degraded"] is None
        assert {name: rig.body(name) for name in names} == {name: name.encode() for name in names}
        assert json.dumps(mount.status()["conflicts"]) in ("0", "[]")
