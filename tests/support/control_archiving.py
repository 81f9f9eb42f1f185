"""States and classes of files for tests of the control plane: as the test says."""

from collections.abc import Mapping
from typing import Any

from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json, Request
from tierfs.control.verbs import Peer, Scope, Verb

_RESTORE: Mapping[str, Any] = {"stage": "asked", "ready_ns": 0, "speed": "bulk", "days": 7, "message": ""}


def restore(**fields: Any) -> Json:
    """A file on its way back."""
    return {**_RESTORE, **fields}


class ScriptedArchiving:
    """A `VerbGroup` in the place of `archiving.Archiving`."""

    def __init__(self) -> None:
        self.files: list[Json] = []
        self.listed: Json = {
            "classes": [],
            "restores": {"files": 0, "size_bytes": 0, "failed": 0, "ready_ns": 0},
            "moves": {"spent_today": 0.0, "rules": {}},
        }
        self.asked: list[Mapping[str, Any]] = []
        self.verbs: Mapping[str, Verb] = {
            "state": Verb(self._state, Scope.OWN_PATHS),
            "tier_list": Verb(self._list),
        }

    def add(self, path: str, *flags: str, **fields: Any) -> None:
        """A file that `state` shows."""
        about = {"size_bytes": 10, "here_bytes": 0, "here_percent": 0, "storage_class": "STANDARD", "restore": None}
        self.files.append({"path": path, "flags": list(flags), **about, **fields})

    async def _state(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """Pages of two."""
        self.asked.append(request.args)
        first = next((at for at, file in enumerate(self.files, 1) if file["path"] == request.args.get("after")), 0)
        page = self.files[first : first + 2]
        return {"files": page, "next": page[-1]["path"] if first + 2 < len(self.files) else None}

    async def _list(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        self.asked.append(request.args)
        return self.listed
