"""Many programs, a tier that is too small for their files, and another client, all at once; see stress.py."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.mount import stress
from tests.support.mounts import Mount, mounted

MIB = 1 << 20
WORKERS = 5
IS_LONG = bool(os.environ.get("TIERFS_TEST_LONG"))
SECONDS = 300 if IS_LONG else 10
SEED = int(os.environ.get("TIERFS_TEST_SEED", "1000"))
# less than what the programs have mapped and written at times: all that can leave it does; in the long form a fifth of
# that, and some writes fail
TIER = {"size_bytes": (10 if IS_LONG else 32) * MIB, "min_free_bytes": 0, "full_wait_s": 1 if IS_LONG else 10}


class Outside(threading.Thread):
    """Replaces its objects as a whole, in the bucket itself."""

    def __init__(self, bucket: Path) -> None:
        super().__init__(daemon=True)
        self._bucket = bucket
        self._stopping = threading.Event()
        self.version = 0

    def put(self, number: int) -> None:
        self.version += 1
        name = f"outside-{number}"
        fresh = self._bucket.with_name(f"fresh-{name}")
        fresh.write_bytes(stress.content(name, [self.version] * (2, 40, 500)[number % 3]))
        fresh.rename(self._bucket / name)

    def run(self) -> None:
        while not self._stopping.wait(0.1):
            self.put(self.version % 6)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def run_workers(mount: Mount) -> list[dict[str, Any]]:
    """What each says; a program that fails or hangs is a failure with its words."""
    script = Path(stress.__file__)
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(WORKERS):
            words = [sys.executable, script, mount.path, f"worker{number}", str(SEED + number), str(SECONDS)]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            running.append(process)
        said = []
        for process in running:
            out, err = process.communicate(timeout=SECONDS + 150)
            assert process.returncode == 0, err
            said.append(json.loads(out))
        return said


@pytest.mark.parametrize("connection", ["passthrough", "holder"])
def test_no_wrong_byte_no_hang_no_odd_error(tmp_path: Path, connection: str) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    outside = Outside(bucket)
    for number in range(6):
        outside.put(number)
    settings = {"mount": {"connection": connection}, "hot_tier": TIER, "import": {"revalidate_s": 0.3}}
    settings["export"] = {"quiet_s": 0.2}
    with mounted(f"file://{bucket}", tmp_path, settings=settings, life_limit_s=SECONDS + 250) as mount:
        outside.start()
        try:
            said = run_workers(mount)
        finally:
            outside.stop()
        assert all(words["done"].get("look") for words in said), said
        mount.wait_synced()
        files = {name: versions for words in said for name, versions in words["files"].items()}
        assert files
        assert sorted(files) == sorted(each.name for each in bucket.iterdir() if each.name.startswith("worker"))
        for name, versions in files.items():
            is_same = (bucket / name).read_bytes() == stress.content(name, versions)
            assert is_same, f"{name} is not in the bucket as it was left"
        assert mount.status()["conflicts"] == 0
