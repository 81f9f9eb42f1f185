"""The verbs of those who run the machine: is all well with the bucket, which settings are in use, a new daemon.

Asking the bucket (`examine`) is a checkpoint for each of its requests, and so is the check before a restart; the rest
answers at once.
"""

from collections.abc import Mapping
from typing import Protocol

import attrs

from tierfs.config import Settings
from tierfs.config.showing import rows
from tierfs.control.arguments import Progress, Refusal
from tierfs.control.protocol import ErrorCode, Json, Request
from tierfs.control.restarting import Restart
from tierfs.control.verbs import Peer, Verb
from tierfs.index.env import Index
from tierfs.objectstore.examination import examine
from tierfs.objectstore.retrying import RetryingStore


class Tuner(Protocol):
    """The settings as they are now, see `tierfs.tuning`."""

    @property
    def settings(self) -> Settings:
        """All of them."""
        ...

    def set(self, name: str, text: str) -> str:
        """Changes one, and returns its full name. ConfigError."""
        ...


class OperatorVerbs:
    """A `VerbGroup` over one mount."""

    def __init__(self, *, tuner: Tuner, restart: Restart, store: RetryingStore, index: Index) -> None:
        self._tuner = tuner
        self._restarting = restart
        self._store = store
        self._index = index
        self.verbs: Mapping[str, Verb] = {
            "examine": Verb(self._examine),
            "settings": Verb(self._show),
            "settings_set": Verb(self._set),
            "restart": Verb(self._restart),
        }

    async def _examine(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """See `examination.Examination.as_json`."""
        found = await examine(
            self._store,
            self._index.next_op_id(),
            read_only=self._tuner.settings.mount.read_only,
            capabilities=self._store.capabilities,
        )
        return found.as_json()

    async def _show(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """{"settings": [{"key", "value", "default", "is_default", "is_live"}]}, values as in a settings file."""
        return {"settings": [attrs.asdict(row) for row in rows(self._tuner.settings)]}

    async def _set(self, request: Request, _peer: Peer, _progress: Progress) -> Json:
        """{"key", "before", "value"}."""
        name, text = request.args.get("name"), request.args.get("value")
        if not isinstance(name, str) or not isinstance(text, str):
            raise Refusal(ErrorCode.BAD_REQUEST, "a setting needs a name and a value, both texts")
        before = {row.key: row.value for row in rows(self._tuner.settings)}
        key = self._tuner.set(name, text)
        after = {row.key: row.value for row in rows(self._tuner.settings)}
        return {"key": key, "before": before[key], "value": after[key]}

    async def _restart(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """No answer but a refusal: the daemon ends, and the next one is asked for its pid."""
        await self._restarting.run()
        return {}
