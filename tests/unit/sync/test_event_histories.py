"""Any history of a bucket, told late, twice, out of order and beside listings: in the end the tree is the bucket's.

And where some events were lost, after one sweep, flat or not. Operations are data, so a failing history is printed and
can be run again.
"""

import enum
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio
from attrs import frozen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.event_rig import BUCKET, PREFIX, EventSource, event_source
from tests.support.notifications import record, records
from tests.support.small_pages import SmallPages
from tests.support.sync_rig import Rig, run_rig
from tierfs.config.sections import ImportSettings
from tierfs.sync.keyrange import KeyRange
from tierfs.sync.seen import Visit
from tierfs.sync.sweep import Sweep

KEYS = ("f", "g", "a/f", "a/g", "a/b/f", "a/b/", "a/", "c/d/e/f", "a")
DIRECTORIES = ("", "a", "a/b", "c", "c/d", "c/d/e")


class Told(enum.Enum):
    """What becomes of an event."""

    NOW = enum.auto()
    LATER = enum.auto()  # it waits to be delivered
    NEVER = enum.auto()


@frozen
class Put:
    """Another client writes."""

    key: str
    told: Told = Told.LATER


@frozen
class Delete:
    """Another client deletes."""

    key: str
    told: Told = Told.LATER


@frozen
class Use:
    """A program lists a directory here, if there is one."""

    directory: str


@frozen
class Write:
    """A program writes a file here, where its directory is."""

    key: str


@frozen
class Deliver:
    """The event at this place of those that wait comes; it goes on waiting if it is to come twice."""

    at: int
    twice: bool


@frozen
class ListFlat:
    """A scan lists all of the bucket at once."""


Step = Put | Delete | Use | Write | Deliver | ListFlat
IN_THE_END = st.sampled_from([Told.NOW, Told.NOW, Told.LATER])
STEPS = st.lists(
    st.one_of(
        st.builds(Put, st.sampled_from(KEYS), IN_THE_END),
        st.builds(Delete, st.sampled_from(KEYS), IN_THE_END),
        st.builds(Use, st.sampled_from(DIRECTORIES)),
        st.builds(Write, st.sampled_from([key for key in KEYS if not key.endswith("/") and key != "a"])),
        st.builds(Deliver, st.integers(0, 20), st.booleans()),
        st.builds(ListFlat),
    ),
    min_size=5,
    max_size=30,
)


class History:
    """Plays steps on a rig."""

    def __init__(self, rig: Rig, source: EventSource, nursery: trio.Nursery) -> None:
        self.rig = rig
        self.source = source
        self.nursery = nursery
        self.waiting: list[str] = []
        self.number = 0

    async def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.number += 1
            if self.number % 3:  # else things go on at the same time
                await self.rig.idle()
            match step:
                case Put(key, told):
                    self.rig.put_remote(key, b"" if key.endswith("/") else f"{self.number}".encode())
                    self._tell("ObjectCreated:Put", key, self.rig.store.objects[key].info.etag, told)
                case Delete(key, told):
                    if self.rig.store.objects.pop(key, None) is not None:
                        self._tell("ObjectRemoved:Delete", key, "", told)
                case Use(directory):
                    await self._use(directory)
                case Write(key):
                    await self._write(key)
                case ListFlat():
                    self.nursery.start_soon(list_flat, self.rig)
                case Deliver(at, twice):
                    if self.waiting:
                        at %= len(self.waiting)
                        body = self.waiting[at] if twice else self.waiting.pop(at)
                        self.nursery.start_soon(self.source.feed.take, body)

    def _tell(self, name: str, key: str, etag: str, told: Told) -> None:
        body = records(record(name, BUCKET, PREFIX + key, etag=etag))
        if told is Told.LATER:
            self.waiting.append(body)
        elif told is Told.NOW:
            self.nursery.start_soon(self.source.feed.take, body)

    async def _use(self, directory: str) -> None:
        found = self.rig.find(directory)
        if found is not None and found.is_dir:
            await self.rig.importer.ensure_listed(found.ino)

    async def _write(self, key: str) -> None:
        parent = key.rpartition("/")[0]
        await self._use(parent)
        directory, there = self.rig.find(parent), self.rig.find(key)
        if directory is None or not directory.is_dir or (there is not None and there.is_dir):
            return
        if there is not None:
            await self.rig.importer.ensure_attributes(there.ino)
        if there is None or self.rig.find(key) is not None:
            await self.rig.write(key, f"local {self.number}".encode())

    async def deliver_all(self) -> None:
        for body in self.waiting:
            await self.source.feed.take(body)
        self.waiting.clear()
        await self.rig.idle()


