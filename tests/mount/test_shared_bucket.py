"""Histories as in tests/model, on two real mounts of one bucket and a client that knows nothing of tierfs.

What needs hands inside a daemon (evictions, events, held files) is left to tests/model, and so is shrinking: a failing
history is printed as data, and can be tried there. `TIERFS_TEST_LONG` plays more of them, `TIERFS_TEST_SEED` others.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.model.ledger import Ledger
from tests.model.steps import (
    BEFORE,
    OUTSIDE,
    REAL_STEPS,
    A,
    Append,
    B,
    Chmod,
    Fail,
    Kill,
    MakeDirectory,
    Poll,
    Remove,
    RemoveDirectory,
    Rename,
    Step,
    Sync,
    Write,
)
from tests.support import programs
from tests.support.mounts import Mount, Settings, mounted
from tests.support.s3double import Fault, S3Double

IS_LONG = bool(os.environ.get("TIERFS_TEST_LONG"))
EXAMPLES = 100 if IS_LONG else 10
SEED = int(os.environ.get("TIERFS_TEST_SEED", "1"))
AGREE_S = 60.0
# nothing is kept that another client may have changed, failures are quick, and what is done is uploaded at once
SETTINGS: Settings = {
    "mount": {"attr_timeout_s": 0, "entry_timeout_s": 0, "negative_timeout_s": 0},
    "import": {"revalidate_s": 0},
    "export": {"quiet_s": 0.1},
    "store": {"retry_budget_s": 1.5, "connect_timeout_s": 1, "read_timeout_s": 1},
    "guard": {"removed_share_max": 1},
    "hot_tier": {"min_free_bytes": 0},
}
OPERATIONS = {
    "put": "PutObject", "copy": "CopyObject", "delete": "DeleteObject", "list": "ListObjectsV2", "head": "HeadObject",
    "get": "GetObject", "get_whole": "GetObject",
}  # fmt: skip
FAULTS = {
    "refused": Fault(status=503, code="ServiceUnavailable"),
    "throttled": Fault(status=503, code="SlowDown"),
    "timeout": Fault(drop=True),
    "lost": Fault(drop=True, applied=True),
    "cut": Fault(truncate_body=True),
}


class Bucket:
    """What another S3 client does: it only goes over the version that it has seen."""

    def __init__(self, double: S3Double) -> None:
        self.double = double
        self.name = double.create_bucket()
        self._client = double.client()

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Body and ETag."""
        try:
            found = self._client.get_object(Bucket=self.name, Key=key)
        except ClientError:
            return None
        return found["Body"].read(), found["ETag"]

    def put(self, key: str, body: bytes, seen: tuple[bytes, str] | None) -> bool:
        """Whether it was put: not when there was another version meanwhile."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen[1]}
        return self._try(lambda: self._client.put_object(Bucket=self.name, Key=key, Body=body, **condition))

    def delete(self, key: str, seen: tuple[bytes, str]) -> bool:
        """As `put`."""
        return self._try(lambda: self._client.delete_object(Bucket=self.name, Key=key, IfMatch=seen[1]))

    @staticmethod
    def _try(call: Callable[[], object]) -> bool:
        try:
            call()
        except ClientError:
            return False
        return True

    def view(self, prefix: str) -> dict[str, bytes | None]:
        """Every path below the prefix with its bytes, None for a directory."""
        view: dict[str, bytes | None] = {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for entry in (entry for page in pages for entry in page.get("Contents", ())):
            path = entry["Key"].removeprefix(prefix)
            parts = path.split("/")
            view |= {"/".join(parts[:depth]): None for depth in range(1, len(parts))}
            if not path.endswith("/") and path and (found := self.get(entry["Key"])) is not None:
                view[path] = found[0]
        return view


class History:
    """One history, in a directory of its own."""

    def __init__(self, bucket: Bucket, mounts: dict[str, Mount], number: int) -> None:
        self._bucket = bucket
        self._mounts = mounts
        self._prefix = f"{number}/"
        self._ledger = Ledger()
        self._number = 0

    def play(self, steps: Sequence[Step]) -> None:
        """What is refused has not happened."""
        (self._mounts[A].path / self._prefix).mkdir()
        for step in steps:
            self._number += 1
            with contextlib.suppress(OSError):
                self._play(step)

    def _tags(self, by: str, count: int) -> bytes:
        return b"".join(f"{by[0]}{self._prefix}{self._number:04}{at:02}\n".encode() for at in range(count))

    def _play(self, step: Step) -> None:
        match step:
            case Kill(by):
                self._mounts[by].kill9()
                self._mounts[by].remount()
            case Fail(method, how, times):
                if method in OPERATIONS:  # else of an upload in parts, which no file here is large enough for
                    self._bucket.double.fail_next(OPERATIONS[method], "*", FAULTS[how], times=times)
            case Sync(by):
                # under faults it may fail, and is tried again by itself
                self._mounts[by].tierctl("sync", self._mounts[by].path / self._prefix, check=False)
            case Poll(by):
                self._view(by)
            case _ if step.by == OUTSIDE:
                self._bucket.double.clear_faults()  # the other client has none
                self._play_outside(step)
            case _:
                self._play_program(step)

    # ---- outside ----

    def _play_outside(self, step: Step) -> None:
        key = self._prefix + step.path
        seen = self._bucket.get(key)
        match step:
            case Write(by, _, tags):
                self._put(key, self._tags(by, tags), seen)
            case Append(by, _, tags) if seen is not None:
                self._put(key, seen[0] + self._tags(by, tags), seen)
            case Remove() if seen is not None and self._bucket.delete(key, seen):
                self._ledger.taken(seen[0])

    def _put(self, key: str, body: bytes, seen: tuple[bytes, str] | None) -> None:
        if self._bucket.put(key, body, seen):
            self._ledger.given(body)
            if seen is not None:
                self._ledger.taken(seen[0])

    # ---- programs ----

    def _play_program(self, step: Step) -> None:
        path = self._at(step.by, step.path)
        match step:
            case Write(by, _, tags):
                self._write(path, self._tags(by, tags), appends=False, creates=True)
            case Append(by, _, tags):
                self._write(path, self._tags(by, tags), appends=True, creates=False)
            case Remove(_, name):
                with self._taking(path, name):
                    path.unlink()
            case Rename(by, _, to, "replace"):
                with self._taking(self._at(by, to), to):
                    path.rename(self._at(by, to))
            case MakeDirectory():
                path.mkdir()
            case RemoveDirectory():
                path.rmdir()
            case Chmod(_, _, mode):
                path.chmod(mode)

    def _at(self, by: str, path: str) -> Path:
        return self._mounts[by].path / self._prefix / path

    def _write(self, path: Path, tags: bytes, *, appends: bool, creates: bool) -> None:
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            if not creates:
                raise
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            seen = os.pread(fd, 1 << 20, 0)
            version = seen + tags if appends else tags
            os.pwrite(fd, tags, len(version) - len(tags))
            os.ftruncate(fd, len(version))
            if os.fstat(fd).st_nlink:  # else another client's version has got the name before the write
                self._ledger.taken(seen)
                self._ledger.given(version)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _taking(self, path: Path, name: str) -> Iterator[None]:
        """A name is about to be taken from the version that it leads to, which may come from the bucket just now."""
        seen = [path.read_bytes()] if path.is_file() else []
        before = self._bucket.get(self._prefix + name)
        yield
        after = self._bucket.get(self._prefix + name)
        seen += [found[0] for found in (before, after) if found is not None]
        for version in set(seen):
            self._ledger.taken(version)

    # ---- the end ----

    def check(self) -> None:
        """All sides agree after a while, and nothing is lost."""
        self._bucket.double.clear_faults()
        shown: list[object] = []

        def agree() -> bool:
            for mount in self._mounts.values():
                mount.wait_synced()
            shown[:] = [self._view(A), self._view(B), self._bucket.view(self._prefix)]
            return shown[0] == shown[1] == shown[2]

        assert programs.wait_until(agree, AGREE_S), f"the sides do not agree: {shown}"
        found = self._bucket.view(self._prefix)
        assert self._ledger.lost([body for body in found.values() if body is not None]) == [], found

    def _view(self, by: str) -> dict[str, bytes | None]:
        top = self._mounts[by].path / self._prefix
        view: dict[str, bytes | None] = {}
        with contextlib.suppress(OSError):  # it changes meanwhile
            for directory, names, files in os.walk(top):
                below = Path(directory).relative_to(top)
                view |= {str(below / name): None for name in names}
                view |= {str(below / name): (Path(directory) / name).read_bytes() for name in files}
        return view


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Bucket, dict[str, Mount]]]:
    with S3Double() as double, contextlib.ExitStack() as stack:
        bucket = Bucket(double)
        environment = {**double.environment, "TIERFS_RUN_DIR": str(tmp_path / "run")}
        mounts = {
            name: stack.enter_context(
                mounted(f"s3://{bucket.name}", tmp_path / name, settings=SETTINGS, env=environment)
            )
            for name in (A, B)
        }
        yield bucket, mounts


@pytest.mark.timeout(600 if IS_LONG else 300)
def test_all_sides_agree_and_nothing_is_lost(sides: tuple[Bucket, dict[str, Mount]]) -> None:
    numbers = iter(range(1000))

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(REAL_STEPS)
    def play(steps: Sequence[Step]) -> None:
        history = History(*sides, next(numbers))
        history.play([*BEFORE, *steps])
        history.check()

    play()
