"""A strict S3 double for each test, whose requests can be made to fail, and a mount of one of its buckets.

The mount's settings make failures quick: files are exported at once and a request is repeated for a second or two.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from tests.support.mounts import Mount, Settings, mounted
from tests.support.s3double import S3Double

MIB = 1 << 20
PART_BYTES = 5 * MIB
RETRY_BUDGET_S = 1.5
IMPATIENT: Settings = {
    "store": {
        "part_size_bytes": PART_BYTES,
        "retry_budget_s": RETRY_BUDGET_S,
        "connect_timeout_s": 1,
        "read_timeout_s": 1,
    },
    "hot_tier": {"min_free_bytes": 0},
    "export": {"quiet_s": 0.1},
}


@frozen
class Rig:
    """A server with one bucket, and mounts of it."""

    double: S3Double
    bucket: str
    directory: Path
    client: Any = field(repr=False)

    @contextlib.contextmanager
    def mounted(
        self, *, directory: Path | None = None, environment: dict[str, str] | None = None, **sections: dict[str, Any]
    ) -> Iterator[Mount]:
        """The bucket, mounted with `IMPATIENT` settings; `sections` add to them."""
        settings = {name: {**IMPATIENT.get(name, {}), **sections.get(name, {})} for name in {*IMPATIENT, *sections}}
        place = directory or self.directory
        # a run directory of its own: a daemon that dies here is nobody else's to find
        env = {**self.double.environment, "TIERFS_RUN_DIR": str(self.directory / "run"), **(environment or {})}
        with mounted(f"s3://{self.bucket}", place, settings=settings, env=env, life_limit_s=120) as mount:
            yield mount

    def put(self, key: str, body: bytes) -> None:
        """As another S3 client does."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def object_keys(self) -> list[str]:
        """All keys of users in the bucket."""
        return [key for key in self.all_keys() if not key.startswith(".tierfs/")]

    def all_keys(self) -> list[str]:
        """With tierfs's own."""
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def body(self, key: str) -> bytes:
        """What another S3 client reads."""
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with S3Double() as double:
        yield Rig(double, double.create_bucket(), tmp_path, double.client())


@pytest.fixture
def errors_of() -> Callable[[Mount, str], list[str]]:
    """The lines of a mount's log that speak of a failure of `key` to whoever asked for it."""

    def find(mount: Mount, key: str) -> list[str]:
        return [line for line in mount.log().splitlines() if " ERROR " in line and json.dumps(key)[1:-1] in line]

    return find
