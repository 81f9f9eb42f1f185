"""Watching a real mount's figures and operations: what programs do is counted, by what it waited for."""

import contextlib
import http.client
import socket
from pathlib import Path

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
        (mount.path / "new").write_bytes(b"bytes")
        mount.wait_synced()
        assert programs.wait_until(lambda: scraped(port)[("tierfs_pending_exports",)] == 0, 60)
        told = scraped(port)
        assert told[("tierfs_store_received_bytes_total",)] >= 1 << 20
        assert told[("tierfs_store_sent_bytes_total",)] >= 5
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
