"""The server goes away under a mount: what is here goes on, what is not fails in time, and all comes back by itself."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import MIB, RETRY_BUDGET_S, Rig
from tests.support import programs
from tests.support.mounts import Mount
from tests.support.s3double import Fault
from tests.support.tap import Tap

Errors = Callable[[Mount, str], list[str]]
# a loaded machine, one answer that does not come, and the pauses between the attempts
SLACK_S = 8.0
END_WITHIN_S = 20.0


def assert_works_on(mount: Mount) -> None:
    """Everything that asks no server, on a mount that has the hot file `hot`."""
    began_s = time.monotonic()
    assert (mount.path / "hot").read_bytes() == b"hot bytes"
    with (mount.path / "hot").open("r+b") as file:
        file.write(b"HOT")
        os.fsync(file.fileno())
    (mount.path / "new").write_bytes(b"new bytes")
    (mount.path / "new").rename(mount.path / "renamed")
    (mount.path / "directory").mkdir()
    (mount.path / "directory/inner").write_bytes(b"inner bytes")
    (mount.path / "gone").unlink()
    assert (mount.path / "hot").read_bytes() == b"HOT bytes"
    assert (mount.path / "renamed").read_bytes() == b"new bytes"
    assert time.monotonic() - began_s < RETRY_BUDGET_S + SLACK_S


def assert_all_arrived(rig: Rig) -> None:
    assert rig.body("hot") == b"HOT bytes"
    assert rig.body("renamed") == b"new bytes"
    assert rig.body("directory/inner") == b"inner bytes"
    assert not {"new", "gone"} & set(rig.object_keys())
    assert not [key for key in rig.object_keys() if "conflict" in key]


def put_three(rig: Rig) -> None:
    for key, body in (("hot", b"hot bytes"), ("cold", b"cold bytes"), ("gone", b"x")):
        rig.put(key, body)


def warm_up(mount: Mount) -> None:
    assert sorted(os.listdir(mount.path)) == ["cold", "gone", "hot"]
    assert (mount.path / "cold").stat().st_size == 10
    assert (mount.path / "gone").stat().st_size == 1
    assert (mount.path / "hot").read_bytes() == b"hot bytes"


def test_hot_files_go_on_and_all_drains_when_it_is_back(rig: Rig) -> None:
    put_three(rig)
    with rig.mounted() as mount:
        warm_up(mount)
        rig.double.stop()
        assert_works_on(mount)
        assert programs.wait_until(lambda: mount.status()["degraded"] is not None, 30)
        status = mount.status()
        assert status["degraded"]["since_s"] >= 0
        assert status["degraded"]["reason"]
        assert status["pending_exports"] >= 4
        assert "degraded" in mount.tierctl("status", mount.path).stdout
        rig.double.start()
        mount.wait_synced()
        assert mount.status()["degraded"] is None
        assert_all_arrived(rig)
        assert (mount.path / "cold").read_bytes() == b"cold bytes"


def test_cold_read_waits_for_the_retry_budget_and_fails_with_one_line(rig: Rig, errors_of: Errors) -> None:
    put_three(rig)
    with rig.mounted() as mount:
        warm_up(mount)
        rig.double.stop()
        began_s = time.monotonic()
        with pytest.raises(OSError) as caught:
            (mount.path / "cold").read_bytes()
        waited_s = time.monotonic() - began_s
        assert caught.value.errno == errno.EIO
        assert RETRY_BUDGET_S / 3 < waited_s < RETRY_BUDGET_S + SLACK_S
        assert len(errors_of(mount, "cold")) == 1, mount.log()
        assert mount.status()["degraded"]["reason"], "nothing is exported: the read alone has seen it"
        rig.double.start()
        assert (mount.path / "cold").read_bytes() == b"cold bytes"
        assert mount.status()["degraded"] is None


def test_a_file_that_fails_again_and_again_is_one_line(rig: Rig, errors_of: Errors) -> None:
    rig.put("cold", bytes(3 * MIB))
    with rig.mounted() as mount:
        assert (mount.path / "cold").stat().st_size == 3 * MIB
        with (mount.path / "cold").open("rb", buffering=0) as file:
            rig.double.stop()
            # a read that the holder parks: the file is open, and more than an open brings at once
            for _ in range(3):
                with pytest.raises(OSError) as caught:
                    os.pread(file.fileno(), 4096, MIB)
                assert caught.value.errno == errno.EIO
        (line,) = errors_of(mount, "cold")
        assert "read /cold failed with EIO: " in line
        assert "(key 'cold')" in line
        assert "It works again when the server answers" in line
        rig.double.start()
        assert (mount.path / "cold").read_bytes() == bytes(3 * MIB)


def test_cold_read_outlasts_a_short_absence(rig: Rig, errors_of: Errors) -> None:
    put_three(rig)
    with rig.mounted(store={"retry_budget_s": 60}) as mount:
        warm_up(mount)
        rig.double.fail_next("GetObject", "cold", Fault(drop=True), times=2)
        rig.double.fail_next("GetObject", "cold", Fault(status=500, code="InternalError"), times=1)
        assert (mount.path / "cold").read_bytes() == b"cold bytes"
        assert not errors_of(mount, "cold")


def test_names_that_are_known_do_not_wait_for_a_server_that_is_away(rig: Rig) -> None:
    put_three(rig)
    # the listing is too old at every use, and a request would be repeated for minutes
    with rig.mounted(**{"import": {"revalidate_s": 0}, "store": {"retry_budget_s": 300}}) as mount:
        warm_up(mount)
        rig.double.stop()
        assert_works_on(mount)
        rig.double.start()
        mount.wait_synced()
        assert_all_arrived(rig)


@pytest.fixture
def tap(rig: Rig) -> Iterator[Tap]:
    with Tap(rig.double.endpoint_url) as tap:
        yield tap


def test_server_that_hangs(rig: Rig, tap: Tap, errors_of: Errors) -> None:
    put_three(rig)
    with rig.mounted(store={"endpoint_url": tap.url}) as mount:
        warm_up(mount)
        tap.pause()
        assert_works_on(mount)
        with pytest.raises(OSError) as caught:
            (mount.path / "cold").read_bytes()
        assert caught.value.errno == errno.EIO
        assert len(errors_of(mount, "cold")) == 1, mount.log()
        assert programs.wait_until(lambda: mount.status()["degraded"] is not None, 30)
        # what was held back arrives late, beside its repetitions
        tap.resume()
        mount.wait_synced()
        assert_all_arrived(rig)
        assert (mount.path / "cold").read_bytes() == b"cold bytes"


def test_daemon_ends_while_the_server_is_away_and_nothing_is_lost(rig: Rig) -> None:
    put_three(rig)
    with rig.mounted() as mount:
        warm_up(mount)
        rig.double.stop()
        assert_works_on(mount)
        mount.kill9()
        rig.double.start()
        mount.remount()
        mount.wait_synced()
        assert_all_arrived(rig)


def test_unmount_without_draining_does_not_wait_for_the_server(rig: Rig) -> None:
    put_three(rig)
    with rig.mounted(store={"retry_budget_s": 300}) as mount:
        warm_up(mount)
        rig.double.stop()
        assert_works_on(mount)
        began_s = time.monotonic()
        mount.umount(drain=False, timeout_s=30)
        assert time.monotonic() - began_s < SLACK_S
        rig.double.start()
        mount.mount()
        mount.wait_synced()
        assert_all_arrived(rig)


@pytest.mark.parametrize("connection", ["auto", "pyfuse3"])
def test_a_reader_that_waits_for_the_server_does_not_hold_up_the_end(rig: Rig, connection: str) -> None:
    put_three(rig)
    with rig.mounted(store={"retry_budget_s": 300}, mount={"connection": connection}) as mount:
        warm_up(mount)
        rig.double.stop()
        (mount.path / "new").write_bytes(b"not in the bucket yet")
        before = sum(mount.status()["requests"].values())
        reader = subprocess.Popen(["cat", mount.path / "cold"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert programs.wait_until(lambda: sum(mount.status()["requests"].values()) > before, 30)
            os.kill(mount.pid, signal.SIGTERM)
            assert programs.wait_until(lambda: reader.poll() is not None, END_WITHIN_S), (
                "the reader is told that it is over"
            )
            os.kill(mount.pid, signal.SIGTERM)  # do not wait for the upload
            assert programs.wait_until(lambda: not mount.daemons(), END_WITHIN_S)
        finally:
            reader.kill()
            reader.wait(10)
        assert reader.returncode != 0
        rig.double.start()
        mount.mount()
        mount.wait_synced()
        assert rig.body("new") == b"not in the bucket yet"


def test_a_daemon_that_dies_meanwhile_is_followed_by_one_that_serves_what_is_hot(rig: Rig) -> None:
    put_three(rig)
    with rig.mounted() as mount:
        warm_up(mount)
        with (mount.path / "hot").open("rb") as opened:
            rig.double.stop()
            os.kill(int(mount.status()["pid"]), signal.SIGKILL)
            assert_works_on(mount)
            assert opened.read() == b"HOT bytes"
        assert "takes over" in mount.log()
        rig.double.start()
        mount.wait_synced()
        assert_all_arrived(rig)
