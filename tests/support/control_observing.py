"""Figures, operations and sizes for tests of the control plane, made up."""

import os
from collections.abc import Mapping
from typing import Any

import trio

from tests.support.figures import figures
from tierfs.control.arguments import Progress, path_of
from tierfs.control.protocol import Json, Request
from tierfs.control.verbs import Peer, Scope, Verb


class ScriptedObserving:
    """A `VerbGroup` as `observing.ObservingVerbs` is one."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = [figures()]
        """One for each call; the last one stays."""
        self.operations: list[dict[str, Any]] = []
        self.missed = 0
        self.busiest: dict[str, Any] = {"files": [], "processes": [], "next": 1, "missed": 0}
        self.sums: dict[str, Any] = {}
        self.children: dict[bytes, list[dict[str, Any]]] = {}
        self.verbs: Mapping[str, Verb] = {
            "figures": Verb(self._figures, Scope.REDACTED),
            "oplog": Verb(self._oplog),
            "busiest": Verb(self._busiest),
            "du": Verb(self._du, Scope.OWN_PATHS),
            "children": Verb(self._children, Scope.OWN_PATHS),
        }

    async def _figures(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self.figures.pop(0) if len(self.figures) > 1 else self.figures[0]

    async def _oplog(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """At most two at a time; then it waits."""
        if "after" not in request.args:
            return {"operations": [], "next": 0, "missed": 0}
        if not self.operations:
            await trio.sleep_forever()
        batch, self.operations = self.operations[:2], self.operations[2:]
        return {"operations": batch, "next": request.args["after"] + len(batch), "missed": self.missed}

    async def _busiest(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self.busiest

    async def _du(self, _request: Request, _peer: Peer, progress: Progress) -> Json:
        progress({"files": 3})
        await trio.lowlevel.checkpoint()
        return self.sums

    async def _children(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """Pages of two."""
        rows = self.children[path_of(request) or b""]
        after = os.fsdecode(bytes.fromhex(request.args["after"]))
        left = [row for row in rows if row["name"] > after]
        return {
            "entries": left[:2],
            "next": os.fsencode(left[1]["name"]).hex() if len(left) > 2 else None,
        }
