"""What can be set for an index, and the states that it can be in."""

import enum
import logging
from typing import Final

from attrs import field, frozen
from attrs.validators import ge, in_

from tierfs.units import MIB, TIB

_log: Final = logging.getLogger(__name__)
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


def tell(state: IndexState, reason: str) -> None:
    """Logs a change that an operator has to know of before a program fails on it."""
    if state is IndexState.CLOSED:
        return
    if state is IndexState.HEALTHY:
        _log.info("the index takes changes again", extra={"event": "TFS6002"})
        return
    advice = {
        IndexState.STALLED: "Make room on the disk under the cache: changes are taken only while the journal has room.",
        IndexState.READ_ONLY: "Nothing changes until the next mount; look for errors of the disk under the cache.",
    }
    _log.error("the index is %s: %s. %s", state.value, reason, advice[state], extra={"event": "TFS6001"})


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
