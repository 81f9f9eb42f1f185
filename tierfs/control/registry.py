# pathlib would cost tierctl a tenth of the time that it may take to start
# ruff: noqa: PTH100, PTH103, PTH105, PTH108, PTH118, PTH123
"""Which mounts there are: one small JSON file a mount in a run directory, `<mount id>.json`.

| field | meaning |
|---|---|
| v | version of this record, 1 |
| id | mount id, see `mount_id` |
| mountpoint | absolute path, symlinks resolved |
| socket | path of the control socket |
| pid | process id of the daemon |
| source | what is mounted, as the user gave it |
| cache | its cache directory |

A record proves nothing: the daemon may be dead. What counts is whether its socket takes a connection
(`is_running`), because the kernel closes that with the process, also in another pid namespace.

Run directories: $TIERFS_RUN_DIR if set; else /run/tierfs for root and $XDG_RUNTIME_DIR/tierfs (or a
private directory in /tmp) for others, who also see what is in /run/tierfs. Nobody is shown mounts
from a directory of another user but root.

Synchronous, no third-party imports: `tierctl` starts with it.
"""

import contextlib
import json
import os
import socket as sockets
import stat
from typing import Any, Final, NamedTuple

from tierfs.control.exitcodes import ExitCode, ExitError

RECORD_VERSION: Final = 1
RECORD_LIMIT_BYTES: Final = 64 * 1024
ENTRIES_LIMIT: Final = 1024
SYSTEM_RUN_DIRECTORY: Final = "/run/tierfs"
_PROBE_TIMEOUT_S: Final = 1.0


class Entry(NamedTuple):
    """One mount as its record tells it."""

    mount_id: str
    mountpoint: str
    socket: str
    pid: int
    source: str
    cache: str


def mount_id(source: str, mountpoint: str) -> str:
    """16 hex digits that name a mount over its lives: the same source at the same place."""
    import hashlib  # loads OpenSSL, which tierctl has no use for

    text = f"{source}\0{mountpoint}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def own_run_directory() -> str:
    """Where this user's daemons put records and sockets."""
    if chosen := os.environ.get("TIERFS_RUN_DIR"):
        return chosen
    if os.geteuid() == 0:
        return SYSTEM_RUN_DIRECTORY
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(runtime, "tierfs")
    return f"/tmp/tierfs-{os.geteuid()}"


def search_directories() -> list[str]:
    """Where to look for mounts, own first."""
    own = own_run_directory()
    return [own] if os.environ.get("TIERFS_RUN_DIR") or own == SYSTEM_RUN_DIRECTORY else [own, SYSTEM_RUN_DIRECTORY]


def prepare_run_directory() -> str:
    """Makes the own run directory, 0755, and returns it; raises ExitError when it belongs to somebody else."""
    directory = own_run_directory()
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"cannot make the run directory {directory}: {error.strerror}") from None
    if not _is_trusted(directory):
        raise ExitError(
            ExitCode.FAILED,
            f"the run directory {directory} belongs to another user, or others may write to it; set TIERFS_RUN_DIR",
        )
    return directory


def _is_trusted(directory: str) -> bool:
    """Only root or oneself may own a directory whose records are believed, and nobody else may write to it."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    shared = status.st_mode & 0o022
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid()) and not shared


def _record_path(directory: str, identifier: str) -> str:
    return f"{directory}/{identifier}.json"


def register(entry: Entry) -> None:
    """Publishes a mount, over a stale record of its earlier life. Atomic."""
    directory = prepare_run_directory()
    record = {"v": RECORD_VERSION, "id": entry.mount_id, **entry._asdict()}
    del record["mount_id"]
    path = _record_path(directory, entry.mount_id)
    temporary = f"{path}.{os.getpid()}.tmp"
    # no fsync: the directory does not outlive the boot, and neither does what it speaks of
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(record, file)
    os.replace(temporary, path)


def unregister(identifier: str) -> None:
    """Takes a mount off the list; one that is not there is no error."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_record_path(own_run_directory(), identifier))


