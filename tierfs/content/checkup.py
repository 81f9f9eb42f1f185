"""fsck of a cache that no daemon uses: index and hot tier are checked, and put right where that is safe.

`find` changes nothing. `repair` goes over everything until a round finds nothing that can be repaired: a repair may
bring up what the one before has hidden. Which repair is right for a finding is `policy.fsck`'s; what it does to rows,
`index.repair`'s; bytes that may be nowhere else are moved out of the tier before a row that speaks of them goes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from tierfs.content.tiercheck import check_tier_in_steps
from tierfs.hottier.files import HotFiles
from tierfs.index import repair as index_repair
from tierfs.index.check import check_in_steps
from tierfs.index.env import Index
from tierfs.policy.fsck import Finding, FindingKind, Repair, repair_of

_ROUNDS_MAX: Final = 10
_HOT_TABLES: Final = frozenset({"HOT", "hot", "INODES"})


@frozen
class Outcome:
    """What became of a finding; `saved` is where its bytes are now, None where none were moved."""

    finding: Finding
    how: Repair
    saved: Path | None = None


def find(index: Index, hot: HotFiles) -> Iterator[Finding]:
    """All that is wrong, in no order that means anything."""
    for step in _steps(index, hot):
        yield from step


def _steps(index: Index, hot: HotFiles) -> Iterator[list[Finding]]:
    yield from check_in_steps(index)
    yield from check_tier_in_steps(index, hot)


def repair(index: Index, hot: HotFiles, tell: Callable[[Outcome], None]) -> int:
    """Repairs what can be; `tell` hears of each repair. Returns how many findings are left. FsError."""
    for _ in range(_ROUNDS_MAX):
        left = repaired = 0
        for step in _steps(index, hot):
            for finding in step:
                how = repair_of(finding)
                if how is Repair.NONE:
                    left += 1
                    continue
                tell(carry_out(index, hot, finding, how))
                repaired += 1
        if not repaired:
            return left
    return sum(1 for _ in find(index, hot))


def carry_out(index: Index, hot: HotFiles, finding: Finding, how: Repair) -> Outcome:
    """One repair. FsError."""
    saved = None
    if how in (Repair.SAVE_BYTES, Repair.QUEUE_PURGE) and finding.table in _HOT_TABLES:
        path = finding.key.decode(errors="surrogateescape") if finding.table == "hot" else hot.place(finding.ino)
        saved = hot.set_aside(path)
    if how is Repair.REMOVE_COPY:
        hot.remove(finding.ino)
    elif finding.kind not in (FindingKind.UNKNOWN_FILE, FindingKind.FOREIGN_FILE):
        index_repair.repair(index, finding, how)
    return Outcome(finding, how, saved)
