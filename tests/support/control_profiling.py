"""A recording of accesses for tests of the control plane, made up."""

import errno
from collections.abc import Mapping
from typing import Any

from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json, Request
from tierfs.control.verbs import Peer, Verb
from tierfs.errors import FsError


class ScriptedProfiling:
    """A `VerbGroup` as `profiling.ProfileVerbs` is one."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        """What a recording has heard of, whenever it began."""
        self.dropped = 0
        self.about: Json | None = None
        self.verbs: Mapping[str, Verb] = {
            "profile_record": Verb(self._record),
            "profile_show": Verb(self._show),
            "profile_stop": Verb(self._stop),
            "profile_page": Verb(self._page),
            "profile_drop": Verb(self._drop),
        }

    def add(self, time_s: float, op: str, key: str, size_bytes: int = 1000, op_count: int = 1) -> None:
        row = {"time_s": time_s, "op": op, "key": key, "size_bytes": size_bytes, "op_count": op_count}
        self.rows.append(row)

    async def _record(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        self.about = {**request.args, "began_ns": 1_700_000_000_000_000_000, "is_recording": True}
        return self._described()

    async def _show(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        return self._described()

    def _described(self) -> Json:
        if self.about is None:
            raise FsError(errno.ENOENT, "there is no recording")
        return {**self.about, "duration_s": 61.0, "accesses": len(self.rows), "dropped": self.dropped}

    async def _stop(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        if self.about is not None:
            self.about["is_recording"] = False
        return self._described()

    async def _page(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """Pages of two."""
        after = request.args["after"]
        return {
            "accesses": self.rows[after : after + 2],
            "next": after + 2 if len(self.rows) > after + 2 else None,
        }

    async def _drop(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        self.about, self.rows = None, []
        return {}
