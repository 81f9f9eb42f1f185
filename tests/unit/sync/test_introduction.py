"""A mount asks the bucket; who takes over believes what was found out, if it was of this bucket and this tierfs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import INDEX_SETTINGS
from tierfs.clock import ManualClock
from tierfs.index import settings
from tierfs.index.env import Index
from tierfs.objectstore.base import Capabilities
from tierfs.sync.introduction import introduce

SOURCE = "s3://bucket/prefix"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "index", clock=ManualClock(), settings=INDEX_SETTINGS, boot_id=1)
    yield opened
    opened.close()


def introduced(index: Index, *, source: str = SOURCE, takes_over: bool) -> tuple[Capabilities, int]:
    """What is found, and with how many requests."""
    store = MemoryStore()

    async def main() -> Capabilities:
        return await introduce(store, index, source, read_only=False, takes_over=takes_over)

    return trio.run(main), store.requests.total()


def test_who_takes_over_asks_nothing(index: Index) -> None:
    found, requests = introduced(index, takes_over=False)
    assert requests > 5
    assert introduced(index, takes_over=True) == (found, 0)


def test_a_mount_asks_each_time(index: Index) -> None:
    assert introduced(index, takes_over=False)[1] == introduced(index, takes_over=False)[1] > 5


def test_what_was_found_out_of_another_source_or_by_another_tierfs_counts_for_nothing(index: Index) -> None:
    introduced(index, takes_over=False)
    assert introduced(index, source="s3://other", takes_over=True)[1] > 5
    document = json.loads(settings.get(index, "capabilities") or b"")
    del document["tags"]
    with index.transaction() as txn:
        settings.put(txn, "capabilities", json.dumps(document).encode())
    assert introduced(index, source="s3://other", takes_over=True)[1] > 5
