"""The verbs of those who run the machine: is all well with the bucket, which settings are in use.

Asking the bucket (`examine`) is a checkpoint for each of its requests; the rest answers at once.
"""

from collections.abc import Mapping

import attrs

from tierfs.config import Settings
from tierfs.config.showing import rows
from tierfs.control.arguments import Progress
from tierfs.control.protocol import Json, Request
from tierfs.control.verbs import Peer, Verb
from tierfs.index.env import Index
from tierfs.objectstore.examination import examine
from tierfs.objectstore.retrying import RetryingStore


class OperatorVerbs:
    """A `VerbGroup` over one mount."""

    def __init__(self, *, settings: Settings, store: RetryingStore, index: Index) -> None:
        self._settings = settings
        self._store = store
        self._index = index
        self.verbs: Mapping[str, Verb] = {
            "examine": Verb(self._examine),
            "settings": Verb(self._show),
        }

    async def _examine(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """See `examination.Examination.as_json`."""
        found = await examine(
            self._store,
            self._index.next_op_id(),
            read_only=self._settings.mount.read_only,
            capabilities=self._store.capabilities,
        )
        return found.as_json()

    async def _show(self, _request: Request, _peer: Peer, _progress: Progress) -> Json:
        """{"settings": [{"key", "value", "default", "is_default"}]}, values as in a settings file."""
        return {"settings": [attrs.asdict(row) for row in rows(self._settings)]}
