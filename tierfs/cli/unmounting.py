"""`tierfs umount`: asks the daemon to upload and go, or clears away what a dead daemon left behind."""

import contextlib
import errno
import os
import select
from pathlib import Path
from typing import Any, Final

from tierfs.cli.terminal import ProgressLine
from tierfs.control import mountpoint, registry
from tierfs.control.client import Client
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.protocol import Json
from tierfs.control.registry import Entry
from tierfs.errors import FsError
from tierfs.units import format_size

POLL_INTERVAL_S: Final = 0.5


def umount(directory: str, *, drain: bool, lazy: bool) -> Json:
    """Unmounts; returns {"mountpoint", "had_daemon", "pending_exports", "dirty_bytes"}: what is left to upload.

    Raises ExitError: NO_DAEMON when nothing of ours is there, BUSY when it is in use.
    """
    place = mountpoint.resolve(directory)
    entry = next((entry for entry in registry.entries() if entry.mountpoint == str(place)), None)
    if entry is not None and registry.is_running(entry):
        left = _through_daemon(entry, place, drain=drain, lazy=lazy)
        return {"mountpoint": str(place), "had_daemon": True, **left}
    _without_daemon(place, entry, lazy=lazy)
    return {"mountpoint": str(place), "had_daemon": False, "pending_exports": None, "dirty_bytes": None}


def told(result: Json, *, lazy: bool) -> str:
    """What to tell people of an unmount; empty when all is well and done."""
    if not result["had_daemon"]:
        return "its daemon was gone already; what it had not uploaded goes up with the next mount of the same cache"
    if result["pending_exports"]:
        count = result["pending_exports"]
        when = "is uploaded while its daemon ends" if lazy else "goes up with the next mount of the same cache"
        return f"{count} {'upload' if count == 1 else 'uploads'} left, {format_size(result['dirty_bytes'])}: {when}"
    return ""


def _through_daemon(entry: Entry, place: Path, *, drain: bool, lazy: bool) -> Json:
    line = ProgressLine("uploading")
    result: Json = {}
    with contextlib.ExitStack() as stack:
        stack.callback(line.clear)
        try:
            client = stack.enter_context(Client(entry.socket))
            process = stack.enter_context(_Process(client.daemon_pid))
            result = client.call("unmount", {"drain": drain, "lazy": lazy}, on_progress=line)
        except ExitError as error:
            line.clear()
            if error.errno == errno.EINVAL and mountpoint.mounted_at(place) is None:
                # somebody else was faster: what is left is to wait for the end
                result = {"pending_exports": None, "dirty_bytes": None}
            elif error.code is ExitCode.FAILED and drain:
                raise ExitError(
                    error.code,
                    f"{error}; the mount stays. --no-drain leaves this for the next mount",
                    errno=error.errno,
                ) from None
            elif error.code is not ExitCode.NO_DAEMON:
                raise
            else:
                _after_silence(place, error, lazy=lazy)
                return {"pending_exports": None, "dirty_bytes": None}
        client.close()
        while not lazy and not process.has_ended_within(POLL_INTERVAL_S):
            # no limit of its own: the daemon has one ([export] drain_timeout_s), and ^C leaves it alone
            line(_left(entry) if drain else {})
    return {"pending_exports": result["pending_exports"], "dirty_bytes": result["dirty_bytes"]}


class _Process:
    """A process to wait for that is not our child. Only after its end is its cache free for another daemon."""

    def __init__(self, pid: int) -> None:
        # of a daemon in another pid namespace nothing is known here (pid 0): its answer has to do
        self._descriptor = None
        with contextlib.suppress(OSError):
            self._descriptor = os.pidfd_open(pid) if pid else None

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def has_ended_within(self, limit_s: float) -> bool:
        if self._descriptor is None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(limit_s * 1000))


def _after_silence(place: Path, error: ExitError, *, lazy: bool) -> None:
    """The daemon ended while it was asked, or hangs: what counts is whether the mount is still there."""
    if mountpoint.mounted_at(place) is None:
        return
    if not lazy:
        raise ExitError(ExitCode.NO_DAEMON, f"{error}; --lazy takes the mount away without it") from None
    _detach(place, lazy=True)


def _left(entry: Entry) -> dict[str, Any]:
    """What the daemon still has to upload, for the progress line."""
    try:
        with Client(entry.socket) as client:
            status = client.call("status")
    except ExitError:
        return {}  # it ended meanwhile
    return {"files": status["pending_exports"], "bytes": status["tier"]["dirty_bytes"]}


def _without_daemon(place: Path, entry: Entry | None, *, lazy: bool) -> None:
    found = mountpoint.mounted_at(place)
    if found is not None and found.filesystem != "fuse.tierfs":
        raise ExitError(ExitCode.NO_DAEMON, f"{place} is no tierfs mount but {found.source} ({found.filesystem})")
    if found is not None:
        _detach(place, lazy=lazy)
    elif entry is None:
        raise ExitError(ExitCode.NO_DAEMON, f"nothing is mounted at {place}")
    if entry is not None:
        registry.unregister(entry.mount_id)


def _detach(place: Path, *, lazy: bool) -> None:
    try:
        mountpoint.detach(place, lazy=lazy)
    except FsError as error:
        code = ExitCode.BUSY if error.errno == errno.EBUSY else ExitCode.PERMISSION
        raise ExitError(code, str(error), errno=error.errno) from None
