"""Finding mounts by records that may be stale, broken or somebody else's."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierfs.control import registry
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.control.registry import Entry


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run"
    monkeypatch.setenv("TIERFS_RUN_DIR", str(directory))
    return directory


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for listener in made:
        listener.close()


def make(
    run: Path, mountpoint: Path, listeners: list[socket.socket] | None = None, source: str = "s3://bucket"
) -> Entry:
    """A registered mount; it has a listener when there is a list to keep it in."""
    mountpoint.mkdir(parents=True, exist_ok=True)
    identifier = registry.mount_id(source, str(mountpoint))
    path = str(run / f"{identifier[:6]}.sock")
    entry = Entry(identifier, str(mountpoint), path, 4242, source, "/cache")
    registry.register(entry)
    if listeners is not None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(1)
        listeners.append(listener)
    return entry


def refused(path: Path | str | None) -> ExitError:
    with pytest.raises(ExitError) as caught:
        registry.find(None if path is None else str(path))
    return caught.value


def test_mount_ids_are_stable_and_differ_by_source_and_place() -> None:
    ids = {
        registry.mount_id(*pair) for pair in [("s3://a", "/m"), ("s3://b", "/m"), ("s3://a", "/n"), ("s3://a/", "m")]
    }
    assert len(ids) == 4
    # a cache of an earlier version is found again only if this never changes
    assert registry.mount_id("s3://a", "/m") == "a06df1c825d64850"
    assert registry.mount_id("s3://a", "/m\udcff") != registry.mount_id("s3://a", "/m")


def test_a_registered_mount_is_listed_until_it_is_taken_off(run: Path, tmp_path: Path) -> None:
    entry = make(run, tmp_path / "mnt")
    assert registry.entries() == [entry]
    assert [path.name for path in run.iterdir()] == [f"{entry.mount_id}.json"]
    registry.unregister(entry.mount_id)
    registry.unregister(entry.mount_id)
    assert registry.entries() == []


def test_a_second_life_replaces_the_record_of_the_first(run: Path, tmp_path: Path) -> None:
    entry = make(run, tmp_path / "mnt")
    registry.register(entry._replace(pid=4343))
    assert [found.pid for found in registry.entries()] == [4343]


def test_a_mountpoint_that_is_not_utf8_survives(run: Path) -> None:
    entry = Entry("ab", os.fsdecode(b"/mnt/\xff"), "/s", 1, "s3://b", "/c")
    registry.register(entry)
    assert registry.entries() == [entry]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id":"x"}', '{"pid":"1"}', "[" * 100_000])
def test_broken_records_are_passed_over(run: Path, tmp_path: Path, text: str) -> None:
    entry = make(run, tmp_path / "mnt")
    (run / "broken.json").write_text(text)
    (run / "other.txt").write_text("{}")
    record = json.loads((run / f"{entry.mount_id}.json").read_text())
    (run / "wrong.json").write_text(json.dumps({**record, "pid": True}))
    assert registry.entries() == [entry]


def test_a_directory_that_others_may_write_to_is_not_believed(run: Path, tmp_path: Path) -> None:
    make(run, tmp_path / "mnt")
    run.chmod(0o777)
    assert registry.entries() == []
    with pytest.raises(ExitError, match="others may write to it"):
        registry.prepare_run_directory()


def test_a_run_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TIERFS_RUN_DIR", str(tmp_path / "file" / "run"))
    with pytest.raises(ExitError, match="cannot make the run directory"):
        registry.prepare_run_directory()
    assert registry.entries() == []


@pytest.mark.parametrize(
    ("uid", "environment", "own", "searched"),
    [
        (0, {}, "/run/tierfs", ["/run/tierfs"]),
        (7, {"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/tierfs", ["/run/user/7/tierfs", "/run/tierfs"]),
        (7, {}, "/tmp/tierfs-7", ["/tmp/tierfs-7", "/run/tierfs"]),
        (7, {"TIERFS_RUN_DIR": "/x", "XDG_RUNTIME_DIR": "/y"}, "/x", ["/x"]),
    ],
)
def test_where_records_are(
    monkeypatch: pytest.MonkeyPatch, uid: int, environment: dict[str, str], own: str, searched: list[str]
) -> None:
    for name in ("TIERFS_RUN_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert registry.own_run_directory() == own
    assert registry.search_directories() == searched


# --- find


def test_without_a_path_the_only_mount_is_meant(run: Path, tmp_path: Path, listeners: list[socket.socket]) -> None:
    assert refused(None).code is ExitCode.NO_DAEMON
    entry = make(run, tmp_path / "a", listeners)
    make(run, tmp_path / "stale")
    assert registry.find(None) == entry


def test_without_a_path_several_mounts_are_named(run: Path, tmp_path: Path, listeners: list[socket.socket]) -> None:
    for name in ("a", "b"):
        make(run, tmp_path / name, listeners)
    error = refused(None)
    assert error.code is ExitCode.USAGE and f"{tmp_path}/a, {tmp_path}/b" in str(error)


def test_a_stale_mount_is_found_and_told_apart(run: Path, tmp_path: Path, listeners: list[socket.socket]) -> None:
    alive, stale = make(run, tmp_path / "alive", listeners), make(run, tmp_path / "stale")
    assert registry.find(str(tmp_path / "stale")) == stale
    assert registry.is_running(alive) and not registry.is_running(stale)
    # its socket file is there, but nobody holds it any more
    listeners.pop().close()
    assert os.path.exists(alive.socket) and not registry.is_running(alive)  # noqa: PTH110
    message = registry.stale_message(stale)
    assert "pid 4242" in message and f"tierfs umount {tmp_path}/stale" in message


def test_a_dead_mount_does_not_hide_the_live_one_of_another_source_in_its_place(
    run: Path, tmp_path: Path, listeners: list[socket.socket]
) -> None:
    place = tmp_path / "mnt"
    for number in range(4):  # records are read in the order of their ids: whatever that is
        make(run, place, source=f"s3://dead-{number}")
    live = make(run, place, listeners, source="s3://live")
    assert registry.find(str(place / "file")) == live


def test_a_busy_daemon_is_not_taken_for_dead(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make(run, tmp_path / "a")
    monkeypatch.setattr(registry, "_PROBE_TIMEOUT_S", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(entry.socket)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(entry.socket)
        assert registry.is_running(entry)
        for client in waiting:
            client.close()


def test_any_path_inside_finds_the_innermost_mount(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = make(run, tmp_path / "m"), make(run, tmp_path / "m" / "sub" / "inner")
    assert registry.find(str(tmp_path / "m")) == outer
    assert registry.find(str(tmp_path / "m" / "absent" / "file")) == outer
    assert registry.find(str(tmp_path / "m" / "sub" / "inner" / "x")) == inner
    assert registry.find(f"{tmp_path}/m//sub/../sub/inner/") == inner
    assert refused(tmp_path / "mm").code is ExitCode.NO_DAEMON
    monkeypatch.chdir(tmp_path / "m" / "sub")
    assert registry.find(".") == outer
    assert registry.find("inner/x") == inner


def test_a_symlink_to_the_mount_finds_it(run: Path, tmp_path: Path) -> None:
    entry = make(run, tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert registry.find(str(tmp_path / "link" / "a")) == entry
    assert registry.path_within(entry, str(tmp_path / "link" / "a")) == b"a"
    assert registry.path_within(entry, str(tmp_path / "link")) == b""


def test_a_current_directory_that_is_gone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert refused("x").code is ExitCode.NOT_FOUND


# --- paths within


def test_paths_are_relative_with_symlinks_on_the_way_resolved(run: Path, tmp_path: Path) -> None:
    mount = tmp_path / "m"
    entry = make(run, mount)
    (mount / "dir").mkdir()
    (mount / "dir" / "file").write_text("")
    (mount / "into").symlink_to("dir")
    (mount / "out").symlink_to(tmp_path)
    (mount / os.fsdecode(b"\xff")).write_text("")
    within = {
        f"{mount}": b"",
        f"{mount}/": b"",
        f"{mount}/.": b"",
        f"{mount}/dir/file": b"dir/file",
        f"{mount}/into/file": b"dir/file",
        f"{mount}/into/../dir/file": b"dir/file",
        f"{mount}/into": b"into",  # the link itself
        f"{mount}/dir/..": b"",
        f"{mount}/" + os.fsdecode(b"\xff"): b"\xff",
    }
    assert {path: registry.path_within(entry, path) for path in within} == within
    with pytest.raises(ExitError, match="leads out of the mount") as caught:
        registry.path_within(entry, f"{mount}/out/x")
    assert caught.value.code is ExitCode.NOT_FOUND
