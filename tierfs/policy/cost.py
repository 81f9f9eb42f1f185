"""What the bucket costs: requests, bytes that move, objects that lie there. Pure; money is in the table's currency.

A GiB-month is what S3 bills as a GB-month: 2^30 bytes for 30 days. Prices of requests are for 1,000 of them. A class
that a table does not name is billed as STANDARD. S3 bills requests of these kinds:

| kind | billed | by the class of |
|---|---|---|
| PUT, COPY, POST (begin and complete an upload; its parts are PUTs in STANDARD) | `write_1000` | what is written |
| LIST | `list_1000` | - |
| GET, HEAD, OTHER (tags and the like) | `read_1000`, and a GET `retrieval_gib` for its bytes | what is read |
| DELETE (also of many keys, and of an upload) | nothing | - |
| RESTORE | `request_1000` and `gib` of its speed | what is restored |

https://aws.amazon.com/s3/pricing/
"""

import calendar
import datetime
import enum
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve, field, frozen

from tierfs.policy.classes import DAY_S, MONTH_S, RUNGS, ClassPrice, Rung, Speed
from tierfs.units import GIB, KIB, NS_PER_S

STANDARD: Final = "STANDARD"
_THOUSAND: Final = 1000
_WATCHED_FROM_BYTES: Final = 128 * KIB
"""Intelligent-Tiering does not watch smaller objects, nor bill them for it."""


class RequestKind(enum.StrEnum):
    """What is billed alike. The values are in the index and in what programs read: they never change."""

    GET = "get"
    HEAD = "head"
    LIST = "list"
    PUT = "put"
    COPY = "copy"
    POST = "post"
    DELETE = "delete"
    RESTORE = "restore"
    OTHER = "other"


_WRITES: Final = frozenset({RequestKind.PUT, RequestKind.COPY, RequestKind.POST})
_READS: Final = frozenset({RequestKind.GET, RequestKind.HEAD, RequestKind.OTHER})


@frozen
class RestorePrice:
    """Of one speed."""

    request_1000: float = 0.0
    gib: float = 0.0


@frozen
class Rates:
    """What one class costs. `rung`: what is billed at least; the ladder's unless a table says otherwise."""

    rung: Rung
    storage_gib_month: float = 0.0
    write_1000: float = 0.0
    read_1000: float = 0.0
    retrieval_gib: float = 0.0
    upload_gib: float = 0.0
    watch_1000_month: float = 0.0  # for each 1,000 objects that Intelligent-Tiering watches
    restores: Mapping[Speed, RestorePrice] = field(factory=dict)

    def month(self, size_bytes: int) -> float:
        """One object of this size, for 30 days."""
        watched = self.watch_1000_month / _THOUSAND if size_bytes >= _WATCHED_FROM_BYTES else 0.0
        return self.storage_gib_month * self.rung.billed_bytes(size_bytes) / GIB + watched


@frozen
class PriceTable:
    """`date`: as of when, YYYY-MM-DD. `local_gib_month`: of the disk that the hot tier is on."""

    name: str
    date: str
    currency: str
    rates: Mapping[str, Rates]
    list_1000: float = 0.0
    transfer_out_gib: float = 0.0
    local_gib_month: float = 0.0

    def of(self, storage_class: str) -> Rates:
        """Of a class; STANDARD's for one that the table does not name."""
        return self.rates.get(storage_class) or self.rates[STANDARD]

    def class_prices(self) -> Mapping[str, ClassPrice]:
        """As `classes.balance` takes them."""
        return {
            name: ClassPrice(rates.storage_gib_month, rates.write_1000, rates.retrieval_gib)
            for name, rates in self.rates.items()
        }

    def move(self, size_bytes: int, storage_class: str, target: str) -> float:
        """What it costs at once that an object goes from a class to another: HEAD, COPY, and the bytes read for it."""
        old, new = self.of(storage_class), self.of(target)
        return old.read_1000 / _THOUSAND + new.write_1000 / _THOUSAND + old.retrieval_gib * size_bytes / GIB

    def restore(self, size_bytes: int, storage_class: str, speed: Speed) -> float:
        """What it costs to have an archived object readable, beside what its copy costs while it is there."""
        price = self.of(storage_class).restores.get(speed, RestorePrice())
        return price.request_1000 / _THOUSAND + price.gib * size_bytes / GIB


@frozen
class Use:
    """Requests that are billed alike. `speed` "": of no RESTORE."""

    kind: RequestKind
    storage_class: str = STANDARD
    speed: str = ""


@frozen
class Traffic:
    """How many requests, and the bytes of their bodies. Of a RESTORE, `received_bytes` are those of the objects."""

    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.requests + other.requests,
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
        )


@frozen
class Bill:
    """What something costs, by what it is for."""

    requests: float = 0.0
    retrieval: float = 0.0
    transfer: float = 0.0
    storage: float = 0.0

    @property
    def total(self) -> float:
        return self.requests + self.retrieval + self.transfer + self.storage

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(
            self.requests + other.requests,
            self.retrieval + other.retrieval,
            self.transfer + other.transfer,
            self.storage + other.storage,
        )

    def scaled(self, factor: float) -> "Bill":
        """So many times as much."""
        return Bill(self.requests * factor, self.retrieval * factor, self.transfer * factor, self.storage * factor)


