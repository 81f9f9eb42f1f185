"""Objects of further names of which nobody saw that they were written: found again, whatever became of the names."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import conflicts
from tierfs.objectstore.base import Written


class _LosesAnswer(MemoryStore):
    """The answer to the next copy to one key gets lost, and so does that to the question whether it has arrived."""

    key = ""

    async def copy(self, source_key: str, key: str, **named: Any) -> Written:
        written = await super().copy(source_key, key, **named)
        if key == self.key:
            self.key = ""
            self.fail_next("head", StoreErrorKind.THROTTLED)
            raise StoreError(StoreErrorKind.UNCLEAR, "the answer got lost", key=key)
        return written


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("had_object", [False, True])
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("write", {"a": b"three", "b": b"three"}),
        ("unlink", {"a": b"two"}),
        ("unlink the first", {"b": b"two"}),
        ("rename", {"a": b"two", "c": b"two"}),
        ("rename the directory", {"a": b"two", "b": b"two"}),
    ],
)
def test_what_becomes_of_a_copy_whose_answer_got_lost(
    tmp_path: Path, change: str, wanted: dict[str, bytes], had_object: bool, is_restarted: bool
) -> None:
    store = _LosesAnswer()

    async def lose(rig: Rig) -> None:
        rig.mkdir("d")
        await rig.write("d/a", b"one")
        if had_object:
            rig.link("d/a", "d/b")
        await rig.sync()
        await rig.write("d/a", b"two")
        if not had_object:
            rig.link("d/a", "d/b")
        store.key = "d/b"
        rig.exporter.hurry()
        await rig.idle()
        assert store.content("d/b") == b"two"
        if not is_restarted:
            await go_on(rig)

    async def go_on(rig: Rig) -> None:
        directory = "d/"
        if change == "write":
            await rig.write("d/b", b"three")
        elif change == "rename":
            rig.rename("d/b", "d/c")
        elif change == "rename the directory":
            rig.rename("d", "e")
            directory = "e/"
        else:
            rig.unlink("d/a" if change == "unlink the first" else "d/b")
        await rig.sync()
        await rig.sync()
        assert {key: store.content(key) for key in rig.keys} == {
            directory: b"",
            **{directory + name: body for name, body in wanted.items()},
        }
        assert conflicts.count(rig.index) == 0
        assert not rig.pending()

    run_rig(tmp_path, lose, store=store)
    if is_restarted:
        run_rig(tmp_path, go_on, store=store)


class _HeldCopies(MemoryStore):
    """No copy of one key to another succeeds before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.is_copying = trio.Event()
        self.go_on = trio.Event()

    async def copy(self, source_key: str, key: str, **named: Any) -> Written:
        if source_key != key and not self.go_on.is_set():
            self.is_copying.set()
            await trio.sleep_forever()
        return await super().copy(source_key, key, **named)


@pytest.mark.parametrize("is_cold", [False, True])
def test_the_first_name_goes_when_only_its_object_has_the_bytes(tmp_path: Path, is_cold: bool) -> None:
    store = _HeldCopies()
    store.go_on.set()

    async def first(rig: Rig) -> None:
        await rig.write("a", b"one")
        rig.link("a", "b")
        await rig.sync()
        await rig.write("a", b"two, longer")
        store.go_on = trio.Event()
        rig.exporter.hurry()
        await store.is_copying.wait()
        assert (store.content("a"), store.content("b")) == (b"two, longer", b"one")

    async def second(rig: Rig) -> None:
        store.go_on.set()
        if is_cold:
            rig.files.replaced(rig.at("a").ino)  # as after the loss of the disk's bytes
        rig.unlink("a")
        await rig.sync()
        assert {key: store.content(key) for key in rig.keys} == {"b": b"two, longer"}
        assert await rig.read("b") == b"two, longer"
        assert conflicts.count(rig.index) == 0
        assert not rig.pending()

    run_rig(tmp_path, first, store=store)
    run_rig(tmp_path, second, store=store)
