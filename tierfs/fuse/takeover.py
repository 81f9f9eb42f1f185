"""The next life of a daemon that died: what the holder hands to it, and how the holder is to start it.

The holder keeps the mount (native/holder/restart.c). It starts the same command again and says in an environment
variable which descriptors are the ends of its two links, and in which file stands what the kernel holds: lookups,
open handles, lent files, changes that it waits for. Plain data and descriptors: no pyfuse3, no trio.
"""

import os
import socket
import struct
from collections.abc import MutableMapping, Sequence
from enum import IntEnum
from typing import Final

from attrs import frozen

from tierfs.model import KernelState, OpenHandle

VARIABLE: Final = "TIERFS_TAKEOVER"
IN_BACKGROUND: Final = "--in-background"
CHECK_ONLY: Final = "--check-only"

# the twin of native/holder/known.h
_RECORD: Final = struct.Struct("=IIQQ")  # kind, flags, id, value


class _Kind(IntEnum):
    LOOKUPS = 1
    FILE = 2
    DIRECTORY = 3
    LENT = 4
    TOKEN = 5


def parse(records: bytes) -> KernelState:
    """From what the holder wrote."""
    state = KernelState()
    for kind, flags, key, value in _RECORD.iter_unpack(records):
        if kind == _Kind.LOOKUPS:
            state.lookups[key] = value
        elif kind == _Kind.FILE:
            state.files.append(OpenHandle(key, value, flags))
        elif kind == _Kind.DIRECTORY:
            state.directories.append(OpenHandle(key, value, flags))
        elif kind == _Kind.LENT:
            state.lent.add(key)
        elif kind == _Kind.TOKEN:
            state.tokens.add(key)
    return state


@frozen
class Takeover:
    """The links to a holder that runs already, and the state."""

    packets: socket.socket
    control: socket.socket
    state: KernelState

    @classmethod
    def inherited(cls, environment: MutableMapping[str, str]) -> "Takeover | None":
        """Takes what the holder gave, once: no child of ours gets it. None: this is the first life."""
        said = environment.pop(VARIABLE, None)
        if said is None:
            return None
        packets, control, state = (int(word) for word in said.split(","))
        for fd in (packets, control, state):
            os.set_inheritable(fd, False)
        with os.fdopen(state, "rb") as file:
            records = file.read()
        return cls(socket.socket(fileno=packets), socket.socket(fileno=control), parse(records))


def is_coming(environment: MutableMapping[str, str]) -> bool:
    """Was this process started by a holder, to take over?"""
    return VARIABLE in environment


def command(argv: Sequence[str]) -> list[str]:
    """How the holder starts a daemon like the one that was started by `argv`, whose starter does not wait any more."""
    return [IN_BACKGROUND if word.startswith("--status-fd=") else word for word in argv]


def check_command(argv: Sequence[str]) -> list[str]:
    """How a daemon like the one that was started by `argv` is tried out: it says whether it could start, and ends."""
    words = [word for word in argv if not word.startswith("--status-fd=") and word != IN_BACKGROUND]
    at = words.index("mount") + 1
    return [*words[:at], CHECK_ONLY, *words[at:]]
