"""What mount(8) and umount(8) say to their helpers, and what they hear back."""

import os
from collections.abc import Sequence

import pytest

from tierfs.cli import mounthelper, tierfs
from tierfs.control.exitcodes import ExitCode


class Command:
    """Stands for the tierfs command."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.code = ExitCode.OK

    def __call__(self, argv: Sequence[str]) -> int:
        self.calls.append(list(argv))
        return int(self.code)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    made = Command()
    monkeypatch.setattr(tierfs, "main", made)
    return made


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (["-o", "rw,_netdev,nofail"], ["-o", "rw,_netdev,nofail"]),
        ([], []),
        (["-n", "-v", "-s", "-o", "rw", "-t", "fuse.tierfs"], ["-o", "rw"]),
        (["-o", "ro,user=alice,comment=x,uid=1000"], ["-o", "ro,uid=1000"]),
        (["-r", "-o", "noatime"], ["-o", "ro,noatime"]),
        (["-o", "user=alice"], []),
    ],
)
def test_mount_hands_on_what_concerns_us(command: Command, argv: list[str], options: list[str]) -> None:
    assert mounthelper.mount(["s3://bucket/prefix", "/mnt", *argv]) == 0
    assert command.calls == [["mount", *options, "--", "s3://bucket/prefix", "/mnt"]]


def test_a_source_that_looks_like_an_option_is_none(command: Command) -> None:
    mounthelper.mount(["-o", "rw", "--", "-x", "/mnt"])
    assert command.calls[0][-3:] == ["--", "-x", "/mnt"]


def test_a_fake_mount_mounts_nothing(command: Command) -> None:
    assert mounthelper.mount(["s3://bucket", "/mnt", "-f"]) == 0
    assert not command.calls


@pytest.mark.parametrize(
    ("argv", "words"), [([], []), (["-l"], ["--lazy"]), (["-f"], ["--lazy"]), (["-t", "fuse.tierfs", "-v"], [])]
)
def test_umount(command: Command, argv: list[str], words: list[str]) -> None:
    assert mounthelper.umount(["/mnt", *argv]) == 0
    assert command.calls == [["umount", *words, "--", "/mnt"]]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (ExitCode.USAGE, 1),
        (ExitCode.CONFIG, 1),
        (ExitCode.NO_FUSE, 2),
        (ExitCode.INTERRUPTED, 8),
        (ExitCode.BUSY, 32),
        (ExitCode.UNREACHABLE, 32),
    ],
)
def test_codes_are_those_of_mount(command: Command, code: ExitCode, said: int) -> None:
    command.code = code
    assert mounthelper.mount(["s3://bucket", "/mnt"]) == said


def test_wrong_usage_is_told_as_mount_expects(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        mounthelper.mount(["only-a-source"])
    assert ended.value.code == mounthelper.USAGE and "mount.tierfs: " in capsys.readouterr().err


def test_at_boot_there_is_no_environment(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "HOME"):
        monkeypatch.delenv(name)
    mounthelper.mount(["s3://bucket", "/mnt"])
    assert "/usr/bin" in os.environ["PATH"]
