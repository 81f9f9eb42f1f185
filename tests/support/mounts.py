"""A real mount for a test, made and unmounted by the real commands, that cannot outlive or block its test.

    with mounted("file:///some/directory", tmp_path, settings={"export": {"quiet_s": 0.1}}) as mount:
        (mount.path / "a").write_bytes(b"...")
        mount.wait_synced()
        mount.kill9()
        mount.remount(fresh_cache=True)

A thread that is inside a system call on a hung mount cannot be interrupted, not even by SIGKILL. So each mount has a
limit on its life, after which its FUSE connection is aborted: every blocked call then returns ENOTCONN and the test
fails. What the commands could not take away is taken away by force, and that fails the test, too.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

from tests.support import programs
from tests.support.programs import Completed

COMMAND_TIMEOUT_S: Final = 60.0
SYNC_TIMEOUT_S: Final = 500.0
# a little less than pytest's own limit for a test, so that the abort comes first
LIFE_LIMIT_S: Final = 280.0
FUSECTL: Final = Path("/sys/fs/fuse/connections")
MARK: Final = "TIERFS_TEST_MOUNT"

Settings = Mapping[str, Mapping[str, Any]]


def need_root() -> None:
    """Skips the running test where it could not act as other users."""
    if os.geteuid() != 0:
        pytest.skip("other users and devices can be tested only as root")


@frozen
class MountEntry:
    """A line of /proc/self/mountinfo: what is mounted, and the number that fusectl knows it by."""

    minor: int
    filesystem: str
    source: str


def find_mount(path: Path) -> MountEntry | None:
    """What is mounted at `path`, which is not touched: it may hang."""
    found = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        # the kernel writes space, tab, newline and backslash as three octal digits
        if os.fsencode(fields[4]).decode("unicode_escape").encode("latin-1") == os.fsencode(path):
            filesystem, source = after.split(" ")[:2]
            found = MountEntry(int(fields[2].partition(":")[2]), filesystem, source)
    return found


class Mount:
    """One mount of `source` at `path`, with its cache and its settings file, over any number of daemons."""

    def __init__(self, source: str, directory: Path, settings: Settings, env: Mapping[str, str]) -> None:
        self.source = source
        self.path = directory / "mnt"
        self.cache = directory / "cache"
        self.config = directory / "tierfs.toml"
        self.log_path = directory / "tierfs.log"
        self.pid = 0
        self.mark = uuid.uuid4().hex
        self._env = {**env, MARK: self.mark}
        self.path.mkdir(parents=True, exist_ok=True)
        self.config.write_text(toml({"log": {"file": str(self.log_path)}, **settings}))

    def tierfs(self, *arguments: str | Path, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        """Runs the tierfs command as a user would, from this Python's environment."""
        return self._command("tierfs.cli.tierfs", *arguments, check=check, timeout_s=timeout_s)

    def tierctl(self, *arguments: str | Path, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        """Runs tierctl."""
        return self._command("tierfs.cli.tierctl", *arguments, check=check, timeout_s=timeout_s)

    def mount(self) -> None:
        """Returns when the mount works; ProgramError with the command's own words and the log otherwise."""
        try:
            self.tierfs(*self.mount_command())
            self.pid = int(self.status()["pid"])
        except programs.ProgramError as error:
            raise programs.ProgramError(f"{error}\n{self.log()[-programs.SHOWN_BYTES :]}") from None

    def mount_command(self) -> list[str | Path]:
        """The words after `tierfs` that mount it."""
        return ["mount", self.source, self.path, "--cache", self.cache, "--config", self.config]

    def umount(self, *, drain: bool = True, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        """Unmounts as a user does and waits until the daemon is gone."""
        self.tierfs("umount", self.path, *([] if drain else ["--no-drain"]), timeout_s=timeout_s)
        assert find_mount(self.path) is None, "tierfs umount returned and the mount is still there"
        assert programs.wait_until(lambda: not self.daemons(), COMMAND_TIMEOUT_S), "the daemon outlives its mount"

    def kill9(self) -> None:
        """SIGKILL for daemon and holder, as the kernel's OOM killer does it; leaves the dead mount behind."""
        # the holder may have died a moment after it started another daemon, which shows no environment while it begins
        assert programs.wait_until(self._are_all_dead, COMMAND_TIMEOUT_S, step_s=0.05)

    def _are_all_dead(self) -> bool:
        """Kills who is there; true when nobody was."""
        found = self.daemons()
        programs.end(found, signals=[signal.SIGKILL])
        return not found

    def remount(self, *, fresh_cache: bool = False, drain: bool = True) -> None:
        """Unmounts (a dead mount, too) and mounts again; with `fresh_cache` as on another machine."""
        if self.daemons():
            self.umount(drain=drain)
        elif find_mount(self.path) is not None:
            self.tierfs("umount", self.path)
        if fresh_cache:
            shutil.rmtree(self.cache, ignore_errors=True)
        self.mount()

    def status(self) -> dict[str, Any]:
        """What `tierctl status --json` says of this mount."""
        answer: dict[str, Any] = json.loads(self.tierctl("status", self.path, "--json").stdout)
        return answer

    def wait_synced(self, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        """Returns when everything of this mount is in the bucket."""
        self.tierctl("wait", "--synced", self.path, timeout_s=timeout_s)

    def log(self) -> str:
        """All that its daemons have logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def daemons(self) -> list[int]:
        """The processes that serve this mount."""
        return [pid for pid in programs.with_environment(MARK, self.mark) if programs.is_alive(pid)]

    def abort(self) -> None:
        """Ends the FUSE connection: whoever waits for it gets ENOTCONN. For a mount that hangs."""
        entry = find_mount(self.path)
        if entry is None or not entry.filesystem.startswith("fuse"):
            return
        file = FUSECTL / str(entry.minor) / "abort"
        if not FUSECTL.exists() or not any(FUSECTL.iterdir()):
            programs.run(["mount", "-t", "fusectl", "none", str(FUSECTL)], check=False)
        # without the right to do so, the end of the daemons has to do
        with contextlib.suppress(OSError):
            file.write_text("1")

    def destroy(self) -> str:
        """Takes away whatever is left of the mount; returns what had to be forced, or nothing."""
        forced = ""
        if find_mount(self.path) is not None and self.daemons():
            try:
                self.umount(drain=False, timeout_s=COMMAND_TIMEOUT_S)
            except AssertionError as error:
                forced = str(error)
                self.abort()
        programs.end(self.daemons())
        if find_mount(self.path) is not None:
            self._detach()
        return forced

    def _detach(self) -> None:
        for command in ("umount", "-l"), ("fusermount3", "-u", "-z"):
            programs.run([*command, self.path], check=False, timeout_s=COMMAND_TIMEOUT_S)
            if find_mount(self.path) is None:
                return
        raise AssertionError(f"cannot unmount {self.path}")

    def _command(self, module: str, *arguments: str | Path, check: bool, timeout_s: float) -> Completed:
        argv = [sys.executable, "-m", module, *arguments]
        return programs.run(argv, env=self._env, check=check, timeout_s=timeout_s)


@contextlib.contextmanager
def prepared(
    source: str,
    directory: Path,
    *,
    settings: Settings | None = None,
    env: Mapping[str, str] | None = None,
    life_limit_s: float = LIFE_LIMIT_S,
) -> Iterator[Mount]:
    """A mount that the body makes itself; whatever is left of it is taken away in the end.

    Fails when that needed force. Skips the running test on a machine that cannot mount at all.
    """
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("this machine has no /dev/fuse that this user may open")
    mount = Mount(source, directory, settings or {}, env or {})
    watchdog = threading.Timer(life_limit_s, mount.abort)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield mount
    except BaseException as error:
        if log := mount.log():
            error.add_note(f"--- the end of the daemon's log\n{log[-programs.SHOWN_BYTES :]}")
        mount.destroy()
        raise
    finally:
        watchdog.cancel()
    forced = mount.destroy()
    assert not forced, f"the mount did not go away by itself: {forced}"


@contextlib.contextmanager
def mounted(
    source: str,
    directory: Path,
    *,
    settings: Settings | None = None,
    env: Mapping[str, str] | None = None,
    life_limit_s: float = LIFE_LIMIT_S,
) -> Iterator[Mount]:
    """Mounts `source` below `directory` for the body; see `prepared`."""
    with prepared(source, directory, settings=settings, env=env, life_limit_s=life_limit_s) as mount:
        mount.mount()
        yield mount


def toml(settings: Settings) -> str:
    """Settings as the text of a configuration file; JSON's scalars and lists are TOML's, too, its objects are not."""
    lines = []
    for section, keys in settings.items():
        tables = {key: value for key, value in keys.items() if isinstance(value, list) and _are_tables(value)}
        plain = {key: value for key, value in keys.items() if key not in tables}
        lines += [f"[{section}]", *_pairs(plain), ""]
        lines += [
            line for key, rows in tables.items() for row in rows for line in (f"[[{section}.{key}]]", *_pairs(row))
        ]
    return "\n".join(lines)


def _are_tables(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values)


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key} = {json.dumps(value)}" for key, value in table.items())
