"""What the bucket has lost and the mount keeps: shown, and decided about. See `sync.guard`."""

from typing import Final

import attrs

from tierfs.control.protocol import Json
from tierfs.index.env import Index
from tierfs.index.held import Row
from tierfs.policy.guard import Verdict
from tierfs.sync.guard import Guard
from tierfs.sync.paths import text_path
from tierfs.sync.verdicts import Progress, Verdicts

_ANSWER_ROWS: Final = 50  # an answer with the longest paths stays below the protocol's limit


class Removals:
    """The held names of one mount."""

    def __init__(self, *, index: Index, guard: Guard, verdicts: Verdicts) -> None:
        self._index = index
        self._guard = guard
        self._verdicts = verdicts

    def page(self, after: tuple[int, bytes]) -> Json:
        """A page of {"removals": [...], "next": `after` of the next page, or None}, in the order of the index."""
        rows = self._guard.page(after, _ANSWER_ROWS)
        last = rows[-1][0] if len(rows) == _ANSWER_ROWS else None
        return {
            "removals": [self._described(row, state) for row, state in rows],
            "next": [last.parent, last.name.hex()] if last is not None else None,
        }

    def _described(self, row: Row, state: str) -> Json:
        path = text_path(self._index, row.parent, row.name).lstrip("/")
        moved_to = row.held.moved_to
        return {
            "path": path,
            "entries": row.held.entries,
            "moved_to": path.rpartition("/")[0] + "/" * ("/" in path) + moved_to if moved_to else None,
            "state": state,
        }

    async def decide(self, verdict: Verdict, progress: Progress, *, dry_run: bool) -> Json:
        """Returns when it is carried out, or with `dry_run` what would be done. EBUSY."""
        if dry_run:
            outcome = await self._verdicts.forecast(verdict)
        else:
            outcome = await self._verdicts.decide(verdict, progress)
        return {"verdict": verdict.value, "dry_run": dry_run, **attrs.asdict(outcome)}
