"""Who sent a request, by its thread: the names that the kernel has for it (proc(5), /proc/PID/comm)."""

import contextlib
from pathlib import Path
from typing import Final

from tierfs.policy.recalls import Program

_PROC: Final = Path("/proc")
_STATUS_MAX_BYTES: Final = 16_384


def program(uid: int, tid: int, *, proc: Path = _PROC) -> Program:
    """`tid`: of the thread, 0 where it is not known, as for one in a name space that we do not see into."""
    names: list[str] = []
    if tid > 0:
        # it may have ended by now
        with contextlib.suppress(OSError, ValueError, IndexError):
            names.append(_comm(proc / str(tid)))
            pid = _process_of(proc / str(tid))
            if pid != tid:
                names.append(_comm(proc / str(pid)))
    return Program(uid, tuple(names))


def _comm(directory: Path) -> str:
    return (directory / "comm").read_bytes().rstrip(b"\n").decode(errors="surrogateescape")


def _process_of(directory: Path) -> int:
    with (directory / "status").open("rb") as file:
        status = file.read(_STATUS_MAX_BYTES)
    return int(status.split(b"\nTgid:", 1)[1].split(maxsplit=1)[0])
