"""What is wrong with a machine, a bucket or a mount, judged from what was found there. Pure.

A finding has the stable name of its check, what was found, why that matters and what to do. Programs rely on names and
severities; words may change.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from tierfs.units import GIB, MIB, format_size

CLOCK_SKEW_REFUSED_S: Final = 900.0  # S3 refuses signatures that are older or newer
CLOCK_SKEW_DOUBTFUL_S: Final = 5.0
DESCRIPTORS_ENOUGH: Final = 16_384
_LOG_ROOM_BYTES: Final = 64 * MIB
_SHARE_LOW: Final = 0.05
_RESENDS: Final = (6, 9)
_BRAKES: Final = (6, 14)
_MEMORY_DISKS: Final = frozenset({"tmpfs", "ramfs"})
_STACKED: Final = frozenset({"overlay", "aufs", "unionfs"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "9p", "virtiofs"})
_RIGHTS: Final = {
    "list": ("s3:ListBucket", "no directory can be shown"),
    "head": ("s3:GetObject", "attributes cannot be read"),
    "get": ("s3:GetObject", "files cannot be read"),
    "put": ("s3:PutObject", "nothing that is written gets into the bucket"),
    "multipart": ("s3:PutObject and s3:AbortMultipartUpload", "large files do not get into the bucket"),
    "delete": ("s3:DeleteObject", "what is removed or renamed here stays in the bucket"),
}


class Severity(enum.IntEnum):
    """How bad. The worst one of a report decides its exit code."""

    OK = 0
    NOTE = 1  # works; could be better or is worth knowing
    WARNING = 2  # works now and may not tomorrow
    ERROR = 3  # does not work


@frozen
class Finding:
    """One line of a report. `reason` and `action` are empty where all is well."""

    check: str
    severity: Severity
    message: str
    reason: str = ""
    action: str = ""


def worst(findings: Iterable[Finding]) -> Severity:
    """OK where there are none."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def kernel_version(release: str) -> tuple[int, int]:
    """The first two numbers of what `uname -r` prints; (0, 0) for something else."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def kernel(release: str) -> Finding:
    """What this kernel can do for a mount."""
    version = kernel_version(release)
    if version >= _BRAKES:
        return Finding("kernel", Severity.OK, f"Linux {release}")
    if version >= _RESENDS:
        return Finding(
            "kernel",
            Severity.NOTE,
            f"Linux {release}: hot files are read by the kernel alone, but not written",
            "writers of a full hot tier can be held only from Linux 6.14 on",
            "use Linux 6.14 or newer where files are changed in place",
        )
    return Finding(
        "kernel",
        Severity.WARNING,
        f"Linux {release} has no FUSE passthrough, and does not ask a restarted daemon again",
        "hot files go through a process in user space; a restart answers what was asked just then with an error",
        "use Linux 6.9 or newer, best 6.14",
    )


def fuse(problem: str) -> Finding:
    """`problem` says what stands in the way, "" when nothing does."""
    if not problem:
        return Finding("fuse", Severity.OK, "FUSE can be used")
    return Finding("fuse", Severity.ERROR, problem, "nothing can be mounted", "do what the line says, then try again")


def native(extension_problem: str, *, has_holder: bool) -> Finding:
    """Whether the parts in C are there."""
    if not extension_problem and has_holder:
        return Finding("native", Severity.OK, "the native parts are installed")
    missing = [f"the extension ({extension_problem})"] if extension_problem else []
    missing += [] if has_holder else ["the holder"]
    return Finding(
        "native",
        Severity.WARNING,
        f"missing: {' and '.join(missing)}",
        "every request goes through Python, and a mount does not outlive its daemon",
        "install gcc and libfuse3-dev, then install tierfs again",
    )


def privileges(*, is_root: bool, has_sys_admin: bool) -> Finding:
    """Whether the kernel will take backing files."""
    if has_sys_admin:
        return Finding("privileges", Severity.OK, "root" if is_root else "CAP_SYS_ADMIN")
    return Finding(
        "privileges",
        Severity.NOTE,
        "no CAP_SYS_ADMIN" if is_root else "not root",
        "the kernel takes no backing files then: hot files are served by the holder, which is slower",
        "mount as root, or in a container with --cap-add SYS_ADMIN, where speed counts",
    )


def descriptors(soft: int, hard: int) -> Finding:
    """Open files of one process: each open file of a program is one of the daemon, too."""
    text = f"{soft} open files, at most {hard}"
    if hard >= DESCRIPTORS_ENOUGH:
        return Finding("limits", Severity.OK, text)
    return Finding(
        "limits",
        Severity.WARNING,
        text,
        "when all programs together have more files open, opening fails with EMFILE",
        "raise LimitNOFILE of the unit, or ulimit -Hn",
    )


def clock(ahead_s: float | None) -> Finding:
    """This machine's clock beside the server's."""
    if ahead_s is None:
        return Finding("clock", Severity.NOTE, "the store has no clock to compare with")
    text = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the server"
    if abs(ahead_s) < CLOCK_SKEW_DOUBTFUL_S:
        return Finding("clock", Severity.OK, text)
    action = "set the clock by NTP (timedatectl set-ntp true)"
    if abs(ahead_s) < CLOCK_SKEW_REFUSED_S:
        reason = "times of changes here and there cannot be compared; from 15 min on every request is refused"
        return Finding("clock", Severity.WARNING, text, reason, action)
    return Finding("clock", Severity.ERROR, text, "the server refuses every signature", action)


def bucket_verb(verb: str, error: str, message: str, *, read_only: bool) -> Finding:
    """One thing that a mount does in a bucket, and how the bucket took it; `error` as in `examination.Tried`."""
    name = f"bucket-{verb}"
    if not error:
        return Finding(name, Severity.OK, f"{verb} is allowed")
    right, consequence = _RIGHTS[verb]
    if error in ("UNAVAILABLE", "TIMEOUT", "THROTTLED"):
        action = "check store.endpoint_url, the network, proxies and the server itself"
    elif error == "BAD_CREDENTIALS":
        action = "check the environment, store.profile, ~/.aws, or the role of the machine"
    elif error == "NO_SUCH_BUCKET":
        action = "check the name of the bucket, and store.region"
    elif error == "ACCESS_DENIED":
        writes = "" if read_only else ", or mount with -o ro"
        action = f"grant {right} (`tierfs iam SOURCE` prints a policy){writes if verb in ('put', 'delete') else ''}"
    else:
        action = "see the server's log for the request"
    return Finding(name, Severity.ERROR, f"{verb}: {message}", consequence, action)


def server(warnings: Sequence[str]) -> list[Finding]:
    """What the server cannot do, as the probe says it: "no conditional put: what that means"."""
    if not warnings:
        return [Finding("server", Severity.OK, "the server does all that tierfs asks for")]
    findings = []
    for warning in warnings:
        what, _, meaning = warning.partition(": ")
        findings.append(Finding("server", Severity.NOTE, what, meaning, "see README, Servers differ"))
    return findings


@frozen(kw_only=True)
class CacheDisk:
    """The disk of the cache. `is_rotational` None: not known."""

    path: str
    filesystem: str
    size_bytes: int
    free_bytes: int
    free_inodes: int | None
    is_rotational: bool | None


def cache(disk: CacheDisk, *, reserve_bytes: int) -> list[Finding]:
    """`reserve_bytes`: what the hot tier leaves to others (hot_tier.min_free_bytes)."""
    return [_filesystem(disk), _room(disk, reserve_bytes), *_spins(disk)]


def _filesystem(disk: CacheDisk) -> Finding:
    text = f"{disk.path} is on {disk.filesystem}"
    action = "choose a directory on a local disk: --cache DIR"
    if disk.filesystem in _MEMORY_DISKS:
        reason = "what is not uploaded is lost at the next boot, and hot files take memory"
        return Finding("cache-filesystem", Severity.ERROR, text, reason, action)
    if disk.filesystem in _STACKED:
        reason = "the kernel takes no backing files from it, and what is not uploaded goes with the container"
        return Finding("cache-filesystem", Severity.ERROR, text, reason, f"{action}, in a container a volume")
    if disk.filesystem in _REMOTE or disk.filesystem.startswith("fuse"):
        reason = "it is as slow as the way to the bucket, and the index needs a local disk's locks and syncs"
        return Finding("cache-filesystem", Severity.WARNING, text, reason, action)
    return Finding("cache-filesystem", Severity.OK, text)


def _room(disk: CacheDisk, reserve_bytes: int) -> Finding:
    text = f"{format_size(disk.free_bytes)} of {format_size(disk.size_bytes)} free"
    action = "free some of the disk, make hot_tier.size_bytes smaller, or choose another --cache"
    if disk.free_inodes is not None and disk.free_inodes < 1000:
        return Finding(
            "cache-space", Severity.ERROR, f"{disk.free_inodes} inodes left", "each hot file takes one", action
        )
    if disk.free_bytes < reserve_bytes:
        reason = f"hot_tier.min_free_bytes leaves {format_size(reserve_bytes)} to others: nothing can become hot"
        return Finding("cache-space", Severity.ERROR, text, reason, action)
    if disk.free_bytes < max(_SHARE_LOW * disk.size_bytes, min(2 * reserve_bytes, GIB)):
        return Finding("cache-space", Severity.WARNING, text, "writers wait for uploads when it is full", action)
    return Finding("cache-space", Severity.OK, text)


def _spins(disk: CacheDisk) -> list[Finding]:
    if disk.is_rotational is None:
        return []
    if disk.is_rotational:
        # virtual disks say so, too, whatever they are on
        text = "the kernel calls it a rotating disk"
        reason = "if it is one, random reads of hot files and the index wait for its arm"
        return [Finding("cache-disk", Severity.NOTE, text, reason, "put the cache on an SSD")]
    return [Finding("cache-disk", Severity.OK, "no rotating disk")]


def log_room(path: str, free_bytes: int) -> Finding:
    """Where the log is written; a full disk loses lines and nothing else."""
    if free_bytes >= _LOG_ROOM_BYTES:
        return Finding("log", Severity.OK, f"{path}, {format_size(free_bytes)} free")
    return Finding(
        "log",
        Severity.WARNING,
        f"{path}: {format_size(free_bytes)} free",
        "lines that do not fit are lost: why something failed cannot be found out later",
        "free some of the disk, or set log.file to another one; deploy/logrotate.d has an example",
    )


def config(problem: str, path: str) -> Finding:
    """`problem` is the error of a settings file, "" for one that can be used; `path` "" where there is none."""
    if problem:
        return Finding("config", Severity.ERROR, problem, "the next mount ends with this line", "correct the file")
    return Finding("config", Severity.OK, f"{path} can be used" if path else "no settings file: all defaults")


def versions(here: str, daemon: str) -> Finding:
    """Of this program and of the daemon."""
    if here == daemon:
        return Finding("version", Severity.OK, f"daemon and tierctl are {here}")
    return Finding(
        "version",
        Severity.WARNING,
        f"the daemon is {daemon}, tierctl {here}",
        "what was installed is not what runs",
        "tierctl restart brings the daemon to the installed version, without unmounting",
    )


def holder_program(*, is_replaced: bool) -> Finding:
    """Whether the program that the holder runs is still the installed one."""
    if not is_replaced:
        return Finding("holder", Severity.OK, "the holder is the installed one")
    return Finding(
        "holder",
        Severity.NOTE,
        "the holder was installed anew since it was started",
        "tierctl restart leaves the holder as it is: what changed in it comes with the next mount",
        "unmount and mount again when that suits",
    )


def mode(name: str, reason: str) -> Finding:
    """Which of the ways to the kernel is on."""
    if name == "passthrough":
        return Finding("mode", Severity.OK, f"{name}: {reason}")
    return Finding("mode", Severity.NOTE, name, reason, "see README, How fast, and in which mode")


def state(
    *, degraded: str, failing: Sequence[tuple[str, str]], conflicts: int, held: int, full_share: float
) -> list[Finding]:
    """How a running mount fares. `held`: names that the bucket has lost and that are kept here."""
    findings = []
    if degraded:
        reason = "hot files go on; what needs the bucket or the index waits or fails"
        findings.append(Finding("state", Severity.ERROR, degraded, reason, "see README, Operating"))
    for path, error in failing:
        reason = "it is not in the bucket"
        findings.append(Finding("uploads", Severity.WARNING, f"{path}: {error}", reason, "tierctl queue says more"))
    if conflicts:
        text = f"{conflicts} open conflict{'s' if conflicts > 1 else ''}"
        action = "tierctl conflicts list, then resolve"
        findings.append(Finding("conflicts", Severity.NOTE, text, "files were changed on both sides", action))
    if held:
        text = f"{held} names are gone from the bucket and kept here"
        action = "tierctl sync held, then approve or reject"
        findings.append(Finding("removals", Severity.WARNING, text, "more went at once than the guard allows", action))
    if full_share > 1 - _SHARE_LOW:
        text = f"{100 * full_share:.0f} % of the hot tier is not uploaded yet"
        action = "a faster way to the bucket, or a larger hot tier"
        findings.append(Finding("hot-tier", Severity.WARNING, text, "writers wait for the upload", action))
    return findings or [Finding("state", Severity.OK, "the mount is well")]
