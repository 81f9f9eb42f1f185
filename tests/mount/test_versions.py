"""A real mount of a bucket that keeps versions: what was deleted is listed and comes back."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.mounts import mounted
from tests.support.weed import WeedServer

SETTINGS: Mapping[str, Mapping[str, Any]] = {"import": {"revalidate_s": 0}, "export": {"quiet_s": 0.2}}


def test_deleted_files_are_listed_and_come_back(weed: WeedServer, weed_bucket: str, tmp_path: Path) -> None:
    weed.client().put_bucket_versioning(Bucket=weed_bucket, VersioningConfiguration={"Status": "Enabled"})
    settings = {**SETTINGS, "store": {"endpoint_url": weed.endpoint_url}}
    with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings) as mount:
        directory = mount.path / "results"
        directory.mkdir()
        for name in ("one", "two"):
            (directory / name).write_text(name)
        (directory / "one").chmod(0o640)
        mount.wait_synced()
        for name in ("one", "two"):
            (directory / name).unlink()
        mount.wait_synced()
        assert os.listdir(directory) == []
        found = json.loads(mount.tierctl("versions", str(directory), "--json").stdout)["files"]
        assert [(file["key"], file["deleted"]) for file in found if not file["key"].endswith("/")] == [
            ("results/one", True),
            ("results/two", True),
        ]
        assert "2 would come back" in mount.tierctl("undelete", str(directory), "--dry-run").stdout
        assert mount.tierctl("undelete", str(directory / "one")).stdout.startswith("1 brought back")
        assert programs.wait_until(lambda: os.listdir(directory) == ["one"], 20)
        assert (directory / "one").read_text() == "one"
        assert (directory / "one").stat().st_mode & 0o7777 == 0o640
        mount.tierctl("undelete", str(directory))
        assert programs.wait_until(lambda: sorted(os.listdir(directory)) == ["one", "two"], 20)
