"""Objects moved between storage classes: what of the file stays, what others see, what is left alone."""

from pathlib import Path

import pytest
import trio

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.index import held, residency
from tierfs.index.held import Held
from tierfs.model import revise
from tierfs.namespace.authority import SoleNode
from tierfs.objectstore.base import ObjectMeta, Written
from tierfs.policy.tasks import FileError
from tierfs.sync.classes import ClassChanger

IA = "STANDARD_IA"
MULTIPART = "0123456789abcdef0123456789abcdef-2"


class Doubts(list[int]):
    """The inodes whose objects were found changed or gone."""


def changer_of(rig: Rig, doubts: Doubts | None = None) -> ClassChanger:
    return ClassChanger(
        index=rig.index, store=rig.store, locations=rig.locations, files=rig.files, clock=rig.clock,
        claims=rig.exporter.claims, records=rig.exporter.records, authority=SoleNode(),
        ensure_attributes=rig.importer.ensure_attributes, on_stale=(doubts if doubts is not None else Doubts()).append,
    )  # fmt: skip


def storage_class(rig: Rig, key: str) -> str:
    return str(rig.store.objects[key].info.storage_class)


def test_the_object_moves_and_the_file_stays(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        before, meta = rig.inode(ino), rig.user_meta("f")
        assert await changer_of(rig).change(ino, IA) is None
        after = rig.inode(ino)
        assert storage_class(rig, "f") == IA and after.base is not None and after.base.storage_class == IA
        assert (after.size_bytes, after.mtime_ns, after.mode) == (before.size_bytes, before.mtime_ns, before.mode)
        assert rig.is_settled and not after.is_dirty
        assert {**rig.user_meta("f"), "tierfs-op": ""} == {**meta, "tierfs-op": ""}
        assert await rig.read("f") == b"bytes" and rig.store.requests["get"] + rig.store.requests["get_whole"] == 0
        await rig.list()
        assert revise(rig.at("f"), base=None) == revise(after, base=None), "the listing after it is no news"

    run_rig(tmp_path, main)


def test_a_later_write_stays_in_the_class_and_is_no_conflict(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        assert await changer_of(rig).change(ino, IA) is None
        await rig.write("f", b"others")
        await rig.sync()
        assert rig.keys == ["f"] and rig.store.content("f") == b"others" and storage_class(rig, "f") == IA

    run_rig(tmp_path, main)


class _Multipart(MemoryStore):
    """A copy of a multipart object has another ETag, as in S3."""

    def _store(self, key: str, data: bytes, meta: ObjectMeta, storage_class: str, *, etag: str = "") -> Written:
        old = self.objects.get(key)
        if old is not None and old.info.etag == MULTIPART and old.data == data:
            etag = "f" * 32
        return super()._store(key, data, meta, storage_class, etag=etag)


def test_a_new_etag_is_taken_over_and_another_mount_keeps_its_bytes(tmp_path: Path) -> None:
    store = _Multipart()

    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        meta = store.objects["f"].info.meta
        assert meta is not None
        store._store("f", b"bytes", meta, "", etag=MULTIPART)
        await rig.list()
        other = Rig(tmp_path / "other", store)
        try:
            await see(other)
            assert await changer_of(rig).change(ino, IA) is None
            base = rig.inode(ino).base
            assert base is not None and base.etag == "f" * 32 == store.objects["f"].info.etag
            asked = store.requests["get"] + store.requests["get_whole"]
            await see(other)
            assert store.requests["get"] + store.requests["get_whole"] == asked, "the bytes are known"
        finally:
            other.close()

    async def see(other: Rig) -> None:
        async with other.running(reads_ahead=False):
            await trio.sleep(1)
            await other.stat("f")
            assert await other.read("f") == b"bytes"

    (tmp_path / "other").mkdir()
    run_rig(tmp_path, main, store=store)


def test_an_object_of_others_stays_as_they_made_it(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        rig.put_remote("f", b"theirs", user={"their": "own"}, content_type="text/plain")
        await rig.list()
        assert await changer_of(rig).change(rig.at("f").ino, IA) is None
        meta = rig.store.objects["f"].info.meta
        assert meta == ObjectMeta(user={"their": "own"}, content_type="text/plain") and storage_class(rig, "f") == IA

    run_rig(tmp_path, main)


async def _dirty(rig: Rig, ino: int) -> None:
    await rig.write("f", b"others")


async def _pinned(rig: Rig, ino: int) -> None:
    hot = residency.hot_get(rig.index, ino)
    assert hot is not None
    with rig.index.transaction() as txn:
        residency.hot_put(txn, ino, type(hot)(hot.residency, hot.boot_id, hot.synced, False, 1, 1, pinned=True))


async def _held(rig: Rig, ino: int) -> None:
    with rig.index.transaction() as txn:
        held.put(txn, rig.inode(ino).parent, b"f", Held(ino, 1))


async def _linked(rig: Rig, ino: int) -> None:
    rig.link("f", "g")
    await rig.sync()


async def _open(rig: Rig, ino: int) -> None:
    await rig.files.open(ino, write=False, truncate=False)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_dirty, FileError.NOT_UPLOADED),
        (_pinned, FileError.PINNED),
        (_held, FileError.HELD),
        (_linked, FileError.HARD_LINKS),
        (_open, FileError.IN_USE),
    ],
)
def test_what_is_left_alone(tmp_path: Path, make: object, why: FileError) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        await make(rig, ino)  # type: ignore[operator]
        copies = rig.store.requests["copy"]
        assert await changer_of(rig).change(ino, IA) is why
        assert rig.store.requests["copy"] == copies and storage_class(rig, "f") == "STANDARD"

    run_rig(tmp_path, main)


