"""What is judged how."""

import pytest
from attrs import evolve

from tierfs.policy import diagnosis
from tierfs.policy.diagnosis import CacheDisk, Finding, Severity
from tierfs.units import GIB

DISK = CacheDisk(
    path="/cache", filesystem="ext4", size_bytes=100 * GIB, free_bytes=50 * GIB, free_inodes=10**6, is_rotational=False
)


def severities(findings: list[Finding]) -> dict[str, Severity]:
    return {finding.check: finding.severity for finding in findings}


@pytest.mark.parametrize(
    ("release", "severity"),
    [
        ("6.18.4-arch1", Severity.OK),
        ("6.14.0", Severity.OK),
        ("6.9.1", Severity.NOTE),
        ("6.8.0-45-generic", Severity.WARNING),
        ("5.15.0", Severity.WARNING),
        ("what is this", Severity.WARNING),
    ],
)
def test_kernels(release: str, severity: Severity) -> None:
    assert diagnosis.kernel(release).severity is severity


@pytest.mark.parametrize(
    ("ahead_s", "severity", "words"),
    [
        (0.4, Severity.OK, "ahead of"),
        (-4.9, Severity.OK, "behind"),
        (60.0, Severity.WARNING, "60.0 s ahead of"),
        (-899.0, Severity.WARNING, "behind"),
        (-901.0, Severity.ERROR, "901.0 s behind"),
        (None, Severity.NOTE, "no clock"),
    ],
)
def test_clocks(ahead_s: float | None, severity: Severity, words: str) -> None:
    found = diagnosis.clock(ahead_s)
    assert found.severity is severity and words in found.message


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        ({"filesystem": "tmpfs"}, "cache-filesystem", Severity.ERROR),
        ({"filesystem": "overlay"}, "cache-filesystem", Severity.ERROR),
        ({"filesystem": "nfs4"}, "cache-filesystem", Severity.WARNING),
        ({"filesystem": "fuse.sshfs"}, "cache-filesystem", Severity.WARNING),
        ({"filesystem": "xfs"}, "cache-filesystem", Severity.OK),
        ({"free_bytes": GIB - 1}, "cache-space", Severity.ERROR),
        ({"free_bytes": 4 * GIB}, "cache-space", Severity.WARNING),
        ({"free_inodes": 10}, "cache-space", Severity.ERROR),
        ({"free_inodes": None}, "cache-space", Severity.OK),
        ({"is_rotational": True}, "cache-disk", Severity.NOTE),
    ],
)
def test_disks(change: dict[str, object], check: str, severity: Severity) -> None:
    assert severities(diagnosis.cache(evolve(DISK, **change), reserve_bytes=GIB))[check] is severity  # type: ignore[arg-type]


def test_a_disk_of_which_nothing_is_known_is_not_judged() -> None:
    found = severities(diagnosis.cache(evolve(DISK, is_rotational=None), reserve_bytes=GIB))
    assert found == {"cache-filesystem": Severity.OK, "cache-space": Severity.OK}


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("ACCESS_DENIED", "grant s3:PutObject"),
        ("BAD_CREDENTIALS", "store.profile"),
        ("NO_SUCH_BUCKET", "store.region"),
        ("TIMEOUT", "store.endpoint_url"),
        ("PERMANENT", "server's log"),
    ],
)
def test_a_refused_verb_has_its_cure(error: str, cure: str) -> None:
    found = diagnosis.bucket_verb("put", error, "no", read_only=False)
    assert found.severity is Severity.ERROR and cure in found.action and found.reason
    assert ("-o ro" in found.action) is (error == "ACCESS_DENIED")


def test_a_verb_that_is_allowed() -> None:
    assert diagnosis.bucket_verb("get", "", "", read_only=True).severity is Severity.OK


def test_servers_that_can_less_are_no_reason_to_worry() -> None:
    found = diagnosis.server(["no conditional put: a window of one round trip"])
    assert [(one.severity, one.message, one.reason) for one in found] == [
        (Severity.NOTE, "no conditional put", "a window of one round trip")
    ]
    assert diagnosis.server([])[0].severity is Severity.OK


def test_what_is_missing_is_named() -> None:
    assert diagnosis.native("", has_holder=True).severity is Severity.OK
    assert "the extension (no compiler) and the holder" in diagnosis.native("no compiler", has_holder=False).message
    assert diagnosis.privileges(is_root=False, has_sys_admin=False).message == "not root"
    assert diagnosis.privileges(is_root=True, has_sys_admin=False).message == "no CAP_SYS_ADMIN"
    assert diagnosis.privileges(is_root=True, has_sys_admin=True).severity is Severity.OK
    assert diagnosis.descriptors(1024, 4096).severity is Severity.WARNING
    assert diagnosis.descriptors(1024, 1 << 20).severity is Severity.OK
    assert diagnosis.fuse("no FUSE: modprobe fuse").severity is Severity.ERROR
    assert diagnosis.log_room("/var/log/x", 1).severity is Severity.WARNING
    assert diagnosis.config("/etc/x:3: unknown", "/etc/x").message == "/etc/x:3: unknown"


def test_what_runs_beside_what_is_installed() -> None:
    assert diagnosis.versions("1", "1").severity is Severity.OK
    assert "tierctl restart" in diagnosis.versions("2", "1").action
    assert diagnosis.holder_program(is_replaced=True).severity is Severity.NOTE
    assert diagnosis.mode("passthrough", "x").severity is Severity.OK
    assert diagnosis.mode("pyfuse3", "x").severity is Severity.NOTE


def test_how_a_mount_fares() -> None:
    well = diagnosis.state(degraded="", failing=[], conflicts=0, held=0, full_share=0.1)
    assert severities(well) == {"state": Severity.OK}
    ill = diagnosis.state(degraded="unavailable", failing=[("a", "denied")], conflicts=2, held=3, full_share=0.97)
    assert severities(ill) == {
        "state": Severity.ERROR,
        "uploads": Severity.WARNING,
        "conflicts": Severity.NOTE,
        "removals": Severity.WARNING,
        "hot-tier": Severity.WARNING,
    }
    assert diagnosis.worst(ill) is Severity.ERROR and diagnosis.worst([]) is Severity.OK
