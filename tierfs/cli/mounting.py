"""`tierfs mount`: settles what to mount, where and how, checks what can be checked, and starts the daemon."""

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs
from attrs import frozen

from tierfs import config
from tierfs.cli import background
from tierfs.cli.failures import as_exit_error, root_cause
from tierfs.config import Settings
from tierfs.control import mountpoint, registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.errors import ConfigError
from tierfs.fuse import takeover
from tierfs.telemetry.logs import set_up_logging

_log = logging.getLogger(__name__)

RunDaemon: TypeAlias = Callable[[Settings, str, Path, Path, Callable[[], None]], int]
"""`daemon.run(settings, source, mountpoint, cache, ready) -> exit code`; raises TierfsError."""

BACKGROUND_LOG: Final = "tierfs.log"
_KERNEL_WORDS: Final = frozenset({"nosuid", "nodev", "noexec", "noatime", "sync", "dirsync"})
# what fstab and mount(8) say to each other, and defaults of the kernel
_IGNORED_WORDS: Final = frozenset(
    {
        "defaults",
        "auto",
        "noauto",
        "nofail",
        "_netdev",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "suid",
        "dev",
        "exec",
        "atime",
        "relatime",
        "async",
    }
)


@frozen
class MountOptions:
    """The words of `-o`, sorted by what they are for."""

    settings: dict[str, str]
    cache: str = ""
    config: str = ""
    may_hide_files: bool = False


@frozen
class MountPlan:
    """All that a mount needs, settled and absolute."""

    source: str
    mountpoint: Path
    cache: Path
    settings: Settings
    may_hide_files: bool


