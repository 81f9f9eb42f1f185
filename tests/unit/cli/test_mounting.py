"""Settling what to mount: sources, options, places; and the daemon's start as its starter sees it."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tierfs.cli import background, mounting, tierfs
from tierfs.cli.background import StatusPipe
from tierfs.cli.mounting import MountPlan
from tierfs.config import Settings
from tierfs.control import mountpoint
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.errors import ConfigError, StoreError, StoreErrorKind


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers, raising, here = root.level, list(root.handlers), logging.raiseExceptions, Path.cwd()
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.raiseExceptions = raising
    os.chdir(here)


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about what comes after the check of the machine, which has its own."""
    monkeypatch.setattr(mountpoint, "check_fuse", lambda: None)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/ä b", "s3://bucket/ä b"),
        ("file:///srv/store/", "file:///srv/store"),
        ("file:///srv/../store", "file:///store"),
    ],
)
def test_sources_have_one_form(text: str, source: str) -> None:
    assert mounting.parse_source(text) == source
    assert mounting.parse_source(source) == source


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("bucket/prefix", "write s3://bucket/prefix"),
        ("/srv/store", "write file:///srv/store"),
        ("./store", "write file:///"),
        ("gs://bucket", "not gs://"),
        ("S3://bucket", "not S3://"),
        ("file://srv/store", "a directory is absolute"),
        ("s3://", "'' is no name of a bucket"),
        ("s3:///a", "'' is no name of a bucket"),
        ("s3://user:pw@bucket", "is no name of a bucket"),
        ("s3://bucket/a//b", "a prefix has no empty, . or .. parts"),
        ("s3://bucket/../b", "a prefix has no empty, . or .. parts"),
        ("", "sources are s3://bucket/prefix and file:///path"),
    ],
)
def test_what_is_no_source(text: str, why: str) -> None:
    with pytest.raises(ExitError) as caught:
        mounting.parse_source(text)
    assert caught.value.code is ExitCode.USAGE and why in str(caught.value)


def test_options_of_fstab_and_of_people() -> None:
    options = mounting.parse_options(
        [
            "defaults,_netdev,x-systemd.automount,nofail",
            "ro,allow_other,nosuid,nodev",
            "uid=5,export.quiet_s=1s,cache=/c",
        ]
    )
    assert options.settings == {
        "read_only": "true",
        "allow_other": "true",
        "uid": "5",
        "export.quiet_s": "1s",
        "kernel_options": "nosuid:nodev",
    }
    assert (options.cache, options.config, options.may_hide_files) == ("/c", "", False)
    assert mounting.parse_options(["ro,nonempty", "rw"]).settings == {"read_only": "false"}
    assert mounting.parse_options(["nonempty"]).may_hide_files
    assert mounting.parse_options([]).settings == {}


def test_the_default_cache_is_stable_and_one_a_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    first = mounting.default_cache("s3://b", Path("/m"))
    assert first.parent == Path("/var/cache/tierfs")
    assert first == mounting.default_cache("s3://b", Path("/m")) != mounting.default_cache("s3://b", Path("/n"))
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert mounting.default_cache("s3://b", Path("/m")).parent == Path("/x/tierfs")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification says to ignore it
    monkeypatch.setenv("HOME", "/h")
    assert mounting.default_cache("s3://b", Path("/m")).parent == Path("/h/.cache/tierfs")


def plan(tmp_path: Path, **changes: str) -> MountPlan:
    place = tmp_path / "mnt"
    place.mkdir(exist_ok=True)
    words = {"directory": str(place), "cache": str(tmp_path / "cache"), "config_file": "", **changes}
    options = [words.pop("options")] if "options" in words else []
    return mounting.plan(
        "s3://bucket", words["directory"], cache=words["cache"], config_file=words["config_file"], options=options
    )


def test_a_plan_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.toml").write_text("[export]\nquiet_s = 9\n")
    made = plan(tmp_path, directory="mnt", cache="cache", config_file="t.toml", options="export.concurrency=3")
    assert (made.mountpoint, made.cache) == (tmp_path / "mnt", tmp_path / "cache")
    assert (made.settings.export.quiet_s, made.settings.export.concurrency) == (9.0, 3)
    # fstab has only -o to say it with
    assert plan(tmp_path, cache="", options=f"cache={tmp_path}/other,config={tmp_path}/t.toml").settings == (
        plan(tmp_path, config_file="t.toml").settings
    )


