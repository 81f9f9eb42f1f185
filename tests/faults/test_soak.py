"""All faults at once, under programs that check every byte; memory, descriptors and threads stay flat.

The programs of tests/mount/stress.py write, map, truncate, read and unlink in a tier that is too small, while the store
refuses, throttles, hangs, cuts and corrupts bodies, loses answers and goes away, signals rain on the programs, and the
daemon is killed. Nothing of that may show but as a pause: no error, no wrong byte, and at the end every file is in the
bucket as it was left, without a conflict or an unfinished upload. CI soaks for some seconds, the long form for half an
hour; `TIERFS_TEST_SEED` takes other faults.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define

from tests.faults.conftest import MIB, Rig
from tests.mount import stress
from tests.support import programs
from tests.support.mounts import Mount, mounted
from tests.support.s3double import Fault, S3Double

SEED = int(os.environ.get("TIERFS_TEST_SEED", "1"))
CI_S, LONG_S = 12, 1800
WORKERS = 3
AWAY_MAX_S = 2.0
# six a minute are given up
KILL_EACH_S = 20.0
SETTINGS = {
    "store": {"part_size_bytes": 5 * MIB, "retry_budget_s": 120, "connect_timeout_s": 1, "read_timeout_s": 2},
    "hot_tier": {"min_free_bytes": 0, "size_bytes": 24 * MIB, "full_wait_s": 60},
    "export": {"quiet_s": 0.2},
}
OPERATIONS = ("PutObject", "GetObject", "HeadObject", "DeleteObject", "CopyObject", "ListObjectsV2", "UploadPart")
FAULTS = {
    "refused": Fault(status=503, code="ServiceUnavailable"),
    "broken": Fault(status=500, code="InternalError"),
    "throttled": Fault(status=503, code="SlowDown"),
    "expired": Fault(status=400, code="RequestTimeout"),
    "dropped": Fault(drop=True),
    "lost": Fault(drop=True, applied=True),
    "cut": Fault(truncate_body=True),
}
FD_SLACK, THREAD_SLACK, MEMORY_SLACK_BYTES = 40, 12, 96 * MIB


class Injector(threading.Thread):
    """One fault after the other until it is stopped."""

    def __init__(self, double: S3Double, mount: Mount, victims: list[int]) -> None:
        super().__init__(daemon=True)
        self._double = double
        self._mount = mount
        self._victims = victims
        self._stopping = threading.Event()
        self.injected = 0

    def run(self) -> None:
        chooser = random.Random(SEED)
        began_s = time.monotonic()
        killed_s = began_s - KILL_EACH_S / 2
        while not self._stopping.wait(chooser.uniform(0.05, 0.4)):
            self.injected += 1
            match chooser.randrange(10):
                case 0:
                    self._double.stop()
                    self._stopping.wait(chooser.uniform(0.1, AWAY_MAX_S))
                    self._double.start()
                case 1 if time.monotonic() > killed_s + KILL_EACH_S:
                    killed_s = time.monotonic()
                    self._kill_daemon()
                case 2 | 3:
                    self._rain(chooser)
                case _:
                    fault = FAULTS[chooser.choice(list(FAULTS))]
                    self._double.fail_next(chooser.choice(OPERATIONS), "*", fault, times=chooser.randrange(1, 4))

    def _kill_daemon(self) -> None:
        """The holder lives on, and starts another one."""
        answer = self._mount.tierctl("status", self._mount.path, "--json", check=False)
        if answer.returncode == 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(json.loads(answer.stdout)["pid"], signal.SIGKILL)

    def _rain(self, chooser: random.Random) -> None:
        """Signals that interrupt system calls and do no more."""
        for _ in range(50):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chooser.choice(self._victims), signal.SIGUSR1)
            time.sleep(0.001)

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        self._double.clear_faults()


@define
class Use:
    """What one process holds."""

    descriptors: int
    threads: int
    anonymous_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Use":
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        anonymous = int(status["RssAnon"].split()[0]) << 10
        return cls(len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]), anonymous)

    def assert_no_more_than(self, before: "Use") -> None:
        assert self.descriptors <= before.descriptors + FD_SLACK
        assert self.threads <= before.threads + THREAD_SLACK
        assert self.anonymous_bytes <= before.anonymous_bytes + MEMORY_SLACK_BYTES


@contextlib.contextmanager
def working(mount: Mount, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(WORKERS):
            words = [sys.executable, stress.__file__, mount.path, f"worker{number}", str(SEED + number), str(seconds)]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            running.append(process)
        yield running


def said_by(workers: list[subprocess.Popen[str]], seconds: float) -> dict[str, list[int]]:
    """The versions of each file's blocks; a program that failed or hangs is a failure with its words."""
    files: dict[str, list[int]] = {}
    for process in workers:
        out, err = process.communicate(timeout=seconds + 200)
        assert process.returncode == 0, err
        files |= json.loads(out)["files"]
    return files


def soak(rig: Rig, seconds: float) -> tuple[int, int]:
    """(operations that were checked, faults injected)."""
    env = {**rig.double.environment, "TIERFS_RUN_DIR": str(rig.directory / "run")}
    source = f"s3://{rig.bucket}"
    with mounted(source, rig.directory, settings=SETTINGS, env=env, life_limit_s=seconds + 400) as mount:
        holder = int(mount.status()["holder_pid"] or mount.pid)
        with working(mount, seconds) as workers:
            injector = Injector(rig.double, mount, [process.pid for process in workers])
            assert programs.wait_until(lambda: any(mount.path.iterdir()), 60)
            injector.start()
            early = Use.of(holder)
            try:
                files = said_by(workers, seconds)
            finally:
                injector.stop()
        mount.wait_synced()
        assert sorted(files) == sorted(rig.object_keys())
        for name, versions in files.items():
            assert rig.body(name) == stress.content(name, versions), f"{name} is not in the bucket as it was left"
            assert (mount.path / name).read_bytes() == rig.body(name)
        status = mount.status()
        assert status["conflicts"] == 0
        Use.of(holder).assert_no_more_than(early)
        left = rig.client.list_multipart_uploads(Bucket=rig.bucket).get("Uploads", [])
        assert left == []
        return len(files), injector.injected


@pytest.mark.timeout(CI_S + 250)
def test_a_short_soak(rig: Rig) -> None:
    files, injected = soak(rig, CI_S)
    assert files
    assert injected > CI_S / 2


@pytest.mark.long
@pytest.mark.timeout(LONG_S + 900)
def test_half_an_hour(rig: Rig, summarize: Callable[[int, int, int], None]) -> None:
    seconds, failures, injected, files = float(os.environ.get("TIERFS_TEST_SOAK_S", LONG_S)), 1, 0, 0
    try:
        files, injected = soak(rig, seconds)
        failures = 0
    finally:
        summarize(files, injected, failures)
