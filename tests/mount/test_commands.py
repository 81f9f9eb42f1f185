"""`tierfs mount` and `tierfs umount` as users meet them: what works, and each failure with its line and exit code."""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from tests.support import programs
from tests.support.mounts import MARK, Mount, find_mount, mounted, prepared
from tests.support.programs import Completed
from tests.support.weed import WeedServer
from tierfs.control.exitcodes import ExitCode

IMPATIENT = {"retry_budget_s": 1, "connect_timeout_s": 1}


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


def assert_fails(done: Completed, code: ExitCode, *words: str) -> None:
    """One line on standard error that holds `words`, and the exit code that is documented for it."""
    assert done.returncode == code, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tierfs: ")
    for word in words:
        assert word in lines[0]


def try_mount(mount: Mount, *options: str) -> Completed:
    done = mount.tierfs(*mount.mount_command(), *options, check=False)
    if done.returncode:
        assert find_mount(mount.path) is None, "it failed and mounted all the same"
        assert not mount.daemons(), "it failed and left a daemon"
    return done


def test_mountpoint_is_missing(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path) as mount:
        mount.path.rmdir()
        assert_fails(try_mount(mount), ExitCode.MOUNTPOINT, str(mount.path), "does not exist")


def test_mountpoint_is_a_file(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path) as mount:
        mount.path.rmdir()
        mount.path.write_bytes(b"")
        assert_fails(try_mount(mount), ExitCode.MOUNTPOINT, "no directory")


def test_mountpoint_is_not_empty(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path) as mount:
        (mount.path / "precious").write_bytes(b"hidden by a mount")
        assert_fails(try_mount(mount), ExitCode.NOT_EMPTY, str(mount.path))
        assert try_mount(mount, "-o", "nonempty").returncode == 0
        assert os.listdir(mount.path) == []


def test_mountpoint_is_taken(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        second = mount.tierfs("mount", source, mount.path, "--cache", tmp_path / "other", check=False)
        assert_fails(second, ExitCode.BUSY, "mounted already")
        assert os.listdir(mount.path) == []


def test_cache_is_taken(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount, prepared(source, tmp_path / "second") as other:
        done = other.tierfs("mount", source, other.path, "--cache", mount.cache, check=False)
        assert_fails(done, ExitCode.CACHE_IN_USE, str(mount.cache))
        (mount.path / "a").write_bytes(b"the first goes on")


def test_directory_store_is_missing(tmp_path: Path) -> None:
    with prepared(f"file://{tmp_path}/nowhere", tmp_path) as mount:
        assert_fails(try_mount(mount), ExitCode.NO_BUCKET, "nowhere")


def test_bucket_is_missing(weed: WeedServer, tmp_path: Path) -> None:
    settings = {"store": {**IMPATIENT, "endpoint_url": weed.endpoint_url}}
    with prepared("s3://no-such-bucket-here", tmp_path, settings=settings) as mount:
        assert_fails(try_mount(mount), ExitCode.NO_BUCKET, "no-such-bucket-here")


def test_endpoint_does_not_answer(weed: WeedServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = {"store": {**IMPATIENT, "endpoint_url": f"http://127.0.0.1:{port}"}}
    with prepared("s3://bucket", tmp_path, settings=settings) as mount:
        assert_fails(try_mount(mount), ExitCode.UNREACHABLE, str(port))


@pytest.mark.parametrize("secret", ["wrong", ""])
def test_credentials_are_wrong_or_missing(weed: WeedServer, weed_bucket: str, tmp_path: Path, secret: str) -> None:
    env = {"AWS_SECRET_ACCESS_KEY": secret, "AWS_ACCESS_KEY_ID": "tierfs" if secret else "", "HOME": str(tmp_path)}
    settings = {"store": {**IMPATIENT, "endpoint_url": weed.endpoint_url}}
    with prepared(f"s3://{weed_bucket}", tmp_path, settings=settings, env=env) as mount:
        assert_fails(try_mount(mount), ExitCode.BAD_CREDENTIALS, "credential")


@contextlib.contextmanager
def refusing_server() -> Iterator[str]:
    """Answers everything with 403 AccessDenied."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no</Message></Error>"
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_bucket_refuses(weed: WeedServer, tmp_path: Path) -> None:
    with refusing_server() as url:
        settings = {"store": {**IMPATIENT, "endpoint_url": url}}
        with prepared("s3://bucket", tmp_path, settings=settings) as mount:
            assert_fails(try_mount(mount), ExitCode.ACCESS_DENIED)


def test_setting_is_unknown(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path, settings={"export": {"quiet_ms": 5}}) as mount:
        assert_fails(try_mount(mount), ExitCode.CONFIG, "quiet_ms", "did you mean 'quiet_s'", str(mount.config))


def test_index_is_of_a_newer_version(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path) as mount:
        mount.mount()
        mount.umount()
        raise_index_format(mount.cache / "index")
        assert_fails(try_mount(mount), ExitCode.INDEX_UNUSABLE, "newer")


def raise_index_format(directory: Path) -> None:
    """The second u16 of the index's state row is its format."""
    place = next(directory.rglob("data.mdb")).parent
    with lmdb.open(str(place), max_dbs=64) as env, env.begin(write=True) as txn:
        tables = [env.open_db(name, txn) for name, _ in txn.cursor()]
        (home,) = [table for table in tables if txn.get(b"\0state", db=table)]
        row = txn.get(b"\0state", b"", db=home)
        txn.put(b"\0state", row[:2] + b"\xff\x00" + row[4:], db=home)


def test_nothing_is_mounted(tmp_path: Path, source: str) -> None:
    with prepared(source, tmp_path) as mount:
        done = mount.tierfs("umount", mount.path, check=False)
        assert_fails(done, ExitCode.NO_DAEMON, "nothing is mounted")


def test_umount_waits_for_the_bucket(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 3600}}) as mount:
        (mount.path / "f").write_bytes(b"bytes")
        mount.umount()
        assert (tmp_path / "bucket/f").read_bytes() == b"bytes"


def test_umount_without_draining_leaves_it_to_the_next_mount(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 3600}}) as mount:
        (mount.path / "f").write_bytes(b"bytes")
        done = mount.tierfs("umount", mount.path, "--no-drain")
        assert "1 upload left" in done.stderr
        assert not (tmp_path / "bucket/f").exists()
        mount.mount()
        assert mount.status()["pending_exports"] >= 1
        assert (mount.path / "f").read_bytes() == b"bytes"
        mount.wait_synced()
        assert (tmp_path / "bucket/f").read_bytes() == b"bytes"


