"""Running programs that touch a mount, so that a mount that hangs fails its test instead of blocking pytest.

A process that waits for a hung FUSE mount may not even die of SIGKILL. So nothing here waits without a limit, and the
output goes to files: a pipe would be held open by whatever is stuck.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from attrs import frozen

DEFAULT_TIMEOUT_S = 120.0
KILL_WAIT_S = 5.0
SHOWN_BYTES = 4000

# processes that did not die of SIGKILL in time: kept, so that nobody waits for them
_stuck: list["subprocess.Popen[bytes]"] = []


@frozen
class Completed:
    """A program that ended by itself."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ProgramError(AssertionError):
    """A program failed, or did not end in time; shows the end of what it printed."""


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """Runs a program to its end; `env` is added to this process's environment.

    Raises ProgramError when it does not end within `timeout_s` or, with `check`, when it exits with anything but 0.
    """
    words = tuple(map(str, argv))
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        is_late = not _ends(process, timeout_s)
        if is_late:
            _end_session(process)
        out, err = _text(stdout), _text(stderr)
    if is_late:
        raise ProgramError(f"{words} did not end within {timeout_s:g} s\n{_tail(out)}\n{_tail(err)}")
    if check and process.returncode != 0:
        raise ProgramError(f"{words} exited with {process.returncode}\n{_tail(out)}\n{_tail(err)}")
    return Completed(words, process.returncode, out, err)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        # the state follows the name, which is in parentheses and may hold anything
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def with_environment(name: str, value: str) -> list[int]:
    """The ids of the processes that have NAME=value in their environment, this one not among them."""
    wanted = os.fsencode(f"{name}={value}")
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                environment = (directory / "environ").read_bytes()
            except OSError:  # gone meanwhile, or another user's
                continue
            if wanted in environment.split(b"\0"):
                found.append(int(directory.name))
    return found


def end(pids: Sequence[int], *, signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL)) -> bool:
    """Sends one signal after the other until all are gone, with some seconds for each; False when some are stuck."""
    for number in signals:
        for pid in filter(is_alive, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait_until(lambda: not any(map(is_alive, pids)), KILL_WAIT_S):
            return True
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float, *, step_s: float = 0.02) -> bool:
    """Polls `condition()` until it is true; False when that takes longer than `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step_s)
    return True


def _ends(process: "subprocess.Popen[bytes]", timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    if not _ends(process, KILL_WAIT_S):
        _stuck.append(process)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _tail(text: str) -> str:
    return text if len(text) <= SHOWN_BYTES else f"[...] {text[-SHOWN_BYTES:]}"