def entries() -> list[Entry]:
    """All records that can be read, by mountpoint. A half-written or foreign one is passed over."""
    found: dict[str, Entry] = {}
    for directory in search_directories():
        if not _is_trusted(directory):
            continue
        try:
            names = sorted(os.listdir(directory))[:ENTRIES_LIMIT]
        except PermissionError:
            continue
        for name in names:
            if name.endswith(".json") and (entry := _read(f"{directory}/{name}")) is not None:
                found.setdefault(entry.mount_id, entry)
    return sorted(found.values(), key=lambda entry: entry.mountpoint)


def _read(path: str) -> Entry | None:
    try:
        with open(path, "rb") as file:
            record: Any = json.loads(file.read(RECORD_LIMIT_BYTES))
        texts = [record[name] for name in ("id", "mountpoint", "socket", "source", "cache")]
        pid = record["pid"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(isinstance(text, str) for text in texts) or type(pid) is not int:
        return None
    identifier, mountpoint, socket_path, source, cache = texts
    return Entry(identifier, mountpoint, socket_path, pid, source, cache)


def is_running(entry: Entry) -> bool:
    """Whether a daemon listens on the entry's socket right now."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(entry.socket)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:
            pass  # a full backlog is a busy daemon, a refusal by permission one that is not ours
    return True


def process_lives(pid: int) -> bool:
    """Whether there is such a process, of whomever it may be."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def stale_message(entry: Entry) -> str:
    """What to tell of a record without a daemon."""
    return (
        f"the daemon of {entry.mountpoint} (pid {entry.pid}) is gone; clear the mountpoint with "
        f"`tierfs umount {entry.mountpoint}`, then mount {entry.source} again: nothing acknowledged is lost"
    )


def find(path: str | None) -> Entry:
    """The mount that `path` is in, or the only one when `path` is None; running or not.

    Raises ExitError: NO_DAEMON where there is none, USAGE where a path must choose.
    """
    known = entries()
    if path is not None:
        return _containing(path, known)
    running = [entry for entry in known if is_running(entry)] or known
    if not running:
        raise ExitError(ExitCode.NO_DAEMON, "no tierfs mount is known to you; see `tierfs mount --help`")
    if len(running) > 1:
        places = ", ".join(entry.mountpoint for entry in running)
        raise ExitError(ExitCode.USAGE, f"there are several mounts, name one by a path in it: {places}")
    return running[0]


def _containing(path: str, known: list[Entry]) -> Entry:
    try:
        absolute = os.path.abspath(path)
    except FileNotFoundError:
        raise ExitError(ExitCode.NOT_FOUND, "the current directory is gone; use absolute paths") from None
    # as written first: looking through symlinks asks the mount, and its daemon may hang
    for resolve in (os.path.normpath, os.path.realpath):
        holders = [entry for entry in known if relative_to(entry, resolve(absolute)) is not None]
        if holders:
            innermost = max(len(entry.mountpoint) for entry in holders)
            holders = [entry for entry in holders if len(entry.mountpoint) == innermost]
            # dead mounts of other sources may have left their records for the same place
            return next((entry for entry in holders if len(holders) == 1 or is_running(entry)), holders[0])
    raise ExitError(ExitCode.NO_DAEMON, f"{path} is in no tierfs mount that is known to you")


def relative_to(entry: Entry, absolute: str) -> str | None:
    """An absolute path as seen from the root of the mount ("" = the root itself); None outside of it."""
    base = entry.mountpoint.rstrip("/")
    if absolute.rstrip("/") == base:
        return ""
    return absolute[len(base) + 1 :] if absolute.startswith(base + "/") else None


def path_within(entry: Entry, path: str) -> bytes:
    """The path of a file for the daemon: symlinks on the way resolved, the last component as it is.

    Raises ExitError(NOT_FOUND) when the path leads out of the mount.
    """
    head, tail = os.path.split(path.rstrip("/"))
    if tail in ("", ".", ".."):
        resolved = os.path.realpath(path)
    else:
        resolved = os.path.join(os.path.realpath(head or ("/" if path.startswith("/") else ".")), tail)
    relative = relative_to(entry, resolved)
    if relative is None and relative_to(entry, os.path.realpath(path)) == "":
        relative = ""  # a symlink to the mountpoint
    if relative is None:
        raise ExitError(ExitCode.NOT_FOUND, f"{path} leads out of the mount at {entry.mountpoint}")
    return os.fsencode(relative)
