"""A mount that scans its bucket: what other clients made is there before anybody looks."""

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.mounts import Mount, mounted

A_YEAR_S = 86_400.0 * 365
DIRECTORIES = 60


def scan_of(mount: Mount) -> dict[str, Any]:
    scan = mount.status()["scan"]
    assert isinstance(scan, dict)
    return scan


def lists(mount: Mount) -> int:
    return int(mount.status()["requests"]["store_list_requests"])


def test_a_deep_tree_of_another_client_shows_without_a_list_for_each_directory(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    for number in range(DIRECTORIES):
        below = bucket / f"top{number % 6}" / "middle" / f"d{number:02}"
        below.mkdir(parents=True)
        (below / "f").write_bytes(b"x")
    expected = {str(path.relative_to(bucket)) for path in bucket.rglob("*")}
    settings = {"import": {"revalidate_s": A_YEAR_S, "scan": True, "scan_requests_s": 1000}}
    with mounted(f"file://{bucket}", tmp_path, settings=settings) as mount:
        assert programs.wait_until(lambda: scan_of(mount)["state"] == "done", 60)
        assert scan_of(mount)["directories"] >= DIRECTORIES
        before = lists(mount)
        assert before < DIRECTORIES / 2
        found = subprocess.run(
            ["find", str(mount.path), "-mindepth", "1"], capture_output=True, text=True, check=True, timeout=60
        ).stdout.splitlines()
        assert {os.path.relpath(path, mount.path) for path in found} == expected
        assert lists(mount) == before
        assert "scan" in mount.tierctl("status", mount.path).stdout
        mount.remount()
        assert scan_of(mount)["state"] == "done"