@pytest.mark.parametrize("cache", ["mnt", "mnt/cache", "."])
def test_cache_and_mountpoint_must_not_lie_in_each_other(tmp_path: Path, cache: str) -> None:
    with pytest.raises(ExitError, match="must not lie in each other") as caught:
        plan(tmp_path, cache=str(tmp_path / cache))
    assert caught.value.code is ExitCode.USAGE


def test_the_cache_is_made_private(tmp_path: Path, fuse: None) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    mounting.check(plan(tmp_path))
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_made(tmp_path: Path, fuse: None) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExitError, match=r"cache .* cannot be used: Not a directory"):
        mounting.check(plan(tmp_path, cache=str(tmp_path / "file" / "cache")))


def test_who_may_let_others_in(tmp_path: Path) -> None:
    conf = tmp_path / "fuse.conf"
    assert not mounting._others_may_be_let_in(conf)
    conf.write_text("# user_allow_other\nmount_max = 10\n")
    assert not mounting._others_may_be_let_in(conf)
    conf.write_text("mount_max = 10\nuser_allow_other\n")
    assert mounting._others_may_be_let_in(conf)


# --- the daemon's side


def serve(
    wanted: MountPlan, run_daemon: mounting.RunDaemon, *, in_background: bool = True
) -> tuple[object, list[object]]:
    """(exit code or ExitError, what was said through the pipe)."""
    reading, writing = os.pipe()
    ended: object
    try:
        ended = mounting.serve(wanted, StatusPipe(writing), run_daemon, in_background=in_background)
    except ExitError as error:
        ended = error
    with os.fdopen(reading, "rb") as pipe:
        return ended, [json.loads(line) for line in pipe]


def test_the_daemon_gets_what_was_settled_and_says_when_it_is_ready(tmp_path: Path, fuse: None) -> None:
    seen: list[object] = []

    def run(settings: Settings, source: str, place: Path, cache: Path, ready: Callable[[], None]) -> int:
        seen.extend([settings.log.file, source, place, cache, Path.cwd()])
        logging.getLogger("tierfs").info("hello")
        ready()
        return 0

    assert serve(plan(tmp_path), run) == (0, [{"ready": True}])
    log = tmp_path / "cache" / "tierfs.log"
    assert seen == [str(log), "s3://bucket", tmp_path / "mnt", tmp_path / "cache", Path("/")]
    assert "hello" in log.read_text()


def test_a_failure_is_said_with_its_code_also_out_of_a_group(tmp_path: Path, fuse: None) -> None:
    def run(*_: object) -> int:
        raise ExceptionGroup("nursery", [StoreError(StoreErrorKind.NO_SUCH_BUCKET, "the bucket b")])

    ended, said = serve(plan(tmp_path), run)
    assert isinstance(ended, ExitError) and ended.code is ExitCode.NO_BUCKET
    assert said == [{"code": 14, "message": "no such bucket: the bucket b", "errno": 19}]
    assert "TFS1002 no such bucket: the bucket b" in (tmp_path / "cache" / "tierfs.log").read_text()


def test_a_fault_leaves_its_traceback_in_the_log(tmp_path: Path, fuse: None) -> None:
    def run(*_: object) -> int:
        raise ZeroDivisionError("by what")

    ended, said = serve(plan(tmp_path), run)
    assert isinstance(ended, ExitError) and ended.code is ExitCode.FAILED and "ZeroDivisionError: by what" in str(ended)
    assert len(said) == 1
    assert "Traceback" in (tmp_path / "cache" / "tierfs.log").read_text()


# --- the command


