"""tierctl against the real control server: verbs, exit codes, and what it may import."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_daemon import ScriptedDaemon, real_server
from tierfs.cli import connecting, status, tasks, tierctl
from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode

FORBIDDEN_IMPORTS = ("attr", "attrs", "trio", "lmdb", "boto3", "botocore", "obstore", "pyfuse3", "logging", "asyncio")


EVENTS = {
    "source": "sqs",
    "sweep": {"interval_s": 3600.0, "sweeps": 2, "directories": 9, "found": 2, "last_age_s": 61.0, "is_running": True},
    "address": "https://sqs.eu-west-1.amazonaws.com/1/q",
    "state": "flowing",
    "state_age_s": 65.0,
    "reason": "",
    "last_event_age_s": 3.0,
    "lag_s": 0.25,
    "received": 7,
    "applied": 3,
    "own": 1,
    "known": 2,
    "ignored": 1,
    "malformed": 1,
    "errors": 0,
    "refused": 0,
    "pending": 0,
    "missed": 2,
    "missed_examples": ["a", "b"],
}


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@contextmanager
def mount(tmp_path: Path) -> Iterator[tuple[Path, ScriptedDaemon]]:
    """A registered mount; its directory holds what the scripted daemon knows."""
    place = tmp_path / "mnt"
    (place / "dir").mkdir(parents=True)
    for name in ("mine", "theirs", "dir/a"):
        (place / name).touch()
    with real_server(tmp_path) as (path, daemon):
        daemon.mountpoint = str(place)
        registry.register(registry.Entry("0" * 16, str(place), path, os.getpid(), "s3://bucket/prefix", "/cache"))
        yield place, daemon


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = tierctl.main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_status_fits_eighty_columns_and_tells_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.pending = {b"mine": 1 << 20}
        code, out, err = run(capsys, "status", place)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    for text in (
        "pyfuse3 (the holder is not built)",
        "pid 4242, up 1 h 2 min, 50.0 MiB of memory",
        "5.0 GiB of 10.0 GiB (50 %)",
        "1 pending, 1.0 MiB, oldest 12 s",
        "theirs: access denied: no",
        "5 entries, 40.0 KiB",
        "for 5 s: unavailable",
    ):
        assert text in out


def test_status_says_what_a_server_lacks() -> None:
    warning = "no conditional put: writes are checked by a HEAD before: a change within one round trip is overwritten"
    text = status.status_text({**ScriptedDaemon().status(), "store_warnings": [warning], "conflicts": 2})
    assert max(map(len, text.splitlines())) <= 80
    assert warning in " ".join(text.replace("server", "").split())
    assert "2; tierctl conflicts list" in text


def test_status_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, _):
        code, out, err = run(capsys, "status", place / "dir", "--json")
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert told["pid"] == 4242 and told["holder_pid"] is None and told["tier"]["size_bytes"] == 10 << 30
        # one mount: no path is needed
        assert json.loads(run(capsys, "status", "--json")[1]) == told


def test_a_redacted_status_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    full = ScriptedDaemon().status()
    public = {
        name: full[name] for name in ("pid", "source", "mountpoint", "mode", "uptime_s", "tier", "pending_exports")
    }
    text = status.status_text({**public, "is_degraded": True, "redacted": True})
    assert "its owner can see why" in text and "memory" not in text


def test_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.pending = {b"dir/a": 10}
        code, out, _ = run(capsys, "info", place / "dir" / "a")
        assert code == 0
        assert "file, 0640, owner 1000:0" in out and "1.5 KiB (1536 bytes)" in out and "not yet" in out
        assert ".123456789" in out
        assert "up to date" in run(capsys, "info", place / "mine")[1]
        assert json.loads(run(capsys, "info", place / "mine", "--json")[1])["uid"] == 1000


def test_info_shows_a_pending_upload_that_fails(tmp_path: Path) -> None:
    info = {
        **ScriptedDaemon().info(b"mine"),
        "synced": False,
        "residency": "partial",
        "pending": {"op": "reconcile", "age_s": 61.0, "attempts": 3, "error": "access denied"},
    }
    text = status.info_text("mine", info)
    assert "partial, 1.5 KiB here" in text
    assert "reconcile for 1 min 1 s, 3 failed attempts" in text and "access denied" in text


@pytest.mark.parametrize(
    ("mode", "words"), [("on-close", "close(2) waits"), ("read-only", "by a rule"), ("write-back", None)]
)
def test_info_shows_what_a_rule_makes_of_changes(mode: str, words: str | None) -> None:
    text = status.info_text("mine", {**ScriptedDaemon().info(b"mine"), "export": {"mode": mode, "quiet_s": 5.0}})
    assert ("changes" in text) is (words is not None) and (words or "") in text


def test_sync_and_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.pending = {b"mine": 10, b"dir/a": 10}
        assert run(capsys, "sync", place / "dir") == (0, "", "")
        assert daemon.pending == {b"mine": 10}
        assert run(capsys, "wait", "--synced", place / "dir") == (0, "", "")
        code, out, err = run(capsys, "wait", "--synced", "--timeout", "10ms", "--json", place)
        assert code == ExitCode.TIMEOUT and "after 0.01 s" in err
        assert json.loads(out)["error"]["exit_code"] == ExitCode.TIMEOUT
        assert json.loads(run(capsys, "sync", "--json")[1]) == {"schema": 1, "synced": True}
        assert daemon.synced == [b"dir", None]


def test_a_name_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        daemon.owners[b"\xff"] = 7
        code, out, _ = run(capsys, "info", os.fsencode(place).decode() + "/" + os.fsdecode(b"\xff"))
        assert code == 0 and "\\xff" in out and "owner 7:0" in out


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("info", "mnt/absent"), ExitCode.NOT_FOUND, "No such file or directory"),
        (("info", "/proc"), ExitCode.NO_DAEMON, "/proc is in no tierfs mount"),
        (("sync", "elsewhere"), ExitCode.NO_DAEMON, "in no tierfs mount"),
    ],
)
def test_wrong_paths(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    code: ExitCode,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with mount(tmp_path):
        got, out, err = run(capsys, *argv)
    assert (got, out) == (code, "")
    assert err.startswith("tierctl: ") and message in err and err.count("\n") == 1


def test_no_mount_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "status")
    assert code == ExitCode.NO_DAEMON and "no tierfs mount is known to you" in err
    assert run(capsys, "mounts") == (0, "", "")


def test_a_dead_daemon_is_told_with_the_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, _):
        pass
    code, _, err = run(capsys, "status", place)
    assert code == ExitCode.NO_DAEMON
    assert "is gone" in err and f"tierfs umount {place}" in err and "s3://bucket/prefix" in err
    assert "dead" in run(capsys, "mounts")[1]
    assert json.loads(run(capsys, "mounts", "--json")[1])["mounts"][0]["running"] is False


def test_a_daemon_that_hangs_does_not_hang_tierctl(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "ANSWER_LIMIT_S", 0.05)
    path = str(tmp_path / "h.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(4)
        registry.register(registry.Entry("1" * 16, str(tmp_path), path, os.getpid(), "s3://b", "/cache"))
        code, _, err = run(capsys, "status")
    assert code == ExitCode.NO_DAEMON and "it may hang" in err


@pytest.mark.parametrize("argv", [["wait"], ["wait", "--synced", "--timeout", "soon"], ["info"], ["explode"], []])
def test_wrong_usage_names_the_right_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tierctl.main(argv)
    assert caught.value.code == ExitCode.USAGE
    assert "usage: tierctl" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [[], ["status"], ["info"], ["sync"], ["sync", "held"], ["wait"], ["mounts"], ["conflicts"]]
)
def test_help_shows_examples(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tierctl.main([*argv, "--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0 and f"  tierctl {argv[0] if argv else 'status'}" in out.split("example")[1]
    if not argv:
        assert "exit codes:" in out and "  6  no such file" in out


def test_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        code, out, _ = run(capsys, "events", "status", place)
        assert code == 0 and "no source of events" in out and "  events" not in run(capsys, "status", place)[1]
        daemon.events = EVENTS
        text = run(capsys, "events", "status", place)[1]
        for expected in (
            "sqs, flowing for 1 min 5 s, last 3 s ago, 2 missed",
            "7: 3 applied, 1 own",
            "0.25 s",
            "such as a",
        ):
            assert expected in text
        assert json.loads(run(capsys, "events", "status", "--json")[1]) == {"schema": 1, **EVENTS}
        assert "sqs, flowing for 1 min 5 s" in run(capsys, "status", place)[1]


def test_a_scan_shows_in_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert "  scan" not in run(capsys, "status", place)[1]
        scan = {"state": "flat", "directories": 7, "requests": 12, "at": ["a/b", "c"], "age_s": None, "error": ""}
        daemon.scan = scan
        assert "7 directories by 12 requests since the mount, at 'a/b'" in run(capsys, "status", place)[1]
        assert json.loads(run(capsys, "status", "--json", place)[1])["scan"] == scan
        daemon.scan = {**scan, "error": "unavailable"}
        assert "it waits: unavailable" in " ".join(run(capsys, "status", place)[1].split())
        daemon.scan = {**scan, "state": "done", "at": [], "age_s": 65.0}
        assert "done 1 min 5 s ago" in run(capsys, "status", place)[1]


def test_events_are_set_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, _daemon):
        code, out, _ = run(capsys, "events", "setup", place, "--dry-run", "--arn", "arn:minio:sqs::1:webhook")
        assert code == 0 and "would set in the notifications of bucket bucket:" in out
        assert '    "QueueArn": "arn:minio:sqs::1:webhook"' in out
        assert run(capsys, "events", "setup", place)[1].startswith("set in the notifications")
        assert "already" in run(capsys, "events", "setup", place)[1]
        assert json.loads(run(capsys, "events", "setup", "--json")[1])["changes"] == []
        code, _, err = run(capsys, "events", "setup", "--arn", "queue")
        assert code != 0 and "must begin with arn:" in err


def test_tierctl_starts_without_the_daemon_and_its_libraries(run_directory: Path) -> None:
    """The start takes under 150 ms as long as nothing heavy is imported; the time itself depends on the machine."""
    program = "import sys\nfrom tierfs.cli import tierctl\ntierctl.main(['mounts'])\nprint(*sys.modules)"
    # -I: neither this directory nor the user's environment; -S would lose the package itself
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "tierfs.control.client" in loaded
    assert not loaded & set(FORBIDDEN_IMPORTS)
    # what the commands are made of, and of the rest only the client's half
    assert {name for name in loaded if name.startswith("tierfs.") and not name.startswith("tierfs.cli.")} == {
        "tierfs.cli",
        "tierfs.control",
        "tierfs.control.client",
        "tierfs.control.exitcodes",
        "tierfs.control.protocol",
        "tierfs.control.registry",
        "tierfs.units",
    }


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m tierfs.cli.tierctl mounts --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_no_verb_lost_its_function() -> None:
    parser: Any = tierctl.parser()
    verbs = parser._subparsers._group_actions[0].choices
    assert set(verbs) >= {
        "status",
        "info",
        "sync",
        "sync approve",
        "sync held",
        "sync reject",
        *tasks.KINDS,
        "tasks",
        "undelete",
        "versions",
        "wait",
        "conflicts",
        "events",
        "mounts",
        "queue",
        "watch",
    }
