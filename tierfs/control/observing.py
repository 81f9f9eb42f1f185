"""The verbs for those who watch a mount: its figures, its operations one by one or by file and process, and how much is
where.

Checkpoints: the answer of the holder; `oplog`, where it waits for operations; `du`, see usage.
"""

import errno
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import attrs

from tierfs.control.arguments import Progress, Refusal, number_of, path_of
from tierfs.control.metering import Metering
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.usage import Usage
from tierfs.control.verbs import Peer, Scope, Verb
from tierfs.telemetry.oplog import NOBODY, Operation, OperationLog, Tier
from tierfs.units import NS_PER_S

_ANSWER_ROWS: Final = 150  # an answer with the longest paths stays below the protocol's limit
_BUSIEST_ROWS: Final = 10
_HEX: Final = re.compile("(?:[0-9a-f]{2}){0,255}")
_Key = TypeVar("_Key", bound=Hashable)


class ObservingVerbs:
    """A `VerbGroup` over one daemon."""

    def __init__(self, metering: Metering, log: OperationLog, usage: Usage) -> None:
        self._metering = metering
        self._usage = usage
        self._log = log
        self.verbs: Mapping[str, Verb] = {
            "figures": Verb(self._figures, Scope.REDACTED),  # numbers only
            "oplog": Verb(self._oplog),
            "busiest": Verb(self._busiest),
            "du": Verb(self._du, Scope.OWN_PATHS),
            "children": Verb(self._children, Scope.OWN_PATHS),
        }

    async def _figures(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        return await self._metering.figures()

    async def _oplog(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """Waits for operations and tells them: {"operations": [...], "next": the `after` of the next call, "missed"}.

        Without `after` it begins and returns at once. `missed`: how many came and are not kept any more.
        """
        after = number_of(request, "after") if "after" in request.args else None
        batch = await self._log.after(after, _ANSWER_ROWS)
        return {
            "operations": [attrs.asdict(operation) for operation in batch.operations],
            "next": batch.last,
            "missed": batch.missed,
        }

    async def _busiest(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """{"files": [...], "processes": [...], "next", "missed"} of the operations since `after`, those with the most
        bytes first; see `_ranked`. Without `after` it begins."""
        batch = self._log.since(number_of(request, "after") if "after" in request.args else None)
        files = _ranked(batch.operations, lambda each: each.path or None)
        processes = _ranked(batch.operations, lambda each: (each.pid, each.uid) if each.pid != NOBODY else None)
        return {
            "files": [{"path": path, **row} for path, row in files],
            "processes": [{"pid": pid, "uid": uid, "name": _program(pid), **row} for (pid, uid), row in processes],
            "next": batch.last,
            "missed": batch.missed,
        }

    async def _du(self, request: Request, _peer: Peer, progress: Progress) -> Json:
        return await self._usage.du(path_of(request) or b"", lambda files: progress({"files": files}))

    async def _children(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        after = request.args.get("after", "")
        if not isinstance(after, str) or not _HEX.fullmatch(after):
            raise Refusal(ErrorCode.BAD_REQUEST, "after must be the next of a page", errno.EINVAL)
        return self._usage.children(path_of(request) or b"", bytes.fromhex(after))


def _ranked(operations: Sequence[Operation], key: Callable[[Operation], _Key | None]) -> list[tuple[_Key, Json]]:
    """By key: operations, size_bytes, duration_s and how many waited for the bucket; those of None are left out."""
    rows: dict[_Key, dict[str, float]] = {}
    for each in operations:
        if (name := key(each)) is None:
            continue
        row = rows.setdefault(name, {"operations": 0, "size_bytes": 0, "duration_s": 0.0, "waited": 0})
        row["operations"] += 1
        row["size_bytes"] += each.size_bytes
        row["duration_s"] += each.duration_ns / NS_PER_S
        row["waited"] += each.tier is Tier.BUCKET
    ranked = sorted(rows.items(), key=lambda item: (-item[1]["size_bytes"], -item[1]["operations"]))
    return ranked[:_BUSIEST_ROWS]


def _program(pid: int) -> str:
    """The name of a process or thread; "" when it has ended, or is not visible from here."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ""
