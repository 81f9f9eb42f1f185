"""What a listing shows is news, unless something that the index has speaks for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sync_rig import Rig, run_rig
from tierfs.sync.spoken_for import is_any_spoken_for, is_at_home, is_spoken_for


async def _make(rig: Rig) -> None:
    """Two names of a file, in a directory that is not the first name's, and another file."""
    rig.mkdir("d")
    await rig.write("one", b"x")
    rig.link("one", "d/link")
    await rig.write("d/file", b"y")
    await rig.sync()


def _is_news(rig: Rig, key: str) -> bool:
    return not is_spoken_for(rig.index, rig.locations, key)


@pytest.mark.parametrize(
    ("change", "spoken_for"),
    [
        (lambda rig: None, set()),
        (lambda rig: rig.unlink("d/file"), {"d/file"}),
        (lambda rig: rig.unlink("d/link"), {"d/link"}),
        (lambda rig: rig.rename("d/file", "file"), {"d/", "d/file", "d/link"}),
        (lambda rig: rig.rename("d", "e"), {"d/", "d/file", "d/link"}),
    ],
)
def test_what_is_on_its_way_is_no_news(tmp_path: Path, change: Callable[[Rig], None], spoken_for: set[str]) -> None:
    async def main(rig: Rig) -> None:
        await _make(rig)
        change(rig)
        assert is_any_spoken_for(rig.index) == bool(spoken_for)
        assert {key for key in ("d/", "d/file", "d/link") if not _is_news(rig, key)} == spoken_for
        assert _is_news(rig, "d/new")

    run_rig(tmp_path, main)


def test_who_has_an_old_name_now_is_at_home_there(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await _make(rig)
        rig.store.hold("list")  # the renamed directory stays on its way
        rig.rename("d", "e")
        rig.mkdir("d")
        await rig.write("d/new", b"z")
        rig.link("d/new", "d/further")
        assert not is_at_home(rig.index, rig.locations, "d/new"), "nothing was sent yet"
        rig.exporter.hurry()
        await rig.idle()
        assert {"d/new", "d/further"} <= set(rig.keys)
        assert is_at_home(rig.index, rig.locations, "d/new")
        assert is_at_home(rig.index, rig.locations, "d/further")
        assert not _is_news(rig, "d/new") and not _is_news(rig, "d/further")
        assert not is_at_home(rig.index, rig.locations, "d/link"), "of what was renamed"
        assert _is_news(rig, "d/never-seen")

    run_rig(tmp_path, main)


def test_a_further_link_whose_write_is_under_way_is_at_home(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        await rig.write("one", b"x")
        rig.link("one", "two")
        assert not is_at_home(rig.index, rig.locations, "two"), "nothing was sent yet"
        rig.store.hold("copy")
        rig.exporter.hurry()
        await rig.idle()
        assert rig.keys == ["one"]
        assert is_at_home(rig.index, rig.locations, "two")
        rig.store.release("copy")

    run_rig(tmp_path, main)