def test_another_version_in_the_bucket_is_left_alone(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino, doubts = await rig.write("f", b"bytes"), Doubts()
        await rig.sync()
        rig.put_remote("f", b"theirs")
        assert await changer_of(rig, doubts).change(ino, IA) is FileError.OBJECT_CHANGED
        del rig.store.objects["f"]
        assert await changer_of(rig, doubts).change(ino, IA) is FileError.OBJECT_MISSING
        assert doubts == [ino, ino]

    run_rig(tmp_path, main)


def test_a_refusal_has_its_reason_and_leaves_nothing_pending(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        with pytest.raises(StoreError, match="no storage class"):
            await changer_of(rig).change(ino, "COLD")
        rig.store.fail_next("copy", StoreErrorKind.ACCESS_DENIED)
        with pytest.raises(StoreError, match="access denied"):
            await changer_of(rig).change(ino, IA)
        assert rig.is_settled
        assert await changer_of(rig).change(ino, "GLACIER") is None
        with pytest.raises(StoreError, match="restore it first"):
            await changer_of(rig).change(ino, IA)

    run_rig(tmp_path, main)


def test_a_lost_answer_is_found_out_by_the_export(tmp_path: Path) -> None:
    class Lossy(_Multipart):
        """The copy happens, and nobody hears of it."""

        loses = False

        def _store(self, key: str, data: bytes, meta: ObjectMeta, storage_class: str, *, etag: str = "") -> Written:
            written = super()._store(key, data, meta, storage_class, etag=etag)
            if self.loses:
                self.loses = False
                raise StoreError(StoreErrorKind.UNCLEAR, "the connection broke", key=key)
            return written

    store = Lossy()

    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        meta = store.objects["f"].info.meta
        assert meta is not None
        store._store("f", b"bytes", meta, "", etag=MULTIPART)
        await rig.list()
        store.loses = True
        with pytest.raises(StoreError, match="unclear"):
            await changer_of(rig).change(ino, IA)
        await rig.sync()
        base = rig.inode(ino).base
        assert base is not None and (base.etag, base.storage_class) == ("f" * 32, IA)
        assert rig.is_settled and rig.keys == ["f"]

    run_rig(tmp_path, main, store=store)


def test_a_write_during_the_move_goes_over_the_moved_object(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("f", b"bytes")
        await rig.sync()
        rig.store.hold("copy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(changer_of(rig).change, ino, IA)
            await rig.idle()
            await rig.write("f", b"others")
            rig.store.release("copy")
        await rig.sync()
        assert rig.keys == ["f"] and rig.store.content("f") == b"others" and storage_class(rig, "f") == IA

    run_rig(tmp_path, main)
