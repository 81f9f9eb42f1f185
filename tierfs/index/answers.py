"""Changes that are committed and whose answer may not be sent: what a request that is asked again must not repeat.

A change carries its request's token (native/holder/tokens.h) in its journal record, and every commit writes down the
tokens whose answer was not given to the holder by then. What the holder has was answered: it reads what a daemon sent
also after that daemon's end. So for a request that was not answered either the last commit has its token, or a later
record of the journal, or it was not carried out. A start keeps those that the holder says are still to be answered:
all others, and those of another holder, are forgotten.

SETTINGS, key NUL "answers", written with every commit
u64  for each token: the number, and ATTRIBUTE_WAS_NEW
"""

import struct
from collections.abc import Set as AbstractSet
from typing import Final

from tierfs.errors import IndexDamageError

ANSWERS_KEY: Final = b"\0answers"
ATTRIBUTE_WAS_NEW: Final = 1 << 32
"""In the token of a setxattr: there was no such attribute before."""
_NUMBER: Final = ATTRIBUTE_WAS_NEW - 1


class Answers:
    """The tokens of changes that were made and not answered, as far as is known; at most one for each request."""

    def __init__(self) -> None:
        self._unanswered: AbstractSet[int] = frozenset()
        self._tokens: dict[int, int] = {}

    def load(self, row: bytes | None, unanswered: AbstractSet[int]) -> None:
        """At start: what the last commit wrote, of that what the daemon before has not answered, as its holder says.

        Raises IndexDamageError.
        """
        self._unanswered = unanswered
        row = row or b""
        if len(row) % 8:
            raise IndexDamageError(f"the row of unsent answers has {len(row)} bytes")
        for (token,) in struct.iter_unpack("<Q", row):
            self.replayed(token)

    def replayed(self, token: int) -> None:
        """A record of the journal that is not in a commit."""
        if token & _NUMBER in self._unanswered:
            self._tokens[token & _NUMBER] = token

    def made(self, token: int) -> None:
        """A change is in the journal. Before anything is committed after it."""
        self._tokens[token & _NUMBER] = token

    def sent(self, number: int) -> None:
        """The request is answered, with an error or without, before anything else happens."""
        self._tokens.pop(number, None)

    def was_made(self, number: int) -> bool:
        """Was the change made by the daemon before? Only for a request that is asked again."""
        return number in self._tokens

    def attribute_was_new(self, number: int) -> bool:
        """Was it made, and a setxattr of an attribute that did not exist?"""
        return bool(self._tokens.get(number, 0) & ATTRIBUTE_WAS_NEW)

    def rows(self) -> dict[bytes, bytes | None]:
        """What a commit writes."""
        return {ANSWERS_KEY: struct.pack(f"<{len(self._tokens)}Q", *self._tokens.values())}
