"""An outside client empties a bucket: a real mount keeps all of it, tells, and does what is decided, once."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.mounts import Mount, mounted

SETTINGS: Mapping[str, Mapping[str, Any]] = {"import": {"revalidate_s": 0}, "export": {"quiet_s": 0.2}}
FILES = 60


def fill(bucket: Path) -> None:
    """As a client of the bucket that knows nothing of tierfs."""
    for directory in ("keep", "lose"):
        (bucket / directory).mkdir(parents=True)
    for number in range(FILES):
        (bucket / "lose" / f"f{number:02}").write_bytes(b"bytes %d" % number)
    (bucket / "keep" / "f").write_bytes(b"kept")


def removals(mount: Mount) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(mount.tierctl("status", mount.path, "--json").stdout)["removals"]
    return found


def names(mount: Mount) -> list[str]:
    return sorted(os.listdir(mount.path / "lose"))


def test_a_lost_directory_is_kept_until_it_is_approved(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        assert len(names(mount)) == FILES
        assert (mount.path / "lose/f00").read_bytes() == b"bytes 0"
        shutil.rmtree(bucket / "lose")
        assert sorted(os.listdir(mount.path)) == ["keep", "lose"]
        assert programs.wait_until(lambda: removals(mount) is not None, 20)
        assert len(names(mount)) == FILES and (mount.path / "lose/f00").read_bytes() == b"bytes 0"
        assert "lost by the bucket and kept" in mount.tierctl("status", mount.path).stdout
    # asked for, still, after a restart
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        found = removals(mount)
        assert found is not None and found["entries"] == FILES + 1 and found["examples"] == ["lose"]
        assert len(names(mount)) == FILES
        assert "lose" in mount.tierctl("sync", "held", mount.path).stdout
        would = mount.tierctl("sync", "approve", mount.path, "--dry-run").stdout
        assert would == f"{FILES + 1} would be removed\n" and len(names(mount)) == FILES
        assert mount.tierctl("sync", "approve", mount.path).stdout == f"{FILES + 1} removed\n"
        assert programs.wait_until(lambda: os.listdir(mount.path) == ["keep"], 20)
        assert removals(mount) is None


def test_a_rejected_loss_is_uploaded_again(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    fill(bucket)
    with mounted(f"file://{bucket}", tmp_path, settings=SETTINGS) as mount:
        for name in names(mount):
            (mount.path / "lose" / name).read_bytes()
        shutil.rmtree(bucket / "lose")
        os.listdir(mount.path)
        assert programs.wait_until(lambda: removals(mount) is not None, 20)
        mount.tierctl("sync", "reject", mount.path)
        mount.wait_synced()
        assert sorted(os.listdir(bucket / "lose")) == names(mount) and len(names(mount)) == FILES
        assert (bucket / "lose/f07").read_bytes() == b"bytes 7"
        assert removals(mount) is None
