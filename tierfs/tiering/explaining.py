"""Why a file is where it is, and what becomes of it when: the rules, told as values that JSON has."""

import math
from collections.abc import Mapping
from typing import Any

from tierfs.content.handles import Files
from tierfs.content.ledger import is_clean
from tierfs.index import held, residency
from tierfs.index.env import Index
from tierfs.model import HotRecord, Inode
from tierfs.policy.placement import Decision, Placement, decisions, next_change
from tierfs.tiering.placements import Placements


class Explainer:
    """No checkpoints."""

    def __init__(self, *, index: Index, files: Files, placements: Placements) -> None:
        self._index = index
        self._files = files
        self._placements = placements

    def explain(self, inode: Inode) -> Mapping[str, Any]:
        """{rule (its name, None), rules_from, last_use_s, age_s, hot_bytes, storage_class, pinned, cached,
        stays_until_s, kept (why it is not evicted, None), decisions [{action, at_s, in_s, rule, storage_class}], next
        {rule, at_s, in_s, decisions} (the rule that counts later), problems [text], clock_set}. Times: seconds since
        the epoch.
        """
        record = residency.hot_get(self._index, inode.ino)
        view, now_s = self._placements.view(), self._placements.ages.now_s()
        placed = self._placements.of(inode, record, view=view)
        change = next_change(placed.rules, placed.file, now_s)
        pinned_here = record is not None and record.pinned
        pinned = placed.placement.is_pinned or pinned_here

        def due(placement: Placement) -> list[Mapping[str, Any]]:
            if pinned_here:
                return []
            return [self._told(each, now_s) for each in decisions(placement, placed.file)]

        return {
            "rule": placed.placement.rule or None,
            "rules_from": self._placements.rulebook.source,
            "last_use_s": placed.file.last_use_s,
            "age_s": now_s - placed.file.last_use_s,
            "hot_bytes": record.bytes_charged if record is not None else 0,
            "storage_class": placed.file.storage_class or None,
            "pinned": pinned,
            "cached": placed.placement.is_cached,
            "stays_until_s": _finite(placed.placement.stays_until_s),
            "kept": self._kept(inode, record, placed.placement, now_s) if record is not None else None,
            "decisions": due(placed.placement),
            "next": None
            if change is None
            else {
                "rule": change[1].rule or None,
                "at_s": change[0],
                "in_s": change[0] - now_s,
                "decisions": due(change[1]),
            },
            "problems": list(view.problems),
            "clock_set": self._placements.ages.has_jumped,
        }

    def _kept(self, inode: Inode, record: HotRecord, placement: Placement, now_s: float) -> str | None:
        """Why what is here is not evicted now, whoever needs room."""
        if not is_clean(inode):
            return "not uploaded yet"
        if held.covers(self._index, inode.parent, inode.name, inode.ino):
            return "the bucket has lost it, and nobody has decided yet"
        if record.pinned:
            return "pinned"
        if placement.is_pinned:
            return f"pinned by {placement.rule}"
        if self._files.is_writing(inode.ino):
            return "open for writing"
        if placement.stays_until_s > now_s:
            return f"kept by {placement.rule}, unless writers wait for room"
        return None

    @staticmethod
    def _told(decision: Decision, now_s: float) -> Mapping[str, Any]:
        return {
            "action": decision.action.value,
            "at_s": decision.at_s,
            "in_s": max(0.0, decision.at_s - now_s),
            "rule": decision.rule,
            "storage_class": decision.storage_class or None,
        }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