def bill(table: PriceTable, use: Use, traffic: Traffic, *, pays_transfer: bool) -> Bill:
    """Of requests that were made, or would be. `pays_transfer`: bytes that leave the bucket leave its region."""
    rates = table.of(use.storage_class)
    if use.kind is RequestKind.RESTORE:
        price = rates.restores.get(Speed(use.speed or Speed.STANDARD), RestorePrice())
        return Bill(price.request_1000 / _THOUSAND * traffic.requests, price.gib * traffic.received_bytes / GIB)
    each_1000 = 0.0
    if use.kind in _WRITES:
        each_1000 = rates.write_1000
    elif use.kind in _READS:
        each_1000 = rates.read_1000
    elif use.kind is RequestKind.LIST:
        each_1000 = table.list_1000
    is_get = use.kind is RequestKind.GET
    retrieved_bytes = traffic.received_bytes if is_get or use.kind is RequestKind.COPY else 0
    return Bill(
        requests=each_1000 / _THOUSAND * traffic.requests + rates.upload_gib * traffic.sent_bytes / GIB,
        retrieval=rates.retrieval_gib * retrieved_bytes / GIB,
        transfer=table.transfer_out_gib * traffic.received_bytes / GIB if is_get and pays_transfer else 0.0,
    )


def bill_all(table: PriceTable, uses: Iterable[tuple[Use, Traffic]], *, pays_transfer: bool) -> Bill:
    """The sum."""
    total = Bill()
    for use, traffic in uses:
        total += bill(table, use, traffic, pays_transfer=pays_transfer)
    return total


@frozen
class Held:
    """The objects of one class. `small_bytes`: what is billed beyond their sizes because they are small."""

    objects: int = 0
    size_bytes: int = 0
    small_bytes: int = 0
    watched: int = 0

    def plus(self, rung: Rung, size_bytes: int, count: int = 1) -> "Held":
        """With objects of this size; without them for a negative count."""
        return Held(
            self.objects + count,
            self.size_bytes + count * size_bytes,
            self.small_bytes + count * (rung.billed_bytes(size_bytes) - size_bytes),
            self.watched + count * (size_bytes >= _WATCHED_FROM_BYTES),
        )


def rung_of(storage_class: str) -> Rung:
    """Of the ladder; STANDARD's for a class that is none of it."""
    return RUNGS.get(storage_class) or RUNGS[STANDARD]


def storage_month(table: PriceTable, held: Mapping[str, Held]) -> float:
    """What objects cost that lie there for 30 days, by class."""
    total = 0.0
    for storage_class, objects in held.items():
        rates = table.of(storage_class)
        total += rates.storage_gib_month * (objects.size_bytes + objects.small_bytes) / GIB
        total += rates.watch_1000_month / _THOUSAND * objects.watched
    return total


def storage_so_far(table: PriceTable, gib_s: Mapping[str, float], watched_s: Mapping[str, float]) -> float:
    """What objects have cost by lying there: GiB x s and watched objects x s, by class."""
    stored = sum(table.of(name).storage_gib_month * amount for name, amount in gib_s.items())
    watched = sum(table.of(name).watch_1000_month / _THOUSAND * amount for name, amount in watched_s.items())
    return (stored + watched) / MONTH_S


@frozen
class Savings:
    """What 30 days of all bytes cost as they are, and would cost otherwise. The disk of the hot tier is in `actual`."""

    actual: float
    all_local: float  # everything on the local disk
    all_standard: float  # everything in STANDARD, with the same hot tier


def savings(table: PriceTable, held: Mapping[str, Held], *, tier_bytes: int) -> Savings:
    """`tier_bytes`: what the hot tier may take of the local disk, since that has to be there."""
    size_bytes = sum(objects.size_bytes for objects in held.values())
    disk = table.local_gib_month * tier_bytes / GIB
    standard = table.of(STANDARD).storage_gib_month * size_bytes / GIB
    return Savings(
        actual=storage_month(table, held) + disk,
        all_local=table.local_gib_month * max(tier_bytes, size_bytes) / GIB,
        all_standard=standard + disk,
    )


@frozen
class Month:
    """A calendar month in UTC, as `YYYY-MM`."""

    name: str
    start_ns: int
    stop_ns: int

    @property
    def a_year_before(self) -> str:
        """The name of the same month in the year before."""
        year, month = self.name.split("-")
        return f"{int(year) - 1:04d}-{month}"

    @classmethod
    def at(cls, now_ns: int) -> "Month":
        """That of a moment."""
        day = datetime.datetime.fromtimestamp(now_ns // NS_PER_S, datetime.UTC)
        start = datetime.datetime(day.year, day.month, 1, tzinfo=datetime.UTC)
        days = calendar.monthrange(day.year, day.month)[1]
        start_ns = int(start.timestamp()) * NS_PER_S
        return cls(f"{day.year:04d}-{day.month:02d}", start_ns, start_ns + days * DAY_S * NS_PER_S)


PROJECTS_FROM_S: Final = 3600
"""Less than this says nothing of a month."""


def projection(so_far: Bill, storage_a_month: float, *, counted_from_ns: int, month: Month, now_ns: int) -> Bill | None:
    """The bill at the end of the month, if requests go on at the rate that was counted and what lies there stays.

    None while too little was counted.
    """
    counted_s = (now_ns - max(counted_from_ns, month.start_ns)) / NS_PER_S
    left_s = max(0, month.stop_ns - now_ns) / NS_PER_S
    if counted_s < PROJECTS_FROM_S:
        return None
    requests = evolve(so_far, storage=0.0)
    grown = requests.scaled(1 + left_s / counted_s)
    return evolve(grown, storage=so_far.storage + storage_a_month * left_s / MONTH_S)