def test_the_command_in_the_foreground(tmp_path: Path, fuse: None, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mnt").mkdir()
    words = ["mount", "s3://bucket", str(tmp_path / "mnt"), "--cache", str(tmp_path / "c"), "--foreground"]

    def refuse(*_: object) -> int:
        raise StoreError(StoreErrorKind.UNAVAILABLE, "https://s3.example.org: connection refused")

    assert tierfs.main(words, run_daemon=lambda *_: 0) == 0
    assert tierfs.main([*words, "-o", "log.level=error"], run_daemon=refuse) == ExitCode.UNREACHABLE
    assert capsys.readouterr().err == "tierfs: unavailable: https://s3.example.org: connection refused\n"


def test_the_command_in_the_background_hands_everything_on(
    tmp_path: Path, fuse: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], Path]] = []

    def start(command: Callable[[int], list[str]], log: Path) -> int:
        started.append((list(command(9)), log))
        return 4711

    monkeypatch.setattr(background, "start", start)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-mnt").mkdir()
    (tmp_path / "t.toml").write_text("[export]\nquiet_s = 9\n")
    words = ["--config", "t.toml", "-o", "ro,uid=5", "-o", "export.concurrency=3", "--json"]
    assert tierfs.main(["mount", *words, "--", "s3://bucket/p/", "-mnt"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["pid"] == 4711 and out["mountpoint"] == str(tmp_path / "-mnt") and out["source"] == "s3://bucket/p"

    (command, log) = started[0]
    assert log == Path(out["cache"], "tierfs.log")
    module = command.index("tierfs.cli.tierfs")
    options = tierfs.parser().parse_args(command[module + 1 :])
    assert options.foreground and options.status_fd == 9
    again = mounting.plan(
        options.source,
        options.directory,
        cache=options.cache,
        config_file=options.config,
        options=options.options,
    )
    assert (again.mountpoint, str(again.cache), again.source) == (tmp_path / "-mnt", out["cache"], "s3://bucket/p")
    assert again.settings.mount.read_only and again.settings.mount.uid == 5
    assert (again.settings.export.quiet_s, again.settings.export.concurrency) == (9.0, 3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["mount", "s3://bucket", "absent"], ExitCode.MOUNTPOINT, "does not exist: mkdir -p"),
        (["mount", "s3://bucket", "full"], ExitCode.NOT_EMPTY, "is not empty"),
        (["mount", "s3://bucket", "full/file"], ExitCode.MOUNTPOINT, "is no directory"),
        (["mount", "s3://bucket", "mnt", "-o", "filemode=0600"], ExitCode.CONFIG, "did you mean 'file_mode'?"),
        (["mount", "s3://bucket", "mnt", "--config", "absent.toml"], ExitCode.CONFIG, "No such file"),
        (["mount", "bucket", "mnt"], ExitCode.USAGE, "write s3://bucket"),
        (["umount", "mnt"], ExitCode.NO_DAEMON, "nothing is mounted at"),
    ],
)
def test_what_can_be_told_before_anything_starts(
    tmp_path: Path,
    fuse: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: ExitCode,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))
    (tmp_path / "mnt").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert tierfs.main([*words, "--json"]) == code
    out, err = capsys.readouterr()
    assert err.startswith("tierfs: ") and err.count("\n") == 1 and message in err
    assert json.loads(out)["error"]["exit_code"] == code


def test_help_shows_examples_and_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["mount", "--help"], ["umount", "--help"]):
        with pytest.raises(SystemExit) as caught:
            tierfs.main(words)
        out = capsys.readouterr().out
        assert caught.value.code == 0 and "  tierfs umount /mnt/data" in out and "status-fd" not in out
    with pytest.raises(SystemExit):
        tierfs.main(["--help"])
    assert " 18  another daemon uses this cache" in capsys.readouterr().out


def test_a_wrong_setting_reaches_the_starter_too(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    assert tierfs.main(["mount", "s3://bucket", "/mnt", "-o", "zzz", "--foreground", f"--status-fd={writing}"]) == 20
    with os.fdopen(reading, "rb") as pipe:
        said = json.loads(pipe.read())
    assert said["code"] == ExitCode.CONFIG and "unknown key 'zzz'" in said["message"]
    with pytest.raises(ConfigError):
        mounting.plan("s3://bucket", "/mnt", cache="", config_file="", options=["zzz"])


def test_a_cache_of_another_user_is_refused(
    tmp_path: Path, fuse: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """He could have left links in it, and could read and change everybody's bytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of another user")
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "run"))
    (tmp_path / "mnt").mkdir()
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", 1234, 1234)
    words = ["mount", "s3://bucket", str(tmp_path / "mnt"), "--cache", str(tmp_path / "cache")]
    assert tierfs.main(words) == ExitCode.FAILED
    assert "belongs to user 1234" in capsys.readouterr().err
