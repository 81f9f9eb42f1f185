"""Watching a real mount's figures and operations: what programs do is counted, by what it waited for."""

import contextlib
import http.client
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support import programs
from tests.support.mounts import Mount, mounted


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """(name, label values by the names of the labels ...) -> value."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read_twice(mount: Mount) -> None:
    for _ in range(2):
        assert len((mount.path / "cold").read_bytes()) == 1 << 20


def test_prometheus_is_told_of_what_programs_do(tmp_path: Path) -> None:
    bucket, port = tmp_path / "bucket", free_port()
    bucket.mkdir()
    (bucket / "cold").write_bytes(bytes(1 << 20))
    with mounted(f"file://{bucket}", tmp_path, settings={"metrics": {"listen": f"127.0.0.1:{port}"}}) as mount:
        read_twice(mount)
        (mount.path / "new").write_bytes(bytes(1 << 20))
        mount.wait_synced()
        assert programs.wait_until(lambda: scraped(port)[("tierfs_pending_exports",)] == 0, 60)
        told = scraped(port)
        assert told[("tierfs_store_received_bytes_total",)] >= 1 << 20
        assert told[("tierfs_store_sent_bytes_total",)] >= 1 << 20
        assert told[("tierfs_written_bytes_total",)] == 1 << 20, "whoever answers the writes"
        assert told["tierfs_operation_duration_seconds_count", "create"] == 1
        assert told["tierfs_store_request_duration_seconds_count", "put"] >= 1
        assert told[("tierfs_index_entries",)] == 3


def test_a_port_in_use_keeps_no_mount_away(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with mounted(f"file://{tmp_path}/bucket", tmp_path, settings={"metrics": {"listen": address}}) as mount:
            (mount.path / "file").write_bytes(b"bytes")
            assert f"cannot listen on {address}" in mount.log() and mount.log().count("TFS7004") == 1


def test_large_files_are_read_from_the_bucket_once_and_then_from_the_disk(tmp_path: Path) -> None:
    bucket, port = tmp_path / "bucket", free_port()
    bucket.mkdir()
    (bucket / "large").write_bytes(bytes(8 << 20))
    settings = {"metrics": {"listen": f"127.0.0.1:{port}"}, "mount": {"connection": "pyfuse3"}}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        assert len((mount.path / "large").read_bytes()) == 8 << 20
        told = scraped(port)
        waited, local = told["tierfs_read_bytes_total", "bucket"], told["tierfs_read_bytes_total", "local"]
        assert waited > 0 and waited + local >= 8 << 20
        fd = os.open(mount.path / "large", os.O_RDONLY | os.O_DIRECT)
        with os.fdopen(fd, "rb", buffering=0) as file, mmap.mmap(-1, 1 << 20) as aligned:
            assert file.readinto(aligned) == 1 << 20
        again = scraped(port)
        assert again["tierfs_read_bytes_total", "bucket"] == waited
        assert again["tierfs_read_bytes_total", "local"] == local + (1 << 20)


@contextlib.contextmanager
def oplog_of(mount: Mount) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tierfs.cli.tierctl", "oplog", "--json", str(mount.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_operations_are_told_one_by_one_with_who_and_where_from(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "cold").write_bytes(bytes(4096))
    with mounted(f"file://{bucket}", tmp_path, settings={"mount": {"connection": "pyfuse3"}}) as mount:
        with oplog_of(mount) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["what"] == "watching"
            assert len((mount.path / "cold").read_bytes()) == 4096
            told: dict[str, Any] = {}
            while "read" not in told:
                operation = json.loads(process.stdout.readline())
                if operation["path"] == "cold":
                    told[operation["operation"]] = operation
        assert (told["open"]["pid"], told["open"]["uid"], told["open"]["tier"]) == (os.getpid(), os.geteuid(), "bucket")
        assert (told["read"]["pid"], told["read"]["size_bytes"], told["read"]["tier"]) == (os.getpid(), 4096, "local")
        found = json.loads(mount.tierctl("summary", mount.path, "--json").stdout)
        assert (found["files"], found["size_bytes"], found["hot_bytes"]) == (1, 4096, 4096)
        row = json.loads(mount.tierctl("tree", mount.path, "--json").stdout)
        assert (row["name"], row["residency"], row["synced"]) == ("cold", "hot", True)
