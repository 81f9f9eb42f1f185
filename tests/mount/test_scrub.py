"""tierctl scrub on a real mount: bits flipped on the local disk and in the bucket's, as its user meets them."""

import json
from pathlib import Path
from typing import Any

from tests.support.flips import flip
from tests.support.mounts import Mount, mounted
from tests.support.tier import noise
from tierfs.units import MIB


def backing_of(mount: Mount, path: Path) -> Path:
    ino = path.stat().st_ino
    return mount.cache / "hot" / f"{ino & 0xFF:02x}" / f"{ino:x}"


def scrub(mount: Mount, *, code: int) -> dict[str, Any]:
    done = mount.tierctl("scrub", mount.path, "--json", check=False)
    assert done.returncode == code, done
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_flips_are_found_and_healed_and_what_is_not_proven_is_told(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    data = {name: noise(2 * MIB, seed) for seed, name in enumerate(("sound", "here", "there", "both", "theirs"))}
    with mounted(f"file://{bucket}", tmp_path, settings={"scrub": {"objects": True}}) as mount:
        for name, content in data.items():
            (mount.path / name).write_bytes(content)
        mount.tierctl("sync", mount.path)
        for name in ("here", "both"):
            flip(backing_of(mount, mount.path / name), MIB)
        for name in ("there", "both"):
            flip(bucket / name, 77)
        (bucket / "theirs").write_bytes(b"another client's")
        task = scrub(mount, code=1)
        assert task["notes"] == {"by_checksum": 5, "healed_here": 1, "healed_in_bucket": 1}
        for name in ("sound", "here", "there"):
            assert (mount.path / name).read_bytes() == (bucket / name).read_bytes() == data[name]
        assert (bucket / "both").read_bytes() != data["both"]
        assert (bucket / "theirs").read_bytes() == b"another client's"
        report = mount.tierctl("tasks", "show", str(task["id"]), "--report", "-", "--mount", mount.path).stdout
        assert sorted(report.splitlines()[1:]) == ["both,failed,checksum_mismatch", "theirs,failed,object_changed"]
        log = mount.log()
        assert "'here' was damaged on the local disk" in log and "'there' was damaged in the bucket" in log
