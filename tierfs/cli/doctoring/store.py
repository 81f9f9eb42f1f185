"""The bucket, looked at by this process: where no daemon runs that could do it with its own rights."""

import uuid
from collections.abc import Callable
from functools import partial

import trio

from tierfs import translation
from tierfs.config import Settings
from tierfs.errors import StoreError
from tierfs.objectstore.base import ObjectStore
from tierfs.objectstore.examination import Examination, Tried, examine
from tierfs.objectstore.opening import open_store
from tierfs.objectstore.probe import probe

Opener = Callable[[], ObjectStore]


def examined(settings: Settings, source: str) -> Examination:
    """What this user may do in the bucket of `source`, and what its server does. Raises ConfigError."""
    return trio.run(partial(look, lambda: open_store(source, translation.store_settings(settings)), settings))


async def look(opened: Opener, settings: Settings) -> Examination:
    """The same of a store that `opened` makes."""
    store, read_only = opened(), settings.mount.read_only
    op_id = uuid.uuid4().hex
    try:
        found = await examine(store, op_id, read_only=read_only)
        if not read_only and not any(one.error for one in found.tried):
            try:
                found.warnings = list((await probe(store, op_id)).warnings)
            except StoreError as error:
                # allowed a moment ago: it went away meanwhile
                found.tried.append(Tried("list", error.kind.name, str(error)))
        return found
    finally:
        await store.aclose()
