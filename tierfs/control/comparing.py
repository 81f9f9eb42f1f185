"""Two files beside each other: where they differ, and short texts themselves, so that a client can show a diff.

Bounded: at most 64 MiB of each file are read, and texts of at most 64 KiB each leave the daemon (both fit into one
answer of the protocol, escaped). Checkpoints: every open, read and release.
"""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tierfs import native
from tierfs.control.protocol import Json
from tierfs.filesystem import FileSystem
from tierfs.model import Inode
from tierfs.units import KIB, MIB

TEXT_MAX_BYTES: Final = 64 * KIB
LOOK_MAX_BYTES: Final = 64 * MIB
_CHUNK_BYTES: Final = MIB


def first_difference(one: bytes, other: bytes) -> int | None:
    """The offset of the first byte that differs, the end of the shorter one included; None when they are the same."""
    if one == other:
        return None
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def text_of(data: bytes) -> str | None:
    """The text, None for what is no UTF-8 or holds a NUL."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


async def compare(fs: FileSystem, one: Inode, other: Inode) -> Json:
    """{"kind", "differs_at", "looked_at_bytes", "texts", "checksums"}; FsError, StoreError.

    | kind | of | texts, checksums |
    |---|---|---|
    | text | two short texts, or the targets of symlinks | [one, other] |
    | binary | two short files | only checksums |
    | long | two files of which one is not short | null |
    | type | two types | null |
    | empty | what has no bytes, such as a fifo | null |

    `differs_at` is an offset, null when nothing differs in what was looked at: all of both, unless they are longer.
    """
    result: Json = {"kind": "type", "differs_at": None, "looked_at_bytes": 0, "texts": None, "checksums": None}
    if stat.S_IFMT(one.mode) != stat.S_IFMT(other.mode):
        return result
    if one.is_symlink:
        return {**result, **_short(one.target, other.target)}
    if not one.is_regular:
        return {**result, "kind": "empty"}
    async with _opened(fs, one) as first, _opened(fs, other) as second:
        if max(one.size_bytes, other.size_bytes) <= TEXT_MAX_BYTES:
            # one byte more: a file that has grown meanwhile is no short one
            bodies = [await fs.read(handle, 0, TEXT_MAX_BYTES + 1) for handle in (first, second)]
            if max(map(len, bodies)) <= TEXT_MAX_BYTES:
                return {**result, **_short(*bodies)}
        return {**result, **await _look(fs, first, second)}


@asynccontextmanager
async def _opened(fs: FileSystem, inode: Inode) -> AsyncIterator[int]:
    handle = await fs.open(inode.ino, os.O_RDONLY | os.O_NOATIME)
    try:
        yield handle
    finally:
        await fs.release(handle)


def _short(one: bytes, other: bytes) -> Json:
    texts = [text_of(one), text_of(other)]
    is_text = None not in texts
    return {
        "kind": "text" if is_text else "binary",
        "differs_at": first_difference(one, other),
        "looked_at_bytes": max(len(one), len(other)),
        "texts": texts if is_text else None,
        "checksums": [f"crc64nvme:{native.crc64nvme(data):016x}" for data in (one, other)],
    }


async def _look(fs: FileSystem, one: int, other: int) -> Json:
    at = 0
    while at < LOOK_MAX_BYTES:
        first, second = [await fs.read(handle, at, _CHUNK_BYTES) for handle in (one, other)]
        differs_at = first_difference(first, second)
        if differs_at is not None:
            return {"kind": "long", "differs_at": at + differs_at, "looked_at_bytes": at + differs_at + 1}
        at += len(first)
        if len(first) < _CHUNK_BYTES:
            break
    return {"kind": "long", "looked_at_bytes": at}
