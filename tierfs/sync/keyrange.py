"""Ranges of the bucket's keys, and where to cut them: between directories, so that each is in one range as a whole.

Pure. Keys are in the order of their UTF-8 bytes, which is that of Python's strings (code points).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve, frozen

# The last assigned code point. `/` is followed by `0`: between "a." with this behind it and "a/" lies no key that
# anybody has, and none between "a/" with this behind it and "a0".
_LAST: Final = "\U0010fffd"


def before(prefix: str) -> str:
    """Where to start after, to meet every key of a directory (`prefix` ends in "/") and its marker."""
    return f"{prefix[:-1]}.{_LAST}"


def behind(prefix: str) -> str:
    """Where to start after, to pass over a directory."""
    return prefix + _LAST


@frozen
class KeyRange:
    """The keys behind `after` and before `until`; "" is no bound."""

    after: str = ""
    until: str = ""

    def covers(self, prefix: str) -> bool:
        """Whether the range has all of a directory that it has a key of ("": of the root)."""
        return not (self.after and self.after.startswith(prefix)) and not (self.until and self.until.startswith(prefix))

    def cut(self, prefixes: Iterable[str]) -> list["KeyRange"]:
        """The range in pieces that begin at these directories, as far as they are in it; in order."""
        rest, pieces = self, []
        for prefix in sorted(set(prefixes)):
            if prefix <= rest.after or (rest.until and prefix >= rest.until):
                continue
            pieces.append(evolve(rest, until=prefix))
            rest = evolve(rest, after=before(prefix))
        return [*pieces, rest]


def spread(prefixes: Sequence[str], pieces: int) -> list[str]:
    """Of directories in order those where to cut, for so many pieces of about the same number of them."""
    step = len(prefixes) / pieces
    return list(dict.fromkeys(prefixes[int(number * step)] for number in range(1, pieces))) if prefixes else []
