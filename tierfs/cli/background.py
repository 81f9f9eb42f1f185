"""Starting a daemon in the background and hearing whether it works: one pipe, one line.

The child is a fresh process, not a fork of this one: no thread, lock or descriptor of ours is in it.
It gets the writing end of a pipe and sends one JSON line, {"ready": true} or {"code": n, "message":
"..."}; its death closes the pipe, so that the starter never waits for a dead child.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tierfs.control.exitcodes import ExitCode, ExitError

START_LIMIT_S: Final = 600.0
END_LIMIT_S: Final = 15.0
_REPORT_LIMIT_BYTES: Final = 64 * 1024


class StatusPipe:
    """The child's end: says once how the start went. Without a descriptor (foreground) it says nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def ready(self) -> None:
        """The mount works."""
        self._report({"ready": True})

    def failed(self, error: ExitError) -> None:
        """It does not, and why."""
        self._report({"code": int(error.code), "message": str(error), "errno": error.errno})

    def _report(self, report: dict[str, Any]) -> None:
        if self._descriptor is None:
            return
        # a starter that was killed meanwhile is no reason to give the mount up
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, json.dumps(report).encode()[:_REPORT_LIMIT_BYTES] + b"\n")
        os.close(self._descriptor)
        self._descriptor = None


def start(command: Callable[[int], Sequence[str]], log: Path, *, limit_s: float = START_LIMIT_S) -> int:
    """Starts `command(descriptor of the pipe)`, its output appended to `log`; returns its pid when it is ready.

    Raises ExitError with the child's own words, or when it died or took longer than `limit_s`: then
    it is ended. KeyboardInterrupt ends it, too.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        try:
            output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            os.close(writing)
            raise ExitError(ExitCode.CONFIG, f"cannot write the log {log}: {error.strerror}") from None
        try:
            # a session of its own: neither ^C here nor the end of the terminal reaches it
            child = subprocess.Popen(
                command(writing),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(output)
            os.close(writing)
        try:
            report = _first_line(pipe.fileno(), limit_s)
        except BaseException:
            _end(child, by_itself=False)
            raise
        if report is None:
            _end(child, by_itself=False)
            raise ExitError(ExitCode.TIMEOUT, f"the mount did not come up within {limit_s:g} s; its log: {log}")
    return _judged(child, report, log)


def _first_line(descriptor: int, limit_s: float) -> bytes | None:
    """What the child says, b"" when it ended without a word, None when the time was over."""
    deadline = time.monotonic() + limit_s
    received = b""
    poll = select.poll()  # not select(): a starter with a thousand open files must work, too
    poll.register(descriptor, select.POLLIN)
    while not received.endswith(b"\n") and len(received) <= _REPORT_LIMIT_BYTES:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return b""
        received += chunk
    return received


def _judged(child: "subprocess.Popen[bytes]", report: bytes, log: Path) -> int:
    said = _parsed(report)
    if said.get("ready") is True:
        child.returncode = 0  # it goes on without us: no warning about a child that still runs
        return child.pid
    status = _end(child, by_itself=True)
    if "code" in said:
        raise ExitError(ExitCode(said["code"]), said["message"], errno=said.get("errno", 0))
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    raise ExitError(ExitCode.FAILED, f"the daemon {how} before the mount worked; its log: {log}")


def _parsed(report: bytes) -> dict[str, Any]:
    try:
        said = json.loads(report)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _end(child: "subprocess.Popen[bytes]", *, by_itself: bool) -> int:
    """Waits for a child that has failed, or tells it to end; returns its status."""
    for number in (None, signal.SIGTERM) if by_itself else (signal.SIGTERM,):
        if number is not None:
            child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(END_LIMIT_S)
    child.kill()
    return child.wait()
