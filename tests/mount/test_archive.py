"""Files of a real mount in the archive of a bucket and back, over a server that archives as Amazon does."""

import errno
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.moto_server import MotoServer
from tests.support.mounts import Mount, mounted
from tests.support.weed import WeedServer
from tierfs.control.exitcodes import ExitCode

BODY = b"of long ago" * 1000


@contextmanager
def archive_mount(moto: MotoServer, tmp_path: Path, bucket: str, **archive: Any) -> Iterator[Mount]:
    settings: Mapping[str, Mapping[str, Any]] = {
        "store": {"endpoint_url": moto.endpoint_url},
        "export": {"quiet_s": 0.1},
        "archive": {"restore_batch_s": 0, "restore_look_s": 0.1, **archive},
    }
    with mounted(f"s3://{bucket}/p", tmp_path, settings=settings, env=moto.environment) as mount:
        yield mount


def ask(mount: Mount, *words: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mount.tierctl(*words, "--json").stdout)
    return answer


def state(mount: Mount, path: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = ask(mount, "state", mount.path / path)["files"]
    return found[0]


def flags(mount: Mount, path: str) -> list[str]:
    return list(state(mount, path)["flags"])


def object_class(moto: MotoServer, bucket: str, key: str) -> str:
    return str(moto.client().head_object(Bucket=bucket, Key=f"p/{key}").get("StorageClass", "STANDARD"))


def test_there_and_back(moto_server: MotoServer, tmp_path: Path) -> None:
    bucket = moto_server.create_bucket()
    with archive_mount(moto_server, tmp_path, bucket) as mount:
        old = mount.path / "old"
        old.mkdir()
        for name in ("a", "b"):
            (old / name).write_bytes(BODY)
        (mount.path / "new").write_bytes(b"of today")
        would = mount.tierctl("archive", old, "--dry-run").stdout
        assert would.startswith("archive of /old: 2 files, ") and would.endswith(" to be done\n")
        done = ask(mount, "archive", old)
        assert (done["state"], done["done"]) == ("done", 2), "uploaded, and moved"
        assert [object_class(moto_server, bucket, f"old/{name}") for name in "ab"] == ["GLACIER", "GLACIER"]
        assert flags(mount, "old/a") == ["exists", "archived"] and (old / "a").read_bytes() == BODY
        ask(mount, "release", old)
        shown = mount.tierctl("state", "-r", mount.path).stdout.splitlines()
        assert shown[-2:] == [f"/old/{name}: exists archived released, GLACIER" for name in "ab"]

        moto_server.hold_restore(bucket, "p/old/a")
        with pytest.raises(OSError) as caught:
            (old / "a").read_bytes()
        assert caught.value.errno == errno.EAGAIN
        assert programs.wait_until(lambda: (state(mount, "old/a")["restore"] or {}).get("stage") == "asked", 30)
        assert "on its way back, readable by 20" in mount.tierctl("state", old / "a").stdout
        listed = ask(mount, "tier", "ls", old)
        assert listed["restores"]["files"] == 1 and listed["restores"]["ready_ns"]
        (old / "a").chmod(0o600)
        (old / "a").rename(old / "c")
        assert programs.wait_until(lambda: reasons(mount) == {"archived"}, 30), reasons(mount)
        moto_server.finish_restore(bucket, "p/old/a")
        assert programs.wait_until(lambda: flags(mount, "old/c") == ["exists", "archived"], 30), "fetched, and moved"
        assert (old / "c").read_bytes() == BODY and (old / "c").stat().st_mode & 0o777 == 0o600
        mount.wait_synced()
        assert object_class(moto_server, bucket, "old/c") == "GLACIER"

        (tmp_path / "list").write_text(f"{old / 'b'}\n{old / 'c'}\n")
        asked = ask(mount, "restore", "--filelist", tmp_path / "list")
        assert (asked["done"], asked["notes"]["within_h"], asked["more_paths"]) == (1, 5, 1), "one is here"
        assert programs.wait_until(lambda: "released" not in flags(mount, "old/b"), 30)
        assert (old / "b").read_bytes() == BODY


def reasons(mount: Mount) -> set[str]:
    return {entry["reason"] for entry in ask(mount, "queue", mount.path)["entries"]}


def test_who_opens_it_waits_for_it(moto_server: MotoServer, tmp_path: Path) -> None:
    bucket = moto_server.create_bucket()
    moto_server.client().put_object(Bucket=bucket, Key="p/cold", Body=BODY, StorageClass="DEEP_ARCHIVE")
    moto_server.hold_restore(bucket, "p/cold")
    with (
        archive_mount(moto_server, tmp_path, bucket, open="block") as mount,
        subprocess.Popen(["cat", mount.path / "cold"], stdout=subprocess.PIPE) as reader,
    ):
        assert programs.wait_until(lambda: (state(mount, "cold")["restore"] or {}).get("stage") == "asked", 30)
        assert reader.poll() is None
        moto_server.finish_restore(bucket, "p/cold")
        assert reader.communicate(timeout=60)[0] == BODY


def test_who_opens_it_is_refused(moto_server: MotoServer, tmp_path: Path) -> None:
    bucket = moto_server.create_bucket()
    moto_server.client().put_object(Bucket=bucket, Key="p/cold", Body=BODY, StorageClass="GLACIER")
    with archive_mount(moto_server, tmp_path, bucket, open="fail") as mount:
        with pytest.raises(OSError) as caught:
            (mount.path / "cold").read_bytes()
        assert caught.value.errno == errno.EIO and "tierctl restore asks for it" in mount.log()
        assert state(mount, "cold")["restore"] is None


def test_the_classes_in_between(moto_server: MotoServer, tmp_path: Path) -> None:
    bucket = moto_server.create_bucket()
    with archive_mount(moto_server, tmp_path, bucket) as mount:
        (mount.path / "f").write_bytes(BODY)
        held = (mount.path / "g").open("wb")
        mount.tierctl("sync", mount.path / "f")
        assert mount.tierctl("tier", "set", mount.path / "f", "STANDARD_IA").stdout.startswith(
            "tier of /f: done, 1 file"
        )
        assert object_class(moto_server, bucket, "f") == "STANDARD_IA"
        done = mount.tierctl("tier", "set", mount.path, "GLACIER_IR", check=False)
        assert done.returncode == ExitCode.FAILED and "1 failed" in done.stdout
        held.close()
        table = mount.tierctl("tier", "ls", mount.path).stdout
        assert "GLACIER_IR" in table and "directory bucket" in table
        rows = {row["class"]: row["files"] for row in ask(mount, "tier", "ls", mount.path)["classes"]}
        assert rows["GLACIER_IR"] == 1 and rows["STANDARD_IA"] == 0


def test_a_store_without_an_archive_refuses_with_its_reason(weed: WeedServer, tmp_path: Path) -> None:
    bucket = weed.create_bucket()
    settings = {"store": {"endpoint_url": weed.endpoint_url}}
    with mounted(f"s3://{bucket}/p", tmp_path, settings=settings, env=weed.environment) as mount:
        (mount.path / "f").write_bytes(BODY)
        done = mount.tierctl("archive", mount.path / "f", check=False)
        assert done.returncode == ExitCode.FAILED and "the store restores nothing" in done.stderr
        done = mount.tierctl("restore", mount.path / "f", check=False)
        assert done.returncode == ExitCode.FAILED and "restores no archived objects" in done.stderr
