"""Which versions nobody may lose: written with success, and not knowingly written over or deleted since.

A version is the bytes of a file; each write puts bytes of its own into it. Who writes over a file or deletes it has
seen what a read by him would have given at that moment, and no other version. So what two sides wrote at the same time
both stay due, whatever order their uploads have.

A version is due as often as it was written (a copy from outside writes it again) and not knowingly taken. A hard link
writes nothing.
"""

from collections import Counter
from collections.abc import Collection


class Ledger:
    """The versions that are due."""

    def __init__(self) -> None:
        self._due: Counter[bytes] = Counter()

    def given(self, version: bytes) -> None:
        """A version was written."""
        self._due[version] += 1

    def taken(self, version: bytes) -> None:
        """Somebody who had seen the version took a name from it, by a write or a deletion."""
        self._due[version] -= 1

    def lost(self, found: Collection[bytes]) -> list[bytes]:
        """Of the versions that are due, those that are not among what was found in the end."""
        return [version for version, times in self._due.items() if times > 0 and version not in found]
