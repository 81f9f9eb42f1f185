"""A small file system behind the native holder, mounted: what programs see, and what they must never wait for."""

import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.holder_mounts import IMPATIENT_S, Demo, mounted, program_in_call, timed_end, until

IS_ROOT = os.geteuid() == 0


@pytest.mark.parametrize("words", [("hot",), (), ("hot", "plain")], ids=["passthrough", "python", "read-by-holder"])
def test_bytes_are_right_in_every_mode(tmp_path: Path, holder_program: Path, words: tuple[str, ...]) -> None:
    with mounted(tmp_path, holder_program, *words) as demo:
        body = os.urandom(3_000_000)
        file = demo.mount / "file"
        file.write_bytes(body)
        assert file.read_bytes() == body == (demo.data / "file").read_bytes()
        with file.open("ab") as end:
            end.write(b"more")
        with file.open("r+b") as middle:
            middle.seek(1_000_000)
            middle.write(b"middle")
            middle.truncate(2_000_000)
        expected = bytearray(body[:2_000_000])
        expected[1_000_000:1_000_006] = b"middle"
        assert file.read_bytes() == expected
        assert file.stat().st_size == 2_000_000
        with file.open("rb") as reader, mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[999_990:1_000_010] == expected[999_990:1_000_010]
        fd = os.open(file, os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, 1 << 20)
        assert os.readv(fd, [buffer]) == 1 << 20
        assert buffer[:] == expected[: 1 << 20]
        os.close(fd)
        file.write_bytes(b"short")
        assert file.read_bytes() == b"short"
        assert sorted(os.listdir(demo.mount)) == ["file"]
        file.unlink()
        assert not file.exists()
        status = demo.status()
        assert (status["malformed"], status["undelivered"], status["waiting"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("wait-open", "os.open(sys.argv[1], os.O_RDONLY)"),
        # a buffered read waits for its page, which only what kills can interrupt, whatever the holder answers
        (
            "wait-read",
            "signal.signal(signal.SIGINT, signal.SIG_DFL); os.read(os.open(sys.argv[1], os.O_RDONLY), 100)",
        ),
        (
            "wait-read-direct",
            "import mmap; os.readv(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), [mmap.mmap(-1, 4096)])",
        ),
        ("wait-write", "os.write(os.open(sys.argv[1], os.O_WRONLY), bytes(100))"),
        (
            "wait-write-direct",
            "import mmap; os.writev(os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT), [mmap.mmap(-1, 4096)])",
        ),
    ],
    ids=["open", "read", "direct-read", "write", "direct-write"],
)
def test_a_program_that_waits_dies_at_once(plain: Demo, name: str, code: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        own = f"{name}-{number}"  # two readers of one page would be one request
        (plain.data / own).write_bytes(bytes(8192))
        with program_in_call(plain, code, plain.mount / own) as waits:
            assert timed_end(waits, number) < 1.0
    assert name == "wait-read" or plain.status()["interrupted"] >= 3


def test_an_open_that_came_too_late_is_closed(plain: Demo) -> None:
    (plain.data / "late-open").write_bytes(b"x")
    with program_in_call(plain, "os.open(sys.argv[1], os.O_RDONLY)", plain.mount / "late-open") as waits:
        assert timed_end(waits, signal.SIGKILL) < 0.5
    assert plain.ask("late") == "answered"
    deadline = time.monotonic() + IMPATIENT_S
    while plain.status()["swallowed"] == 0 or plain.ask("opens") != {"total": 1, "open": 0}:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_timer_does_not_break_an_open(plain: Demo) -> None:
    (plain.data / "late-open").write_bytes(b"x")
    timer = "signal.signal(signal.SIGPROF, lambda *_: None)\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
    timer += "signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)\nos.open(sys.argv[1], os.O_RDONLY)\n"
    timer += "signal.setitimer(signal.ITIMER_REAL, 0)"  # an interpreter that ends has no handlers any more
    with program_in_call(plain, timer, plain.mount / "late-open") as waits:
        time.sleep(0.5)  # ten alarms
        assert plain.ask("late") == "answered"
        assert waits.wait(IMPATIENT_S) == 0
    assert plain.status()["interrupted"] == 0


def test_a_thousand_waiting_reads_leave_the_rest_quick(hot: Demo) -> None:
    (hot.data / "hot").write_bytes(b"hot")
    (hot.mount / "hot").read_bytes()
    for index in range(10):
        (hot.data / f"wait-read-{index}").write_bytes(bytes(1 << 20))
    code = "import threading, sys, os\n"
    code += "fds = [os.open(f'{sys.argv[1]}-{i % 10}', os.O_RDWR | os.O_DIRECT) for i in range(1000)]\nimport mmap\n"
    code += "def wait(fd, at):\n    os.preadv(fd, [mmap.mmap(-1, 4096)], at)\n"
    code += "threading.stack_size(65536)\n"
    code += "for i, fd in enumerate(fds): threading.Thread(target=wait, args=(fd, 4096 * (i // 10))).start()"
    with mounted_waiters(hot, code) as waiters:
        started = time.monotonic()
        for _ in range(20):
            os.statvfs(hot.mount)
            assert (hot.mount / "hot").read_bytes() == b"hot"
        assert time.monotonic() - started < 2.0
        assert timed_end(waiters, signal.SIGKILL) < 5.0


@contextmanager
def mounted_waiters(demo: Demo, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program with a thousand threads in read, without passthrough: the files are not registered."""
    process = subprocess.Popen([sys.executable, "-c", code, str(demo.mount / "wait-read")])
    try:
        deadline = time.monotonic() + 60
        while demo.status()["waiting"] < 1000:
            assert process.poll() is None
            assert time.monotonic() < deadline, demo.status()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_storm_of_forgets_gives_every_lookup_back(plain: Demo) -> None:
    if not IS_ROOT:
        pytest.skip("only root can drop the kernel's caches")
    for index in range(5000):
        (plain.data / f"f{index}").touch()
    for _ in range(2):
        assert len([entry.stat() for entry in os.scandir(plain.mount)]) == 5000
        for index in range(5000):
            (plain.mount / f"f{index}").stat()
    Path("/proc/sys/vm/drop_caches").write_text("2")
    deadline = time.monotonic() + IMPATIENT_S
    while (left := plain.ask("forgets")) != 0:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_notifications_during_slow_requests_stop_nobody(plain: Demo) -> None:
    """An invalidation of a directory in which an open waits."""
    (plain.data / "late-open").write_bytes(b"x")
    (plain.data / "other").write_bytes(b"other")
    (plain.mount / "other").read_bytes()
    with program_in_call(plain, "os.open(sys.argv[1], os.O_RDONLY)", plain.mount / "late-open") as waits:
        assert plain.ask("storm", "other", 3000) == 0
        assert plain.ask("invalidate", "late-open") == "queued"
        assert plain.ask("invalidate", "other") == "queued"
        assert (plain.mount / "other").read_bytes() == b"other"
        assert plain.ask("late") == "answered"
        assert waits.wait(IMPATIENT_S) == 0
    deadline = time.monotonic() + IMPATIENT_S
    while plain.status()["notified"] < 3004:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert plain.status()["notify_failed"] == 0


@pytest.mark.parametrize("words", [("hot",), ()], ids=["passthrough", "python"])
def test_preallocation_holes_and_copies(tmp_path: Path, holder_program: Path, words: tuple[str, ...]) -> None:
    """Whatever the file system of this directory can, the mount can."""
    with mounted(tmp_path, holder_program, *words) as demo:
        fd = os.open(demo.mount / "file", os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(fd, 0, 1 << 20)
        assert os.fstat(fd).st_size == 1 << 20
        os.pwrite(fd, b"x" * (1 << 20), 0)
        subprocess.run(["fallocate", "-p", "-o", "65536", "-l", "131072", demo.mount / "file"], check=True)
        subprocess.run(["fallocate", "-z", "-o", "1048570", "-l", "100", demo.mount / "file"], check=True)
        expected = bytearray(b"x" * (1 << 20) + bytes(94))
        expected[65536 : 65536 + 131072] = bytes(131072)
        expected[1048570:] = bytes(100)
        assert os.pread(fd, 1 << 21, 0) == expected == (demo.data / "file").read_bytes()
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 65536
        assert os.lseek(fd, 65536, os.SEEK_DATA) == 65536 + 131072
        with pytest.raises(OSError, match="No such device or address"):
            os.lseek(fd, 1 << 30, os.SEEK_DATA)
        copy = os.open(demo.mount / "copy", os.O_RDWR | os.O_CREAT)
        assert os.copy_file_range(fd, copy, 100_000, 1000, 0) > 0
        shutil.copyfile(demo.mount / "file", demo.mount / "copy")
        assert (demo.data / "copy").read_bytes() == expected
        read_only = os.open(demo.mount / "file", os.O_RDONLY)  # a handle of the holder
        copied = os.copy_file_range(read_only, copy, 100_000, 0, 500)
        assert os.pread(copy, copied, 500) == expected[:copied]
        for opened in (fd, copy, read_only):
            os.close(opened)


def busy(demo: Demo, number: int) -> int:
    """Reads and writes until the mount is gone; how often it worked."""
    done = 0
    with suppress(OSError):
        while demo.mount.is_mount():  # after a lazy unmount the path is the directory below
            path = demo.mount / f"busy-{number}"
            path.write_bytes(bytes(100_000))
            assert len(path.read_bytes()) == 100_000
            done += 1
    return done


@pytest.mark.parametrize("end", ["lazy unmount", "SIGKILL of the daemon", "command"])
def test_the_end_under_load_hangs_nobody(hot: Demo, end: str) -> None:
    (hot.data / "wait-open").write_bytes(bytes(8192))
    read = "os.read(os.open(sys.argv[1], os.O_RDONLY), 100)"
    with ThreadPoolExecutor(4) as pool, program_in_call(hot, read, hot.mount / "wait-open") as waits:
        running = [pool.submit(busy, hot, number) for number in range(4)]
        time.sleep(0.5)
        holder_pid = hot.status()["pid"]
        if end == "SIGKILL of the daemon":
            hot.process.kill()
            assert waits.wait(IMPATIENT_S) != 0
        else:
            if end == "command":  # refused while it is in use
                refusal = {"errno": 16, "error": "[Errno 16] holder: Device or resource busy"}
                assert hot.ask("unmount") == refusal
            assert timed_end(waits, signal.SIGKILL) < 2.0
            subprocess.run(["umount", "-l", hot.mount], check=True, timeout=IMPATIENT_S)
        assert all(future.result(IMPATIENT_S) > 0 for future in running)
    hot.process.wait(IMPATIENT_S)
    deadline = time.monotonic() + IMPATIENT_S
    while Path(f"/proc/{holder_pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert str(hot.mount) not in Path("/proc/mounts").read_text()


def test_an_orderly_end(hot: Demo) -> None:
    (hot.mount / "file").write_bytes(b"x")
    assert hot.ask("unmount") == "unmounted"
    assert hot.process.wait(IMPATIENT_S) == 0
    assert not (hot.mount / "file").exists()


def test_hot_opens_do_not_reach_python(passing: Demo) -> None:
    (passing.data / "file").write_bytes(b"x" * 10_000)
    assert (passing.mount / "file").read_bytes() == b"x" * 10_000
    status = passing.status()
    for _ in range(100):
        assert (passing.mount / "file").read_bytes() == b"x" * 10_000
    after = passing.status()
    assert after["forwarded"] - status["forwarded"] <= 2  # one stat may ask; then the holder knows
    assert passing.ask("opens") == {"total": 2, "open": 0}
    uses = passing.ask("drain")
    assert isinstance(uses, list)
    assert [100, 0] in [use[1:] for use in uses], "the first one was answered by Python"


def test_a_stat_after_a_read_is_answered_with_the_time_of_the_access(passing: Demo) -> None:
    path, backing = passing.mount / "file", passing.data / "file"
    backing.write_bytes(b"x" * 10_000)
    os.utime(backing, (1, 2))
    path.read_bytes()  # registers it; the next stat asks once
    path.stat()
    os.utime(backing, ns=(backing.stat().st_atime_ns, 2_000_000_000))  # relatime: due again
    before = passing.status()
    for _ in range(20):
        path.read_bytes()
        assert path.stat().st_atime_ns == backing.stat().st_atime_ns > 10**18
    assert passing.status()["forwarded"] == before["forwarded"]


def test_a_stat_of_a_written_file_sees_what_was_written_by_passthrough(passing: Demo) -> None:
    path = passing.mount / "file"
    path.write_bytes(b"x")
    with path.open("r+b", buffering=0) as file:
        for size in range(1, 50):
            file.seek(0, os.SEEK_END)
            file.write(b"more")
            assert path.stat().st_size == size * 4 + 1
            assert path.stat().st_mtime_ns == (passing.data / "file").stat().st_mtime_ns
    until(lambda: passing.status()["open_in_python"] == 0)  # the last release has arrived
    path.stat()
    before = passing.status()
    for _ in range(20):
        path.read_bytes()
        assert path.stat().st_size == 197
    assert passing.status()["forwarded"] == before["forwarded"]
    path.write_bytes(b"now short")
    assert path.stat().st_size == 9


def test_a_file_is_not_given_up_while_it_is_used(passing: Demo) -> None:
    path = passing.mount / "file"
    path.write_bytes(bytes(100_000))
    with path.open("rb"):
        assert passing.ask("revoke", "file", 0, 0) == {
            "errno": 16,
            "error": "[Errno 16] holder: Device or resource busy",
        }
    fd = os.open(path, os.O_RDWR)
    mapped = mmap.mmap(fd, 0)
    os.close(fd)
    refused = passing.ask("revoke", "file", 0.3, 1)
    assert isinstance(refused, dict)
    assert refused["errno"] in (11, 16)  # Python's mmap keeps a descriptor of its own
    mapped[50_000] = 7
    mapped.close()
    assert passing.ask("revoke", "file", 5, 1) == "revoked"
    assert (passing.data / "file").read_bytes()[50_000] == 7
    assert path.read_bytes()[50_000] == 7  # opened by Python, and registered again


def test_readers_writers_and_revokes_at_once_see_no_error_and_no_wrong_byte(passing: Demo) -> None:
    for number in range(4):
        (passing.data / f"f{number}").write_bytes(bytes([number]) * 65_536)

    def work(number: int) -> None:
        path = passing.mount / f"f{number % 4}"
        for turn in range(150):
            assert path.read_bytes() == bytes([number % 4]) * 65_536
            if turn % 10 == 0:
                with path.open("r+b") as file:
                    file.write(bytes([number % 4]) * 4096)
            if turn % 25 == 0:
                os.stat(path)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, number) for number in range(8)]
        while not all(future.done() for future in running):
            for number in range(4):
                answer = passing.ask("revoke", f"f{number}", 0.05, 1)
                assert answer == "revoked" or answer["errno"] in (2, 11, 16)  # type: ignore[index]
        for future in running:
            future.result()
    assert passing.status()["undelivered"] == 0
