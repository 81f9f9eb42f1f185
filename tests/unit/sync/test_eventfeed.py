"""Events lead to the index: what is looked at and what is not, in any order, twice, and beside listings."""

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.event_rig import EventSource, event_source
from tests.support.memstore import MemoryStore
from tests.support.notifications import record, records
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import InodeFlag
from tierfs.objectstore.base import ListPage, ObjectInfo, ObjectMeta
from tierfs.sync.eventfeed import FeedLimits
from tierfs.units import NS_PER_S

YEAR_S = 365 * 86_400.0
LONG = ImportSettings(revalidate_s=YEAR_S)


def run(
    directory: Path,
    main: Callable[[Rig, EventSource], Awaitable[None]],
    *,
    limits: FeedLimits | None = None,
    import_: ImportSettings = LONG,
    store: MemoryStore | None = None,
) -> None:
    async def whole(rig: Rig) -> None:
        async with event_source(rig, limits) as source:
            await main(rig, source)

    run_rig(directory, whole, import_=import_, store=store, reads_ahead=False)


def test_a_new_a_changed_and_a_removed_object(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("d/old", b"1")
        assert await rig.list("") == ["d"] and await rig.list("d") == ["old"]
        before = rig.store.requests.copy()
        directory, began = rig.at("d").ino, await rig.news.after(None, 10)
        rig.told.entries.clear()
        await source.put("d/new", b"12345", **{"file-permissions": "0100640"})
        inode = rig.at("d/new")
        assert (inode.size_bytes, stat.S_IMODE(inode.mode)) == (5, 0o640) and InodeFlag.ATTRS_KNOWN in inode.flags
        assert rig.told.entries == [(directory, b"new")]
        await source.put("d/new", b"other")
        assert rig.at("d/new").ino == inode.ino and await rig.read("d/new") == b"other"
        assert (inode.ino, True) in rig.told.inodes
        await source.delete("d/new")
        assert rig.names("d") == ["old"]
        assert rig.told.entries == [(directory, b"new")] * 2
        assert rig.store.requests["head"] == before["head"] + 3 and rig.store.requests["list"] == before["list"]
        assert (source.feed.counts.received, source.feed.counts.applied, source.feed.pending) == (3, 3, 0)
        news = (await rig.news.after(began.last, 10)).changes
        assert [(one.what.value, one.path) for one in news] == [
            (what, "d/new") for what in ("added", "changed", "deleted")
        ]

    run(tmp_path, main)


def test_what_an_event_tells_survives_power_loss_before_it_is_taken(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        await source.put("f")
        journal = rig.index._journal
        assert journal.synced_lsn == journal.appended_lsn

    run(tmp_path, main)


def test_duplicates_and_old_events_are_harmless(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        await source.put("f", b"first")
        before = rig.at("f")
        await source.created("f", "f")
        await source.removed("f")  # of an object before this one
        assert rig.at("f").ino == before.ino and await rig.read("f") == b"first"
        await source.created("g")  # of what is gone by now
        assert rig.names() == ["f"]

    run(tmp_path, main)


def test_own_writes_cost_no_request(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        await rig.write("f", b"mine")
        await rig.sync()
        await rig.write("f", b"mine again")
        await rig.sync()
        heads = rig.store.requests["head"]
        await source.created("f")
        rig.unlink("f")
        await rig.sync()
        await source.removed("f")
        assert rig.store.requests["head"] == heads
        assert (source.feed.counts.own, source.feed.counts.known, source.feed.counts.applied) == (1, 1, 0)

    run(tmp_path, main)


def test_metadata_of_others_on_an_own_version_are_seen(tmp_path: Path) -> None:
    """A copy onto itself changes metadata and leaves the ETag: the second event of a version is looked at."""

    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        ino = await rig.write("f", b"mine", mode=0o644)
        await rig.sync()
        await source.created("f")
        rig.store._store(
            "f", b"mine", ObjectMeta(user={"file-permissions": "0100600"}), "", etag=rig.store.objects["f"].info.etag
        )
        await source.created("f", name="ObjectCreated:Copy")
        assert stat.S_IMODE(rig.at("f").mode) == 0o600
        assert (ino, False) in rig.told.inodes

    run(tmp_path, main)


def test_a_version_that_the_index_has_costs_no_request(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("f", b"1")
        await rig.list()
        heads = rig.store.requests["head"]
        version = rig.store.objects["f"].info.version_id
        await source.created("f", version=version or "none")
        assert rig.store.requests["head"] == heads + (not version)

    run(tmp_path, main)


def test_what_nobody_has_looked_at_is_not_looked_at(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await source.put("d/f")  # the root was never listed
        assert rig.store.requests["head"] == 0
        assert await rig.list() == ["d"]
        heads = rig.store.requests["head"]
        await source.put("d/e/g")
        assert (rig.store.requests["head"], source.feed.counts.known) == (heads, 2)
        assert await rig.list("d") == ["e", "f"]

    run(tmp_path, main)


def test_other_buckets_prefixes_and_hidden_keys_are_ignored(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        for bucket, key in (("other", "top/f"), ("bucket", "f"), ("bucket", "top"), ("bucket", "top/.tierfs/tmp/1")):
            await source.feed.take(records(record("ObjectCreated:Put", bucket, key)))
        await source.feed.take(records(record("ObjectCreated:Put", "bucket", "top/")))
        assert (source.feed.counts.ignored, rig.store.requests["head"]) == (5, 0)

    run(tmp_path, main)


def test_new_directories_and_their_end(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("a/old")
        await rig.list()
        await rig.list("a")
        await source.put("a/b/c/f")
        assert rig.names("a") == ["b", "old"]
        assert rig.at("a").nlink == 3
        assert await rig.list("a/b") == ["c"] and await rig.list("a/b/c") == ["f"]
        await source.delete("a/b/c/f")
        assert rig.names("a") == ["old"]
        assert rig.at("a").nlink == 2

    run(tmp_path, main)


def test_a_directory_that_was_never_listed_goes_with_its_last_object(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("d/1")
        rig.put_remote("d/2")
        assert await rig.list() == ["d"]
        await source.delete("d/1")
        assert rig.names() == ["d"]
        await source.delete("d/2")
        assert rig.names() == []

    run(tmp_path, main)


def test_markers(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        await source.put("d/", b"", **{"file-permissions": "0040750"})
        assert stat.S_IMODE((await rig.stat("d")).mode) == 0o750
        await source.put("d/", b"", **{"file-permissions": "0040700"})
        assert stat.S_IMODE(rig.at("d").mode) == 0o700  # although nobody has listed it
        await source.delete("d/")
        assert rig.names() == []

    run(tmp_path, main)


def test_an_object_beside_a_directory(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("a", b"object")
        await rig.list()
        await source.put("a/b", b"below")
        assert rig.names() == ["a", "a.tierfs-object"]
        await source.put("a", b"changed")
        assert await rig.read("a.tierfs-object") == b"changed"
        await source.delete("a")
        assert rig.names() == ["a"]

    run(tmp_path, main)


def test_a_second_name_of_a_file_goes(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        await rig.write("one", b"bytes")
        rig.link("one", "two")
        await rig.sync()
        await source.delete("two")
        assert rig.names() == ["one"] and rig.at("one").nlink == 1

    run(tmp_path, main)


def test_what_is_dirty_here_stays(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("f", b"theirs")
        await rig.stat("f")
        await rig.write("f", b"ours")
        await source.put("f", b"theirs again")
        assert await rig.read("f") == b"ours"
        await source.delete("f")
        assert await rig.read("f") == b"ours"

    run(tmp_path, main)


def test_an_open_file_keeps_its_version(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("f", b"first")
        ino = (await rig.stat("f")).ino
        handle = await rig.files.open(ino, write=False, truncate=False)
        assert await rig.files.read(handle, 0, 10) == b"first"
        await source.put("f", b"second")
        assert await rig.files.read(handle, 0, 10) == b"first"
        assert rig.at("f").ino != ino and await rig.read("f") == b"second"
        await rig.files.release(handle)

    run(tmp_path, main)


def test_events_of_one_key_are_one_look_and_of_many_keys_one_listing(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        rig.store.hold("head")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.put, "f", b"1")
            await rig.idle()
            for number in range(20):
                nursery.start_soon(source.put, "f", f"{number}".encode())
            await rig.idle()
            rig.store.release("head")
        assert rig.store.requests["head"] == 2 and await rig.read("f") == rig.store.content("f")
        rig.store.hold("head")
        lists = rig.store.requests["list"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.put, "f", b"2")
            await rig.idle()
            for number in range(100):
                nursery.start_soon(source.put, f"many{number}")
            await rig.idle()
            rig.store.release("head")
        assert len(rig.names()) == 101
        assert rig.store.requests["list"] == lists + 1
        assert source.feed.pending == 0

    run(tmp_path, main)


class LateStore(MemoryStore):
    """Answers as things were when it was asked: `hold("answer-list")`, `hold("answer-head")`."""

    async def list(self, *args: Any, **kwargs: Any) -> ListPage:
        page = await super().list(*args, **kwargs)
        await self._request("answer-list", "")
        return page

    async def head(self, key: str) -> ObjectInfo:
        info = await super().head(key)
        await self._request("answer-head", key)
        return info


def test_an_event_that_comes_while_its_key_is_looked_at_is_looked_at_again(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        rig.put_remote("f")
        rig.store.hold("answer-head")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.created, "f")
            await rig.idle()
            nursery.start_soon(source.delete, "f")
            await rig.idle()
            rig.store.release("answer-head")
        assert rig.names() == []

    run(tmp_path, main, store=LateStore())


def test_an_event_that_comes_during_a_listing_is_looked_at_after_it(tmp_path: Path) -> None:
    """The page may be older than the event: what it brought back must go again."""

    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("f", b"1")
        await rig.list()
        rig.put_remote("g", b"1")
        rig.store.hold("answer-list")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.importer.relist, 1)
            await rig.idle()
            nursery.start_soon(source.delete, "g")  # of which the index knows nothing yet
            await rig.idle()
            rig.store.release("answer-list")
        assert rig.names() == ["f"]

    # without HEADs for attributes, which would show that it is gone
    run(tmp_path, main, store=LateStore(), import_=ImportSettings(revalidate_s=YEAR_S, attributes="never"))


def test_a_look_that_fails_makes_the_message_come_again(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        rig.store.fail_next("head", StoreErrorKind.UNAVAILABLE)
        with pytest.raises(StoreError):
            await source.put("f")
        assert rig.names() == [] and source.feed.counts.errors == 1
        await source.created("f")
        assert rig.names() == ["f"]

    run(tmp_path, main)


def test_a_store_that_is_silent_does_not_hold_who_uses_the_directory(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("f", b"1")
        await rig.list()
        rig.store.hold("head")
        began_s = trio.current_time()
        with pytest.raises(StoreError):
            await source.put("g")
        assert trio.current_time() - began_s <= 5.0
        rig.store.release("head")
        assert await rig.list() == ["f", "g"]

    run(tmp_path, main, import_=ImportSettings(revalidate_s=0))


def test_more_keys_than_fit_wait_for_room(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await rig.list()
        rig.store.hold("head")
        keys = [f"f{number}" for number in range(10)]
        for key in keys:
            rig.put_remote(key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.created, *keys)
            await rig.idle()
            assert source.feed.pending == 3
            rig.store.release("head")
        assert rig.names() == sorted(keys) and source.feed.pending == 0

    run(tmp_path, main, limits=FeedLimits(keys_max=3))


def test_a_directory_that_is_pruned_while_its_key_waits(tmp_path: Path) -> None:
    """The key is looked at from the directory above then."""

    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("d/1")
        await rig.list()
        await rig.list("d")
        rig.store.hold("answer-list")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.delete, "d/1")
            await rig.idle()  # nothing is left below d/, says the listing that waits
            nursery.start_soon(source.put, "d/2")
            await rig.idle()
            rig.store.release("answer-list")
        assert rig.names() == ["d"] and await rig.list("d") == ["2"]

    run(tmp_path, main, store=LateStore())


def test_while_a_directory_is_being_renamed_its_keys_are_the_renames(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("old/1", b"1")
        await rig.list()
        await rig.list("old")
        rig.rename("old", "new")
        await source.put("old/2", b"2")
        await rig.sync()
        assert rig.keys == ["new/1", "new/2"]
        assert await rig.list("new") == ["1", "2"]

    run(tmp_path, main)


def test_malformed_messages_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        for _ in range(3):
            await source.feed.take("{")
        assert source.feed.counts.malformed == 3

    run(tmp_path, main)
    assert len([line for line in caplog.messages if "no notification" in line]) == 1


def test_while_events_flow_nothing_is_listed_again(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        rig.put_remote("d/f")
        await rig.list()
        lists = rig.store.requests["list"]
        await trio.sleep(100)
        rig.flow.prove(rig.clock.now_ns())
        await rig.list()  # was listed before the proof
        assert rig.store.requests["list"] == lists + 1
        await trio.sleep(1000)
        for _ in range(5):
            await rig.list()
        assert rig.store.requests["list"] == lists + 1
        rig.flow.fail("the queue is away")
        await rig.list()
        assert rig.store.requests["list"] == lists + 2

    run(tmp_path, main, import_=ImportSettings(revalidate_s=10))


def test_lag_is_by_the_servers_clock(tmp_path: Path) -> None:
    async def main(rig: Rig, source: EventSource) -> None:
        await trio.sleep(80_000)
        body = record("ObjectCreated:Put", "bucket", "top/f", time="2023-11-15T02:13:20+04:00")
        await source.feed.take(records(body))
        expected = rig.clock.now_ns() / NS_PER_S - 1_700_000_000
        assert source.feed.counts.lag_s == pytest.approx(expected, abs=1)

    run(tmp_path, main)
