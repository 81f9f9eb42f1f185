"""Which files programs open on one mount, and when, while somebody records it.

Costs one comparison for each open while nobody does. A recording keeps its first million opens, 29 bytes each; of a
file that the kernel or the holder serves without the daemon, the opens of a second are one of them. It ends with the
daemon.

Only the event loop's thread comes here. No checkpoints.
"""

import struct
from collections.abc import Callable
from typing import Final

import trio
from attrs import frozen

from tierfs.clock import Clock
from tierfs.units import NS_PER_S

_KEPT_MAX: Final = 1_000_000
_ROW: Final = struct.Struct("<dQQI?")  # the fields of Access
_OPENS_MAX: Final = 2**32 - 1


@frozen
class Access:
    """Opens of a file by one kind, close to each other."""

    time_s: float
    """Since the recording began; of several opens, the last one."""
    ino: int
    size_bytes: int
    """Of the file, when it was told."""
    opens: int
    writes: bool
    """What was in the file was not needed: it was created, cut, or opened for writing only."""


class AccessLog:
    """The recording of one mount: none, one that goes on, or one that has ended and can be read."""

    def __init__(self, clock: Clock, *, kept_max: int = _KEPT_MAX) -> None:
        self._clock = clock
        self._kept_max = kept_max
        self._size_of: Callable[[int], int | None] | None = None
        self._began_s = 0.0  # trio time
        self._ended_s = 0.0
        self._rows = bytearray()
        self.dropped = 0
        """Opens that came when there was no room for them any more."""

    @property
    def is_on(self) -> bool:
        """Does a recording go on?"""
        return self._size_of is not None

    @property
    def duration_s(self) -> float:
        """Of the recording, until now or its end."""
        return (trio.current_time() if self.is_on else self._ended_s) - self._began_s

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def begin(self, size_of: Callable[[int], int | None]) -> None:
        """Forgets the last recording and begins one of the files of which `size_of` tells a size, not None."""
        self.forget()
        self._size_of = size_of
        self._began_s = trio.current_time()

    def end(self) -> None:
        """Nothing more is recorded; what was can be read."""
        self._ended_s = self._began_s + self.duration_s
        self._size_of = None

    def forget(self) -> None:
        """Ends it, and gives back its memory."""
        self._size_of = None
        self._rows = bytearray()
        self.dropped = 0

    def opened(self, ino: int, *, writes: bool) -> None:
        """A program has opened a file by a request to the daemon."""
        if self._size_of is not None:
            self._add(self._size_of, self.duration_s, ino, 1, writes=writes)

    def used(self, ino: int, opens: int, when_ns: int) -> None:
        """Programs have opened a file to read it, without the daemon; the last of them at `when_ns`, by the clock."""
        if self._size_of is None or not opens:
            return
        # told about a second later; a clock that is set meanwhile moves it no further than to one end of the recording
        ago_s = max(0, self._clock.now_ns() - when_ns) / NS_PER_S
        self._add(self._size_of, max(0.0, self.duration_s - ago_s), ino, opens, writes=False)

    def _add(self, size_of: Callable[[int], int | None], time_s: float, ino: int, opens: int, *, writes: bool) -> None:
        size_bytes = size_of(ino)
        if size_bytes is None:
            return
        if len(self) >= self._kept_max:
            self.dropped += opens
            return
        self._rows += _ROW.pack(time_s, ino, size_bytes, min(opens, _OPENS_MAX), writes)

    def page(self, after: int, limit: int) -> list[Access]:
        """At most `limit` of them after the first `after`, in the order in which they were told."""
        rows = self._rows[after * _ROW.size : (after + limit) * _ROW.size]
        return [Access(*fields) for fields in _ROW.iter_unpack(rows)]
