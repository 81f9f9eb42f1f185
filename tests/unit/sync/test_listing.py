"""What a listing shows that is not there."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.model import ROOT_INO
from tierfs.objectstore.base import Capabilities, ListPage, Written


class _PrefixesThatStay(MemoryStore):
    """Lists every prefix that ever had an object, as SeaweedFS does."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(live_prefixes=False)

    def _store(self, key: str, *rest: Any, **kwargs: Any) -> Written:
        self._seen.update(key[: at + 1] for at, letter in enumerate(key) if letter == "/")
        return super()._store(key, *rest, **kwargs)

    async def list(self, prefix: str, **named: Any) -> ListPage:
        page = await super().list(prefix, **named)
        if not named["delimited"]:
            return page
        below = {each for each in self._seen if each.startswith(prefix) and each[len(prefix) : -1].count("/") == 0}
        return evolve(page, prefixes=sorted(below - {prefix}))


def test_a_prefix_without_objects_is_no_directory(tmp_path: Path) -> None:
    store = _PrefixesThatStay()

    async def first(rig: Rig) -> None:
        for path in ("old", "old/sub", "kept", "kept/sub", "empty"):
            rig.mkdir(path)
        await rig.write("old/sub/f", b"1")
        await rig.write("kept/sub/f", b"2")
        rig.put_remote("implicit/below/f", b"3")
        await rig.sync()
        rig.rename("old", "new")
        rig.unlink("kept/sub/f")
        rig.rmdir("kept/sub")
        await rig.sync()
        assert "old/" in (await store.list("", delimited=True)).prefixes
        assert "kept/sub/" in (await store.list("kept/", delimited=True)).prefixes

    async def second(rig: Rig) -> None:
        assert await rig.list() == ["empty", "implicit", "kept", "new"]
        assert await rig.list("kept") == []
        assert await rig.list("new") == ["sub"]
        assert await rig.list("implicit") == ["below"]

    run_rig(tmp_path / "1", first, store=store)
    run_rig(tmp_path / "2", second, store=store)


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_listing_while_a_tree_moves_takes_nothing_of_it_back(tmp_path: Path, is_marked: bool) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("a/f", b"1")
        rig.put_remote("a/sub/g", b"2")
        if is_marked:
            rig.put_remote("a/", b"")
        await rig.list()
        rig.rename("a", "b")
        assert await rig.list() == ["b"]
        assert await rig.importer.look(ROOT_INO, ["a/", "b/"]) and rig.names() == ["b"]
        await rig.sync()
        assert [key for key in rig.keys if not key.endswith("/")] == ["b/f", "b/sub/g"]
        assert await rig.list() == ["b"] and rig.is_settled

    run_rig(tmp_path, main)
