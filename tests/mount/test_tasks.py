"""Long work on the paths of a real mount: started, waited for, reported, ended, over a restart of the daemon."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.mounts import Mount, mounted
from tierfs.control.exitcodes import ExitCode

SETTINGS: Mapping[str, Mapping[str, Any]] = {"export": {"quiet_s": 3600}, "import": {"revalidate_s": 3600}}
FILES = 20


def fill(bucket: Path) -> None:
    """As a client of the bucket that knows nothing of tierfs."""
    for number in range(FILES):
        (bucket / "d" / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (bucket / "d" / f"{number % 3}" / f"f{number:02}").write_bytes(b"bytes %d" % number * 100)


def ask(mount: Mount, *words: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mount.tierctl(*words, "--json").stdout)
    return answer


def residency(mount: Mount, path: str) -> str:
    return str(ask(mount, "info", mount.path / path)["residency"])


def test_what_is_cold_is_warmed_verified_and_released(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        would = mount.tierctl("warm", mount.path / "d", "--dry-run").stdout
        assert would.startswith(f"warm of /d: {FILES} files, ") and would.endswith(" to be done\n")
        warmed = ask(mount, "warm", mount.path / "d")
        assert (warmed["state"], warmed["done"], warmed["failed"]) == ("done", FILES, 0)
        assert residency(mount, "d/1/f01") == "hot"
        verified = ask(mount, "verify", mount.path / "d")
        assert (verified["state"], verified["done"]) == ("done", FILES)
        assert (mount.path / "d/1/f01").read_bytes() == b"bytes 1" * 100
        (mount.path / "d/1/new").write_bytes(b"not in the bucket")
        done = mount.tierctl("release", mount.path / "d", check=False)
        assert done.returncode == ExitCode.FAILED and "1 failed" in done.stdout
        task = ask(mount, "tasks", "list", mount.path)["tasks"][-1]
        report = mount.tierctl("tasks", "show", str(task["id"]), "--mount", mount.path, "--report", "-").stdout
        assert report == "FilePath,FileStatus,ErrorCode\nd/1/new,failed,not_uploaded\n"
        assert residency(mount, "d/1/f01") == "cold" and residency(mount, "d/1/new") == "hot"
        assert (mount.path / "d/1/f01").read_bytes() == b"bytes 1" * 100


def test_both_directions_at_once(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        assert sorted(os.listdir(mount.path / "d")) == ["0", "1", "2"]
        (bucket / "d" / "0" / "theirs").write_bytes(b"of another client")
        (mount.path / "d" / "ours").write_bytes(b"of a program")
        assert ask(mount, "import", mount.path / "d")["done"] == 4
        assert (mount.path / "d/0/theirs").read_bytes() == b"of another client"
        assert not (bucket / "d" / "ours").exists()
        exported = ask(mount, "export", mount.path / "d")
        assert exported["state"] == "done" and exported["done"] == exported["total"] > 0
        assert (bucket / "d" / "ours").read_bytes() == b"of a program"
        absent = mount.tierctl("export", mount.path / "absent", check=False)
        assert absent.returncode == ExitCode.NOT_FOUND


def test_tasks_outlive_who_waits_and_are_remembered(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        task = ask(mount, "warm", mount.path / "d", "--background")
        assert ask(mount, "tasks", "wait", str(task["id"]), "--mount", mount.path)["done"] == FILES
        absent = mount.tierctl("tasks", "wait", "999", "--mount", mount.path, check=False)
        assert absent.returncode == ExitCode.NOT_FOUND
        mount.remount()
        found = ask(mount, "tasks", "show", str(task["id"]), "--mount", mount.path)
        assert (found["kind"], found["state"], found["done"]) == ("warm", "done", FILES)
        assert "warm" in mount.tierctl("tasks", "list", mount.path).stdout


def test_a_task_outlives_the_daemon(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        number = str(ask(mount, "warm", mount.path / "d", "--background")["id"])
        mount.kill9()  # whether it has begun, is halfway or has ended
        mount.remount()
        ended = ask(mount, "tasks", "wait", number, "--mount", mount.path)
        assert (ended["kind"], ended["state"]) == ("warm", "done")
        assert residency(mount, "d/0/f00") == residency(mount, f"d/1/f{FILES - 1:02}") == "hot"


def test_a_rename_is_taken_back(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        assert os.listdir(mount.path) == ["d"]
        before = sorted(os.listdir(mount.path / "d" / "1"))
        (bucket / "e").write_bytes(b"so that nothing can be moved there")
        (mount.path / "d").rename(mount.path / "e")
        (rename,) = ask(mount, "tasks", "list", mount.path)["tasks"]
        assert (rename["kind"], rename["path"]) == ("rename", "e")
        assert ask(mount, "tasks", "cancel", str(rename["id"]), "--mount", mount.path)["path"] == "d"
        (bucket / "e").unlink()
        assert os.listdir(mount.path) == ["d"] and sorted(os.listdir(mount.path / "d" / "1")) == before
        assert not (mount.path / "e").exists()
        assert (mount.path / "d" / "1" / "f01").read_bytes() == b"bytes 1" * 100
        mount.tierctl("sync", mount.path)
        ended = mount.tierctl("tasks", "wait", str(rename["id"]), "--mount", mount.path, "--json", check=False)
        assert ended.returncode == ExitCode.CANCELLED and json.loads(ended.stdout)["state"] == "cancelled"
        assert sorted(os.listdir(bucket / "d" / "1")) == before and not (bucket / "e").exists()
