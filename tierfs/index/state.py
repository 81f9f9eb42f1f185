"""The index's own row: who it is, and how far the journal has reached LMDB. Written with every commit.

SETTINGS, key NUL "state"
u16  version of this row, 1
u16  INDEX_FORMAT
u64  index id, random: ties journal segments to this LMDB environment
u16  node, 1 to 32,767: prefix of the inode numbers made here
u32  epoch: how often the index was opened
u64  LSN of the last journal record that is in LMDB
u64  boot id of the boot in which it was last opened
u8   1 after a clean close, 0 while open
u64  bound of the inode numbers that may be in use (counter part); those above were never given out
i64  created, ns
"""

import hashlib
import secrets
import struct
from pathlib import Path
from typing import Final

import attrs
from attrs import frozen

from tierfs.errors import IndexDamageError
from tierfs.index.schema import INDEX_FORMAT

STATE_KEY: Final = b"\0state"
_ROW_VERSION: Final = 1
_VERSIONS: Final = struct.Struct("<HH")
_ROW: Final = struct.Struct("<HHQHIQQBBQq")


@frozen
class StateRow:
    """See the module."""

    index_id: int
    node: int
    epoch: int
    applied_lsn: int
    boot_id: int
    is_clean: bool
    is_unrecovered: bool
    ino_bound: int
    created_ns: int

    @classmethod
    def new(cls, node: int, ino_bound: int, created_ns: int) -> "StateRow":
        """Of an index that was never opened."""
        return cls(secrets.randbits(63), node, 0, 0, 0, True, False, ino_bound, created_ns)

    def encode(self) -> bytes:
        """As on disk."""
        return _ROW.pack(_ROW_VERSION, INDEX_FORMAT, *attrs.astuple(self))

    @staticmethod
    def decode(row: bytes) -> "StateRow":
        """Raises IndexDamageError for a newer version, and for a row that is none."""
        if len(row) < _VERSIONS.size:
            raise IndexDamageError("the index's state row is cut short")
        row_version, index_format = _VERSIONS.unpack_from(row)
        if index_format > INDEX_FORMAT or row_version > _ROW_VERSION:
            raise IndexDamageError(
                f"the index has format {index_format}, this tierfs knows up to {INDEX_FORMAT}: "
                "use the newer tierfs that wrote it, or another --cache directory"
            )
        if len(row) != _ROW.size or row_version != _ROW_VERSION or index_format != INDEX_FORMAT:
            raise IndexDamageError(f"the index's state row is not of format {INDEX_FORMAT}: {row.hex()}")
        _, _, index_id, node, epoch, applied_lsn, boot_id, is_clean, is_unrecovered, bound, created_ns = _ROW.unpack(
            row
        )
        return StateRow(
            index_id, node, epoch, applied_lsn, boot_id, bool(is_clean), bool(is_unrecovered), bound, created_ns
        )


def read_boot_id() -> int:
    """A number that differs from boot to boot."""
    text = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