def test_umount_of_a_busy_mount(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        with (mount.path / "f").open("wb") as file:
            done = mount.tierfs("umount", mount.path, check=False)
            assert_fails(done, ExitCode.BUSY)
            file.write(b"it goes on")
        assert (mount.path / "f").read_bytes() == b"it goes on"


def test_sigterm_unmounts(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        (mount.path / "f").write_bytes(b"bytes")
        os.kill(mount.pid, signal.SIGTERM)
        assert programs.wait_until(lambda: not mount.daemons(), 60)
        assert find_mount(mount.path) is None
        mount.mount()
        assert (mount.path / "f").read_bytes() == b"bytes"


def test_dead_mount_says_so_and_can_be_cleared(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        (mount.path / "f").write_bytes(b"bytes")
        mount.kill9()
        assert_fails(mount.tierfs(*mount.mount_command(), check=False), ExitCode.BUSY, "dead mount", "tierfs umount")
        mount.tierfs("umount", mount.path)
        mount.mount()
        assert (mount.path / "f").read_bytes() == b"bytes"


def test_foreground_ends_with_an_interrupt(source: str, tmp_path: Path) -> None:
    with prepared(source, tmp_path) as mount:
        command = [sys.executable, "-m", "tierfs.cli.tierfs", *mount.mount_command(), "--foreground"]
        with (tmp_path / "output").open("wb") as output:
            daemon = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, MARK: mount.mark})
        try:
            assert programs.wait_until(lambda: find_mount(mount.path) is not None, 30)
            (mount.path / "f").write_bytes(b"bytes")
            daemon.send_signal(signal.SIGINT)
            assert daemon.wait(60) in (0, ExitCode.INTERRUPTED)
        finally:
            daemon.kill()
            daemon.wait(10)
        assert find_mount(mount.path) is None


def test_tierctl_answers_in_json(source: str, tmp_path: Path) -> None:
    with mounted(source, tmp_path, settings={"export": {"quiet_s": 3600}}) as mount:
        (mount.path / "d").mkdir()
        (mount.path / "d/f").write_bytes(b"12345")

        def ask(*words: str | Path) -> dict[str, Any]:
            answer: dict[str, Any] = json.loads(mount.tierctl(*words, "--json").stdout)
            return answer

        status = ask("status", mount.path / "d")
        assert status["source"] == source
        assert status["pid"] in mount.daemons()
        assert status["mode"]
        assert status["pending_exports"] >= 2
        assert status["tier"]["dirty_bytes"] >= 5
        assert not status["conflicts"]
        assert not status["degraded"]
        before = ask("info", mount.path / "d/f")
        assert (before["size_bytes"], before["synced"], before["residency"]) == (5, False, "hot")
        ask("sync", mount.path / "d")
        after = ask("info", mount.path / "d/f")
        assert after["synced"]
        assert after["ino"] == before["ino"] == (mount.path / "d/f").stat().st_ino
        ask("wait", "--synced", mount.path)
        assert ask("status", mount.path)["pending_exports"] == 0
        missing = mount.tierctl("info", mount.path / "no", check=False)
        assert missing.returncode == ExitCode.NOT_FOUND


@pytest.mark.parametrize("program", ["tierfs", "tierctl"])
def test_help_shows_examples_and_exit_codes(program: str) -> None:
    done = programs.run([sys.executable, "-m", f"tierfs.cli.{program}", "--help"])
    assert "examples:" in done.stdout
    assert "exit codes:" in done.stdout