def parse_source(text: str) -> str:
    """The source in its one form, s3://bucket[/prefix] or file:///directory; raises ExitError(USAGE)."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        guess = f"file://{os.path.abspath(text)}" if text[:1] in "./~" else f"s3://{text}"  # noqa: PTH100
        raise _wrong_source(text, f"write {guess}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise _wrong_source(text, "a directory is absolute: file:///srv/data")
        return f"file://{os.path.normpath(rest)}"
    if scheme != "s3":
        raise _wrong_source(text, f"tierfs knows s3:// and file://, not {scheme}://")
    bucket, _, prefix = rest.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
        raise _wrong_source(text, f"{bucket!r} is no name of a bucket")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise _wrong_source(text, "a prefix has no empty, . or .. parts")
    return f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"


def _wrong_source(text: str, why: str) -> ExitError:
    return ExitError(ExitCode.USAGE, f"cannot mount {text!r}: {why}; sources are s3://bucket/prefix and file:///path")


def parse_options(texts: Sequence[str]) -> MountOptions:
    """The words of all `-o`, later ones winning. Raises ExitError(USAGE) for a flag that is none."""
    values: dict[str, str] = {}
    own: dict[str, str] = {}
    kernel: list[str] = []
    may_hide_files = False
    for word in ",".join(texts).split(","):
        name, equals, value = word.partition("=")
        if not word or name in _IGNORED_WORDS or name.startswith("x-"):
            continue
        if equals and name in ("cache", "config"):
            own[name] = value
        elif equals:
            values[name] = value
        elif word == "nonempty":
            may_hide_files = True
        elif word in _KERNEL_WORDS:
            kernel.append(word)
        elif word in ("ro", "rw"):
            values["read_only"] = "true" if word == "ro" else "false"
        else:
            values[word] = "true"
    if kernel:
        values["kernel_options"] = ":".join(kernel)
    return MountOptions(values, own.get("cache", ""), own.get("config", ""), may_hide_files)


def default_cache(source: str, place: Path) -> Path:
    """Where bytes and index of a mount live when nobody says so: the same for each of its lives."""
    identifier = registry.mount_id(source, str(place))
    if os.geteuid() == 0:
        return Path("/var/cache/tierfs", identifier)
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".cache"
    return base / "tierfs" / identifier


def plan(source: str, directory: str, *, cache: str, config_file: str, options: Sequence[str]) -> MountPlan:
    """Settles everything from the command line and the configuration. Raises ExitError, ConfigError."""
    words = parse_options(options)
    file = config_file or words.config
    settings = config.load(Path(file).absolute() if file else None, words.settings)
    source = parse_source(source)
    place = mountpoint.resolve(directory)
    chosen = cache or words.cache
    home = Path(os.path.realpath(chosen)) if chosen else default_cache(source, place)
    if home == place or place in home.parents or home in place.parents:
        raise ExitError(ExitCode.USAGE, f"the cache {home} and the mountpoint {place} must not lie in each other")
    return MountPlan(source, place, home, settings, words.may_hide_files)


def check(wanted: MountPlan) -> None:
    """Raises MountError, ConfigError or ExitError for what would fail later with poorer words."""
    if not takeover.is_coming(os.environ):  # else it is mounted, and a look at it would wait for us
        mountpoint.check_fuse()
        mountpoint.check_mountpoint(wanted.mountpoint, may_hide_files=wanted.may_hide_files)
    if wanted.settings.mount.allow_other and os.geteuid() != 0 and not _others_may_be_let_in():
        raise ConfigError("[mount] allow_other: only root may, as long as /etc/fuse.conf has no user_allow_other")
    try:
        wanted.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = wanted.cache.stat().st_uid
        if owner != os.geteuid():  # who may have planted links, and could read and change everybody's bytes
            raise ExitError(
                ExitCode.FAILED, f"the cache {wanted.cache} belongs to user {owner}: chown it, or take another"
            )
        wanted.cache.chmod(0o700)  # it holds everybody's bytes
        usable = os.access(wanted.cache, os.W_OK | os.X_OK)
    except OSError as error:
        raise ExitError(ExitCode.FAILED, f"the cache {wanted.cache} cannot be used: {error.strerror}") from None
    if not usable:
        raise ExitError(ExitCode.FAILED, f"the cache {wanted.cache} cannot be used: no write permission")


def _others_may_be_let_in(conf: Path = Path("/etc/fuse.conf")) -> bool:
    try:
        return re.search(r"^\s*user_allow_other\b", conf.read_text(), re.MULTILINE) is not None
    except OSError:
        return False


def start(wanted: MountPlan, arguments: Sequence[str]) -> int:
    """Starts a daemon in the background, with `arguments` after `mount`; returns its pid once the mount works."""
    check(wanted)
    # -P: code is never taken from the directory in which the command happens to be called
    program = [sys.executable, "-P", "-m", "tierfs.cli.tierfs", "mount", "--foreground"]
    return background.start(lambda pipe: [*program, f"--status-fd={pipe}", *arguments], _background_log(wanted))


def _background_log(wanted: MountPlan) -> Path:
    return Path(wanted.settings.log.file or wanted.cache / BACKGROUND_LOG)


def try_out(wanted: MountPlan) -> int:
    """Whether a daemon could start: its modules load, its settings hold, its bucket answers. Raises ExitError.

    For a restart, while the daemon before still has the mount and the cache.
    """
    from tierfs import daemon  # what the next one needs

    try:
        daemon.try_out(wanted.settings, wanted.source)
    except Exception as error:
        raise _explained(error) from error
    return ExitCode.OK


def serve(wanted: MountPlan, status: background.StatusPipe, run_daemon: RunDaemon, *, in_background: bool) -> int:
    """Is the daemon, until the mount ends; returns the exit code. Raises ExitError when it does not work."""
    try:
        check(wanted)
        settings = wanted.settings
        if in_background:
            log = attrs.evolve(settings.log, file=str(_background_log(wanted)))
            settings = attrs.evolve(settings, log=log)
            os.chdir("/")  # keeps no other file system busy
        set_up_logging(settings.log.level, settings.log.file, settings.log.format)
        return run_daemon(settings, wanted.source, wanted.mountpoint, wanted.cache, status.ready)
    except Exception as error:
        said = _explained(error)
        status.failed(said)
        if in_background:
            _log.error("%s", said, extra={"event": "TFS1002"})
        raise said from error


def _explained(error: Exception) -> ExitError:
    if isinstance(error, ExitError):
        return error
    cause = root_cause(error)
    if cause is not None:
        return as_exit_error(cause)
    _log.error("tierfs failed", exc_info=error, extra={"event": "TFS1003"})
    return ExitError(ExitCode.FAILED, f"a fault of tierfs, its log has the details: {type(error).__name__}: {error}")
