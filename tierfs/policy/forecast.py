"""What a command would cost, file by file: the requests that tierfs would make for it, and what the class charges.

| deed | for a file with an object | for one that only this machine has |
|---|---|---|
| MOVE | HEAD, COPY (in parts beyond 5 GiB), DELETE | nothing more than its upload |
| ATTRIBUTES | HEAD, COPY onto itself | the same |
| REMOVE | DELETE | nothing |
| READ, WARM | GETs of the bytes that are not here | nothing |
| COPY | the same, and a PUT of the new file (in parts beyond a part) | the PUT |
| ARCHIVE | HEAD, and for the copy HEAD and COPY | nothing more than its upload |
| RESTORE | HEAD, RESTORE; only of what is archived | nothing |
| RELEASE | nothing | nothing |

MOVE, ATTRIBUTES, ARCHIVE and REMOVE end the object as it is: what is left of the least time that its class is paid for
is paid, too. An archived object has to be restored before it can be moved, changed or read: that is counted, not
priced, since nothing is asked for before somebody restores it. Pure.
"""

import enum
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from tierfs.policy.classes import MONTH_S, Speed
from tierfs.policy.cost import STANDARD, PriceTable, RequestKind, Traffic, Use
from tierfs.units import GIB, NS_PER_S

_COPY_MAX_BYTES: Final = 5 * GIB
_Uses = list[tuple[Use, Traffic]]


class Deed(enum.StrEnum):
    """What is done to each file."""

    MOVE = "move"
    ATTRIBUTES = "attributes"
    REMOVE = "remove"
    READ = "read"
    COPY = "copy"
    WARM = "warm"
    RELEASE = "release"
    ARCHIVE = "archive"
    RESTORE = "restore"


_ENDS_OBJECTS: Final = frozenset({Deed.MOVE, Deed.ATTRIBUTES, Deed.REMOVE, Deed.ARCHIVE})
_NEEDS_BYTES: Final = frozenset({Deed.MOVE, Deed.ATTRIBUTES, Deed.READ, Deed.COPY, Deed.WARM})


@frozen
class Terms:
    """How it is done. `fetch_bytes`: what a GET brings at most; `part_bytes`: what a PUT takes at most."""

    deed: Deed
    fetch_bytes: int
    part_bytes: int
    storage_class: str = "GLACIER"  # of an ARCHIVE
    speed: Speed = Speed.BULK  # of a RESTORE


@frozen
class Seen:
    """One file, symlink or directory. `storage_class` "": the bucket has nothing of it. `cold_bytes`: not here."""

    size_bytes: int
    storage_class: str = ""
    since_ns: int = 0
    cold_bytes: int = 0
    is_archived: bool = False  # and has no readable copy

    @property
    def has_object(self) -> bool:
        return self.storage_class != ""


def waits_for_restore(terms: Terms, seen: Seen) -> bool:
    """Nothing is done with the file before it is restored."""
    needs = terms.deed in _NEEDS_BYTES and (terms.deed in (Deed.MOVE, Deed.ATTRIBUTES) or seen.cold_bytes > 0)
    return seen.is_archived and needs


def uses(terms: Terms, seen: Seen) -> Sequence[tuple[Use, Traffic]]:
    """The requests."""
    if waits_for_restore(terms, seen):
        return []
    deed, storage_class = terms.deed, seen.storage_class
    if deed in (Deed.READ, Deed.WARM):
        return _reads(terms, seen)
    if deed is Deed.COPY:
        return [*_reads(terms, seen), *_writes(terms, seen.size_bytes)]
    if not seen.has_object:
        return []
    head, delete = (Use(RequestKind.HEAD, storage_class), Traffic(1)), (Use(RequestKind.DELETE), Traffic(1))
    if deed is Deed.MOVE:
        return [head, *_copies(terms, seen, storage_class), delete]
    if deed is Deed.ATTRIBUTES:
        return [head, *_copies(terms, seen, storage_class)]
    if deed is Deed.REMOVE:
        return [delete]
    if deed is Deed.ARCHIVE and storage_class != terms.storage_class and not seen.is_archived:
        return [head, head, *_copies(terms, seen, terms.storage_class)]
    if deed is Deed.RESTORE and seen.is_archived:
        return [head, (Use(RequestKind.RESTORE, storage_class, terms.speed), Traffic(1, 0, seen.size_bytes))]
    return []


def _reads(terms: Terms, seen: Seen) -> _Uses:
    if not seen.cold_bytes:
        return []
    gets = -(-seen.cold_bytes // terms.fetch_bytes)
    return [(Use(RequestKind.GET, seen.storage_class or STANDARD), Traffic(gets, 0, seen.cold_bytes))]


def _writes(terms: Terms, size_bytes: int) -> _Uses:
    if size_bytes <= terms.part_bytes:
        return [(Use(RequestKind.PUT), Traffic(1, size_bytes))]
    parts = -(-size_bytes // terms.part_bytes)
    return [(Use(RequestKind.POST), Traffic(2)), (Use(RequestKind.PUT), Traffic(parts, size_bytes))]


def _copies(terms: Terms, seen: Seen, target: str) -> _Uses:
    read = (Use(RequestKind.COPY, seen.storage_class), Traffic(0, 0, seen.size_bytes))
    if seen.size_bytes <= _COPY_MAX_BYTES:
        return [(Use(RequestKind.COPY, target), Traffic(1)), read]
    parts = -(-seen.size_bytes // max(terms.part_bytes, _COPY_MAX_BYTES))
    return [(Use(RequestKind.POST, target), Traffic(2)), (Use(RequestKind.COPY), Traffic(parts)), read]


def early_end(table: PriceTable, terms: Terms, seen: Seen, now_ns: int) -> float:
    """What is paid for the rest of the least time that the object's class is paid for."""
    if terms.deed not in _ENDS_OBJECTS or not seen.has_object or waits_for_restore(terms, seen):
        return 0.0
    if terms.deed is Deed.ARCHIVE and not uses(terms, seen):
        return 0.0
    rates = table.of(seen.storage_class)
    been_s = max(0, now_ns - seen.since_ns) / NS_PER_S
    left_s = max(0.0, rates.rung.minimum_s - been_s)
    return rates.month(seen.size_bytes) * left_s / MONTH_S


def storage_change(table: PriceTable, terms: Terms, seen: Seen) -> float:
    """What all later months cost more by it; negative: less."""
    if waits_for_restore(terms, seen):
        return 0.0
    if terms.deed is Deed.COPY:
        return table.of(STANDARD).month(seen.size_bytes)
    if not seen.has_object:
        return 0.0
    month = table.of(seen.storage_class).month(seen.size_bytes)
    if terms.deed is Deed.REMOVE:
        return -month
    if terms.deed is Deed.ARCHIVE and uses(terms, seen):
        return table.of(terms.storage_class).month(seen.size_bytes) - month
    return 0.0
