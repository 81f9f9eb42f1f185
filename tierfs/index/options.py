"""What can be set for an index, and the states that it can be in."""

import enum
from typing import Final

from attrs import field, frozen
from attrs.validators import ge, in_

from tierfs.units import MIB, TIB

NODE_MAX: Final = 0x7FFF
"""Fifteen bits: an inode number stays positive for programs that keep it signed."""


class IndexState(enum.Enum):
    """How the index is. Changes go through `Index._set_state` alone."""

    HEALTHY = "healthy"
    # LMDB cannot commit (disk full); mutations are taken while the journal has room; tried again by itself
    STALLED = "stalled"
    # no mutation any more until a restart: a lost fdatasync, a failed journal write, damage
    READ_ONLY = "read-only"
    CLOSED = "closed"


@frozen
class IndexSettings:
    """The [index] section of the configuration."""

    # address space, not disk: LMDB cannot raise it while open without risking SIGBUS
    map_size_bytes: int = field(default=TIB, validator=ge(16 * MIB))
    journal_segment_bytes: int = field(default=16 * MIB, validator=ge(64 * 1024))
    journal_segments: int = field(default=4, validator=ge(2))
    commit_interval_s: float = 0.25
    durability_interval_s: float = 1.0
    # dirty LMDB pages are private memory, at most about one of 4 KiB a change
    max_uncommitted_changes: int = field(default=16_384, validator=ge(1))
    node: int = field(default=0, validator=in_(range(NODE_MAX + 1)))  # 0: a random one, kept from then on
