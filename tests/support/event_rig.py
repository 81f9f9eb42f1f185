"""A rig's bucket that tells of its changes: what is delivered, when, how often, and in which order is the test's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.support.notifications import record, records
from tests.support.sync_rig import Rig
from tierfs.sync.eventfeed import Feed, FeedLimits
from tierfs.sync.eventflow import Canary

BUCKET = "bucket"
PREFIX = "top/"


class EventSource:
    """Sends the events of a rig's bucket."""

    def __init__(self, rig: Rig, feed: Feed) -> None:
        self.rig = rig
        self.feed = feed

    async def created(self, *keys: str, name: str = "ObjectCreated:Put", version: str = "") -> None:
        """Of the versions that are there now."""
        found = []
        for key in keys:
            there = self.rig.store.objects.get(key)
            etag = there.info.etag if there is not None else "gone"
            found.append(record(name, BUCKET, PREFIX + key, etag=etag, versionId=version))
        await self.feed.take(records(*found))

    async def removed(self, *keys: str) -> None:
        await self.feed.take(records(*(record("ObjectRemoved:Delete", BUCKET, PREFIX + key) for key in keys)))

    async def put(self, key: str, data: bytes = b"new", **user: str) -> None:
        """Another client writes, and the event comes at once."""
        self.rig.put_remote(key, data, user=user)
        await self.created(key)

    async def delete(self, key: str) -> None:
        del self.rig.store.objects[key]
        await self.removed(key)


@asynccontextmanager
async def event_source(rig: Rig, limits: FeedLimits | None = None) -> AsyncIterator[EventSource]:
    """A feed at work over the rig."""
    canary = Canary(index=rig.index, store=rig.store, flow=rig.flow, clock=rig.clock, interval_s=60, lost_after_s=10)
    feed = Feed(
        index=rig.index, locations=rig.locations, importer=rig.importer, activity=rig.activity, canary=canary,
        clock=rig.clock, bucket=BUCKET, prefix=PREFIX, on_told=lambda key: None, limits=limits,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(feed.run)
        yield EventSource(rig, feed)
        nursery.cancel_scope.cancel()
