"""The verbs for those who watch a mount: its figures, and its operations one by one.

Checkpoints: the answer of the holder; `oplog`, where it waits for operations.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from tierfs.control.arguments import Progress, number_of
from tierfs.control.metering import Metering
from tierfs.control.protocol import Json, Request
from tierfs.control.verbs import Peer, Scope, Verb
from tierfs.telemetry.oplog import OperationLog

_ANSWER_ROWS: Final = 150  # an answer with the longest paths stays below the protocol's limit


class ObservingVerbs:
    """A `VerbGroup` over one daemon."""

    def __init__(self, metering: Metering, log: OperationLog) -> None:
        self._metering = metering
        self._log = log
        self.verbs: Mapping[str, Verb] = {
            "figures": Verb(self._figures, Scope.REDACTED),  # numbers only
            "oplog": Verb(self._oplog),
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
