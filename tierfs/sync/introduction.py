"""Getting to know the bucket before anything is done with it: can it be used, what does its server do, which format?

A mount asks. A daemon that takes over from one that died believes what was found out then, and asks for nothing: the
server may be away just now, and hot files do not need it. What was found out stands in SETTINGS of the index, as JSON
with the source and with a field for each of Capabilities; of another source or another tierfs it counts for nothing.
"""

import json
from typing import Any, Final

import attrs

from tierfs.index import settings
from tierfs.index.env import Index
from tierfs.objectstore.base import Capabilities, ObjectStore
from tierfs.objectstore.probe import believe, probe
from tierfs.sync.format import agree_on_format

_NAME: Final = "capabilities"


async def introduce(
    store: ObjectStore, index: Index, source: str, *, read_only: bool, takes_over: bool
) -> Capabilities:
    """Has the store know what its server does, and returns it. StoreError, FsError (another format)."""
    known = _remembered(index, source) if takes_over else None
    if known is not None:
        believe(store, known)
        return known
    await store.check()
    found = await probe(store, index.next_op_id())
    await agree_on_format(store, index.next_op_id(), read_only=read_only)
    document = {"source": source, **attrs.asdict(found), "warnings": list(found.warnings)}
    with index.transaction() as txn:
        settings.put(txn, _NAME, json.dumps(document).encode())
    return found


def _remembered(index: Index, source: str) -> Capabilities | None:
    stored = settings.get(index, _NAME)
    if stored is None:
        return None
    document: dict[str, Any] = json.loads(stored)
    names = {field.name for field in attrs.fields(Capabilities)}
    if document.pop("source") != source or document.keys() != names:
        return None
    return Capabilities(**document)
