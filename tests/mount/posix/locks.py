"""Advisory locks, between descriptors and between processes."""

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.mount.posix.tools import attempt, opened, operation, write

_OPEN = "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n"


@contextlib.contextmanager
def _holder(path: Path, code: str) -> Iterator[None]:
    """Another process that runs `code` with the file open as `fd`, and holds its locks until the body ends."""
    script = f"{_OPEN}{code}\nprint('held', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(30)


@operation
def whole_file_locks(root: Path) -> object:
    path = write(root / "f", b"x" * 100)
    exclusive, shared, now = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB
    with opened(path, os.O_RDWR) as one, opened(path, os.O_RDWR) as two:
        return [
            attempt(fcntl.flock, one, exclusive),
            attempt(fcntl.flock, two, shared | now),
            attempt(fcntl.flock, one, shared),
            attempt(fcntl.flock, two, shared | now),
            attempt(fcntl.flock, two, exclusive | now),
            attempt(fcntl.flock, one, fcntl.LOCK_UN),
            attempt(fcntl.flock, two, exclusive | now),
        ]


@operation
def a_closed_file_is_unlocked(root: Path) -> object:
    path = write(root / "f")
    with opened(path, os.O_RDWR) as one:
        fcntl.flock(one, fcntl.LOCK_EX)
    with opened(path, os.O_RDWR) as two:
        return attempt(fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)


@operation
def locks_of_another_process(root: Path) -> object:
    path = write(root / "f", b"x" * 100)
    now = fcntl.LOCK_EX | fcntl.LOCK_NB
    with opened(path, os.O_RDWR) as fd:
        with _holder(path, "fcntl.flock(fd, fcntl.LOCK_EX)"):
            seen = [attempt(fcntl.flock, fd, now)]
        seen.append(attempt(fcntl.flock, fd, now))
        fcntl.flock(fd, fcntl.LOCK_UN)
        with _holder(path, "fcntl.lockf(fd, fcntl.LOCK_EX, 10, 20)"):
            seen += [
                attempt(fcntl.lockf, fd, now, length, start) for start, length in [(0, 20), (30, 0), (25, 1), (0, 0)]
            ]
        seen.append(attempt(fcntl.lockf, fd, now, 0, 0))
        return seen


@operation
def who_holds_it(root: Path) -> object:
    path = write(root / "f", b"x" * 100)
    with opened(path, os.O_RDWR) as fd, _holder(path, "fcntl.lockf(fd, fcntl.LOCK_SH, 5, 7)"):
        query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, whence, start, length, holder = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, query))
    return kind == fcntl.F_RDLCK, whence, start, length, holder > 0


@operation
def locks_of_a_killed_process_are_gone(root: Path) -> object:
    path = write(root / "f", b"x")
    script = f"{_OPEN}fcntl.lockf(fd, fcntl.LOCK_EX)\nos.kill(os.getpid(), 9)"
    code = subprocess.run([sys.executable, "-c", script, path], timeout=30, check=False).returncode
    with opened(path, os.O_RDWR) as fd:
        return code, attempt(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
