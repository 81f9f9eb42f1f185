"""The verbs about money: what this month has cost, and what a command would. Numbers from the index and from memory.

Checkpoints: `cost_explain`, between slices of a long count.
"""

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

from attrs import evolve

from tierfs.clock import Clock
from tierfs.control.arguments import Progress, Refusal, choice_of, path_of, switch_of
from tierfs.control.forecasting import Forecasts
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.verbs import Peer, Scope, Verb
from tierfs.index.env import Index
from tierfs.policy.classes import RUNGS, Speed
from tierfs.policy.cost import (
    Bill,
    Held,
    Traffic,
    Use,
    bill,
    projection,
    savings,
    storage_month,
    storage_so_far,
)
from tierfs.policy.forecast import Deed, Terms
from tierfs.tiering.spending import Accounts

_ANSWER_ROWS: Final = 50
_Row = tuple[tuple[str, Use], Traffic]


class CostVerbs:
    """A `VerbGroup` over one daemon. `tier_bytes`: what the hot tier may take."""

    def __init__(
        self, *, accounts: Accounts, forecasts: Forecasts, index: Index, clock: Clock, tier_bytes: int, part_bytes: int
    ) -> None:
        self._spending = accounts.spending
        self._table = accounts.table
        self._pays_transfer = accounts.pays_transfer
        self._forecasts = forecasts
        self._index = index
        self._clock = clock
        self._tier_bytes = tier_bytes
        self._part_bytes = part_bytes
        self.verbs: Mapping[str, Verb] = {
            "cost": Verb(self._cost),
            "cost_explain": Verb(self._explain, Scope.OWN_PATHS),
        }

    @classmethod
    def over(cls, index: Index, accounts: Accounts, tier_bytes: int, part_bytes: int) -> Self:
        """Of one mount."""
        clock = index.clock
        forecasts = Forecasts(index=index, clock=clock, accounts=accounts)
        return cls(
            accounts=accounts, forecasts=forecasts, index=index, clock=clock, tier_bytes=tier_bytes,
            part_bytes=part_bytes,
        )  # fmt: skip

    async def _cost(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """This month. With a path only the requests for what is at and below it are told; storage is that of all."""
        counted = self._spending.counted()
        path = (path_of(request) or b"").decode(errors="replace")
        rows = [row for row in counted.traffic.items() if _is_about(row[0][0], path)]
        held = {name: each for name, each in self._index.totals.held.items() if each.objects}
        so_far = self._sum(rows)
        if not path:
            so_far = evolve(so_far, storage=storage_so_far(self._table, counted.row.gib_s, counted.row.watched_s))
        a_month = 0.0 if path else storage_month(self._table, held)
        now_ns = self._clock.now_ns()
        end = projection(
            so_far, a_month, counted_from_ns=counted.row.counted_from_ns, month=counted.month, now_ns=now_ns
        )
        saved = savings(self._table, held, tier_bytes=self._tier_bytes)
        return {
            "month": counted.month.name,
            "counted_from_ns": counted.row.counted_from_ns,
            "prices": {"name": self._table.name, "date": self._table.date, "currency": self._table.currency},
            "pays_transfer": self._pays_transfer,
            "path": path,
            "bill": _told(so_far),
            "projection": _told(end) if end is not None else None,
            "by_prefix": self._grouped(rows, lambda row: {"prefix": row[0][0]}),
            "by_kind": self._grouped(rows, _kind_of),
            "storage": [self._class(name, each) for name, each in sorted(held.items())],
            "month_of_storage": storage_month(self._table, held),
            "month_of_all_local": saved.all_local,
            "month_of_all_standard": saved.all_standard,
            "month_as_it_is": saved.actual,
        }

    def _class(self, name: str, held: Held) -> Json:
        return {
            "storage_class": name or "other",
            "objects": held.objects,
            "size_bytes": held.size_bytes,
            "month": storage_month(self._table, {name: held}),
        }

    def _sum(self, rows: Iterable[_Row]) -> Bill:
        total = Bill()
        for (_, use), traffic in rows:
            total += bill(self._table, use, traffic, pays_transfer=self._pays_transfer)
        return total

    def _grouped(self, rows: Iterable[_Row], name_of: Callable[[_Row], Mapping[str, str]]) -> list[Json]:
        """Requests, bytes and cost by what `name_of` says, the dearest first."""
        groups: dict[tuple[tuple[str, str], ...], list[_Row]] = {}
        for row in rows:
            groups.setdefault(tuple(name_of(row).items()), []).append(row)
        found: list[dict[str, Any]] = [
            {
                **dict(name),
                "requests": sum(traffic.requests for _, traffic in members),
                "sent_bytes": sum(traffic.sent_bytes for _, traffic in members),
                "received_bytes": sum(traffic.received_bytes for _, traffic in members),
                "cost": self._sum(members).total,
            }
            for name, members in groups.items()
        ]
        return sorted(found, key=lambda row: (-row["cost"], -row["requests"]))[:_ANSWER_ROWS]

    async def _explain(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        deed, path = choice_of(request, "deed", Deed), path_of(request)
        storage_class = request.args.get("storage_class", "GLACIER")
        if path is None or storage_class not in RUNGS:
            message = f"a forecast needs a path, and one of the classes {', '.join(RUNGS)}"
            raise Refusal(ErrorCode.BAD_REQUEST, message, errno.EINVAL)
        speed = choice_of(request, "speed", Speed) if "speed" in request.args else Speed.BULK
        terms = Terms(deed, self._part_bytes, self._part_bytes, storage_class, speed)
        return await self._forecasts.of(
            path,
            terms,
            recursive=switch_of(request, "recursive", True),
            counted=lambda files: progress({"files": files}),
        )


def _is_about(group: str, path: str) -> bool:
    """Is the group at or below the path, or the path below the group?"""
    return not path or group == path or group.startswith(path + "/") or (group != "" and path.startswith(group + "/"))


def _kind_of(row: _Row) -> Mapping[str, str]:
    use = row[0][1]
    return {"kind": use.kind.value, "storage_class": use.storage_class, "speed": use.speed}


def _told(what: Bill) -> Json:
    return {
        "requests": what.requests,
        "retrieval": what.retrieval,
        "transfer": what.transfer,
        "storage": what.storage,
        "total": what.total,
    }
