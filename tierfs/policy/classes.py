"""The ladder of storage classes: what each costs beside its price, who may move to whom, and when a move pays. Pure.

| class | at least for | billed as at least | added to each object | read |
|---|---|---|---|---|
| EXPRESS_ONEZONE | - | - | - | at once; only in directory buckets, which have no other class |
| STANDARD | - | - | - | at once |
| INTELLIGENT_TIERING | - | - | - | at once, but for its archive tiers where a bucket has them |
| STANDARD_IA | 30 d | 128 KiB | - | at once, for a price |
| ONEZONE_IA | 30 d | 128 KiB | - | at once, for a price |
| GLACIER_IR | 90 d | 128 KiB | - | at once, for a price |
| GLACIER | 90 d | - | 40 KiB | after a restore of 5 min to 12 h |
| DEEP_ARCHIVE | 180 d | - | 40 KiB | after a restore of 12 to 48 h |

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html
"""

import enum
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from tierfs.units import GIB, KIB, NS_PER_S

DAY_S: Final = 86_400
MONTH_S: Final = 30 * DAY_S
_HOUR_S: Final = 3600


class ClassName(enum.StrEnum):
    """The classes, from the hottest down."""

    EXPRESS_ONEZONE = "EXPRESS_ONEZONE"
    STANDARD = "STANDARD"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    GLACIER_IR = "GLACIER_IR"
    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"


class Speed(enum.StrEnum):
    """How a restore is asked for."""

    EXPEDITED = "expedited"
    STANDARD = "standard"
    BULK = "bulk"


_FROM_FLEXIBLE: Final = {Speed.EXPEDITED: 300, Speed.STANDARD: 5 * _HOUR_S, Speed.BULK: 12 * _HOUR_S}
_FROM_DEEP: Final = {Speed.STANDARD: 12 * _HOUR_S, Speed.BULK: 48 * _HOUR_S}


@frozen
class Rung:
    """One class. `restore_s`: the longest that a restore takes by S3's word; empty: it is read at once."""

    name: str
    minimum_s: int = 0
    minimum_bytes: int = 0
    overhead_bytes: int = 0
    restore_s: Mapping[Speed, int] = field(factory=dict)

    @property
    def is_archive(self) -> bool:
        return bool(self.restore_s)

    def billed_bytes(self, size_bytes: int) -> int:
        """What is paid for each second that an object of this size is there."""
        return max(size_bytes, self.minimum_bytes) + self.overhead_bytes


LADDER: Final = (
    Rung(ClassName.EXPRESS_ONEZONE),
    Rung(ClassName.STANDARD),
    Rung(ClassName.INTELLIGENT_TIERING),
    Rung(ClassName.STANDARD_IA, 30 * DAY_S, 128 * KIB),
    Rung(ClassName.ONEZONE_IA, 30 * DAY_S, 128 * KIB),
    Rung(ClassName.GLACIER_IR, 90 * DAY_S, 128 * KIB),
    Rung(ClassName.GLACIER, 90 * DAY_S, 0, 40 * KIB, _FROM_FLEXIBLE),
    Rung(ClassName.DEEP_ARCHIVE, 180 * DAY_S, 0, 40 * KIB, _FROM_DEEP),
)
"""From the hottest down."""
RUNGS: Final = {rung.name: rung for rung in LADDER}
_ARCHIVE_TIERS: Final = {"ARCHIVE_ACCESS": _FROM_FLEXIBLE, "DEEP_ARCHIVE_ACCESS": _FROM_DEEP}


def restore_times_s(storage_class: str, archive_status: str = "") -> Mapping[Speed, int]:
    """By how it is asked for; empty for what can be read. `archive_status`: of Intelligent-Tiering, as HEAD says it."""
    if archive_status:
        return _ARCHIVE_TIERS.get(archive_status, _FROM_DEEP)
    rung = RUNGS.get(storage_class)
    return rung.restore_s if rung is not None else {}


def is_archive(storage_class: str) -> bool:
    """Whether an object of the class has to be restored before it can be read."""
    return bool(restore_times_s(storage_class))


def speed_of(storage_class: str, archive_status: str, wanted: Speed) -> Speed:
    """`wanted`, or the nearest slower one that the class has."""
    return wanted if wanted in restore_times_s(storage_class, archive_status) else Speed.STANDARD


@frozen
class Abilities:
    """What the store was seen to do with classes."""

    keeps_classes: bool = True
    changes_classes: bool = True
    restores: bool = True


def refusal(current: str, target: str, abilities: Abilities, *, is_archived: bool = False) -> str:
    """Why an object of class `current` cannot move to `target`; "" where it can."""
    if target not in RUNGS:
        return f"{target!r} is no storage class; there are {', '.join(RUNGS)}"
    if target == current:
        return f"it is in {target} already"
    if not abilities.keeps_classes:
        return "the store knows no storage classes"
    if not abilities.changes_classes:
        return "the store does not change the class of an object"
    if ClassName.EXPRESS_ONEZONE in (current, target):
        return f"{ClassName.EXPRESS_ONEZONE} is the only class of a directory bucket, and no class of any other"
    if is_archived:
        return "the object is archived: restore it first"
    if RUNGS[target].is_archive and not abilities.restores:
        return "the store restores nothing: what is archived could not be read again"
    return ""


@frozen
class ClassPrice:
    """Of one class, in the currency of the price table."""

    storage_gib_month: float
    write_1000: float = 0.0  # PUT and COPY into it
    retrieval_gib: float = 0.0


@frozen
class Holding:
    """An object where it is: for how long has it been there, and how long will it stay untouched."""

    size_bytes: int
    storage_class: str
    since_ns: int
    idle_s: float  # expected from now on


@frozen
class Balance:
    """What a move costs once, and what it saves until the object is touched again."""

    cost: float
    saving: float

    @property
    def pays(self) -> bool:
        return self.saving > self.cost


def balance(held: Holding, target: str, prices: Mapping[str, ClassPrice], now_ns: int) -> Balance | None:
    """None where a price is not known. The least times that both classes are paid for count as what they are: costs."""
    here, there = RUNGS.get(held.storage_class), RUNGS.get(target)
    if here is None or there is None or here.name not in prices or there.name not in prices:
        return None
    old, new = prices[here.name], prices[there.name]
    been_s = max(0.0, (now_ns - held.since_ns) / NS_PER_S)
    left_s = max(0.0, here.minimum_s - been_s)  # is paid whether the object is there or not
    cost = new.write_1000 / 1000 + old.retrieval_gib * held.size_bytes / GIB
    cost += _storage(here, old, held.size_bytes, left_s)
    stays_s = max(held.idle_s, there.minimum_s)
    saving = _storage(here, old, held.size_bytes, max(held.idle_s, left_s))
    saving -= _storage(there, new, held.size_bytes, stays_s)
    return Balance(cost, saving)


def _storage(rung: Rung, price: ClassPrice, size_bytes: int, seconds: float) -> float:
    return price.storage_gib_month * rung.billed_bytes(size_bytes) / GIB * seconds / MONTH_S
