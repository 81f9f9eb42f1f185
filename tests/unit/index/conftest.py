"""An index in a temporary directory, small enough that its limits are near."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tierfs.clock import ManualClock
from tierfs.index.env import Index, IndexSettings

SMALL = IndexSettings(map_size_bytes=256 << 20, journal_segment_bytes=64 << 10, journal_segments=3, node=5)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_index(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Index]]:
    """Opens an index, by default always the same one; closes what the test leaves open."""
    opened: list[Index] = []

    def open_one(directory: Path = tmp_path / "index", settings: IndexSettings = SMALL, boot_id: int = 1) -> Index:
        opened.append(Index.open(directory, clock=clock, settings=settings, boot_id=boot_id))
        return opened[-1]

    yield open_one
    for index in opened:
        index.close()


@pytest.fixture
def index(open_index: Callable[..., Index]) -> Index:
    return open_index()