def shown(rig: Rig, path: str = "") -> set[str]:
    """Every path below, directories with a slash; each is listed only if it never was."""
    found = set()
    for name in rig.names(path):
        below = f"{path}/{name}".lstrip("/")
        found.add(below + ("/" if rig.at(below).is_dir else ""))
        if rig.at(below).is_dir:
            found |= shown(rig, below)
    return found


async def use_all(rig: Rig, path: str = "") -> None:
    """Lists what was never listed: what was, stays as the events have left it."""
    await rig.importer.ensure_listed(rig.at(path).ino)
    for name in rig.names(path):
        below = f"{path}/{name}".lstrip("/")
        if rig.at(below).is_dir:
            await use_all(rig, below)


def expected(rig: Rig) -> set[str]:
    paths: set[str] = set()
    for key in rig.keys:
        parts = key.split("/")
        paths |= {"/".join(parts[:depth]) + "/" for depth in range(1, len(parts))}
    for key in rig.keys:
        if not key.endswith("/"):
            paths.add(f"{key}.tierfs-object" if key + "/" in paths else key)
    return paths


async def agrees(rig: Rig) -> None:
    """Names and bytes are those of the bucket."""
    await rig.sync()
    await use_all(rig)
    assert shown(rig) == expected(rig)
    for path in shown(rig):
        if not path.endswith("/") and rig.at(path).base is not None:
            key = path.removesuffix(".tierfs-object")
            assert await rig.read(path) == rig.store.content(key)


async def list_flat(rig: Rig) -> None:
    listing = rig.importer.flat(KeyRange(), Visit(), bool)
    try:
        while await listing.next_page():
            pass
    finally:
        listing.close()


class FlatSweep(Sweep):
    """Lists flat, whatever it costs."""

    async def _is_cheaper_flat(self) -> bool:
        return True


def play(steps: Sequence[Step], *, sweep_with: type[Sweep] | None = None) -> None:
    async def main(rig: Rig) -> None:
        async with event_source(rig) as source, trio.open_nursery() as nursery:
            await rig.list()
            history = History(rig, source, nursery)
            await history.play(steps)
            await rig.sync()
            await history.deliver_all()
            if sweep_with is not None:
                rig.store.delay_s = lambda: 0.001
                found: list[str] = []
                sweep = sweep_with(
                    index=rig.index, importer=rig.importer, clock=rig.clock, interval_s=1, on_found=found.append,
                    listings=2,
                )  # fmt: skip
                await sweep.sweep()
            await agrees(rig)

    with tempfile.TemporaryDirectory() as directory:
        store = SmallPages(2)
        store.delay_s = lambda: 0.0
        run_rig(
            Path(directory), main, store=store, import_=ImportSettings(revalidate_s=365 * 86_400), reads_ahead=False
        )


RARE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RARE
@given(STEPS)
@example([Put("a/f", Told.NOW), Use("a"), Use("a"), Delete("a/f", Told.NOW)])
@example([Put("a/f", Told.NOW), Use(""), Use(""), Put("a", Told.NOW), Delete("a/f", Told.NOW)])
@example([Put("a/f"), Deliver(0, True), Use("a"), Delete("a/f"), Deliver(1, False), Put("a/g"), Deliver(0, True)])
def test_events_in_any_order_bring_the_tree_to_the_bucket(steps: Sequence[Step]) -> None:
    play(steps)


LOSSY = st.lists(
    st.one_of(
        st.builds(Put, st.sampled_from(KEYS), st.sampled_from(Told)),
        st.builds(Delete, st.sampled_from(KEYS), st.sampled_from(Told)),
        st.builds(Use, st.sampled_from(DIRECTORIES)),
        st.builds(Deliver, st.integers(0, 20), st.booleans()),
        st.builds(ListFlat),
    ),
    max_size=25,
)


@settings(RARE, max_examples=20)
@given(LOSSY, st.sampled_from([Sweep, FlatSweep]))
def test_what_was_lost_a_sweep_brings(steps: Sequence[Step], sweep_with: type[Sweep]) -> None:
    play(steps, sweep_with=sweep_with)
