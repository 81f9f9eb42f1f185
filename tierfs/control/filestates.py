"""What `tierctl state` says of a file, as `lfs hsm_state` does: read from the index, the bucket is not asked.

| flag | |
|---|---|
| exists | the bucket has the file, or an older version of it |
| dirty | the bucket has not seen the latest change |
| archived | the object is of a class that has to be restored before it is read |
| released | no byte of it is on the local disk |
| partial | some are |
| pinned | it stays there |

Checkpoints: none. A page of many files looks at so many names at most.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from tierfs.control.protocol import Json
from tierfs.index import dirents, inodes, intents, residency, restores
from tierfs.index.env import Reader
from tierfs.model import Inode, Residency
from tierfs.policy.classes import is_archive
from tierfs.policy.restores import Restore

_PAGE_ROWS: Final = 64  # an answer with the longest paths stays below the protocol's limit
_LOOKED_AT: Final = 2000
_ENTRIES: Final = 256


def state_of(reader: Reader, path: bytes, inode: Inode) -> Json:
    """One file."""
    hot = residency.hot_get(reader, inode.ino)
    present_bytes = here_bytes(reader, inode)
    is_empty = inode.size_bytes == 0
    storage_class = inode.base.storage_class if inode.base is not None else ""
    set_flags = {
        "exists": inode.base is not None,
        "dirty": inode.is_dirty or intents.of_inode(reader, inode.ino) is not None,
        "archived": is_archive(storage_class),
        "released": not is_empty and present_bytes == 0,
        "partial": 0 < present_bytes < inode.size_bytes,
        "pinned": hot is not None and hot.pinned,
    }
    return {
        "path": os.fsdecode(path),
        "flags": [name for name, is_set in set_flags.items() if is_set],
        "size_bytes": inode.size_bytes,
        "here_bytes": present_bytes,
        "here_percent": 100 if is_empty else 100 * present_bytes // inode.size_bytes,
        "storage_class": storage_class,
        "restore": restore_json(restores.get(reader, inode.ino)),
    }


def restore_json(restore: Restore | None) -> Json | None:
    """How far it is: {"stage", "ready_ns" (0: nobody can say), "speed", "days", "message"}."""
    if restore is None:
        return None
    return {
        "stage": restore.stage.value,
        "ready_ns": restore.ready_ns,
        "speed": restore.speed.value,
        "days": restore.days,
        "message": restore.message,
    }


def here_bytes(reader: Reader, inode: Inode) -> int:
    """How much of it is on the local disk."""
    hot = residency.hot_get(reader, inode.ino)
    if hot is None:
        return 0
    if hot.residency is Residency.FULL:
        return inode.size_bytes
    return sum(min(stop, inode.size_bytes) - start for start, stop in residency.extents_get(reader, inode.ino))


def page(reader: Reader, top: Inode, path: bytes, after: bytes) -> Json:
    """{"files": [...], "next": the `after` of the next page, None at the end}: regular files at and below `top`.

    `after`: a path below `top`; names are in the order of their bytes, directory by directory.
    """
    if not top.is_dir:
        return {"files": [state_of(reader, path, top)] if not after else [], "next": None}
    found: list[Json] = []
    looked_at, last = 0, b""
    for below, inode in _walk(reader, top.ino, (), tuple(after.split(b"/")) if after else ()):
        looked_at, last = looked_at + 1, b"/".join(below)
        if inode.is_regular:
            found.append(state_of(reader, b"/".join([*([path] if path else []), *below]), inode))
        if len(found) == _PAGE_ROWS or looked_at == _LOOKED_AT:
            return {"files": found, "next": os.fsdecode(last)}
    return {"files": found, "next": None}


def _walk(
    reader: Reader, directory: int, above: Sequence[bytes], after: Sequence[bytes]
) -> Iterator[tuple[Sequence[bytes], Inode]]:
    """What is below a directory and behind `after`, each directory before what is in it."""
    name = after[0] if after else b""
    if after and (entry := dirents.get(reader, directory, name)) is not None:
        inode = inodes.get(reader, entry.ino)
        if inode is not None and inode.is_dir:
            yield from _walk(reader, inode.ino, (*above, name), after[1:])
    while entries := dirents.page(reader, directory, name, _ENTRIES):
        name = entries[-1].name
        for each in entries:
            inode = inodes.get(reader, each.ino)
            if inode is None:
                continue
            yield (*above, each.name), inode
            if inode.is_dir:
                yield from _walk(reader, inode.ino, (*above, each.name), ())
