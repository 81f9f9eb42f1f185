"""What the rules have for an inode as it is now: asked where files are evicted, fetched and queued for their upload."""

from attrs import frozen

from tierfs.hottier.space import Space
from tierfs.index import intents, residency
from tierfs.index.env import Index, Reader
from tierfs.model import HotRecord, Inode
from tierfs.policy.placement import File, Placement, RuleSet, place
from tierfs.tiering.ages import Ages
from tierfs.tiering.rulebook import Rulebook
from tierfs.tiering.view import View


@frozen
class Placed:
    """A file, the rules that may name it, and what the first has that does at `at_s`."""

    file: File
    rules: RuleSet
    placement: Placement
    at_s: float


class Placements:
    """No checkpoints."""

    def __init__(
        self, index: Index, rulebook: Rulebook, ages: Ages, space: Space, default_quiet_s: intents.QuietTime
    ) -> None:
        """`default_quiet_s`: what the export has where no rule says how long a file rests."""
        self.rulebook = rulebook
        self.ages = ages
        self._index = index
        self._space = space
        self._default_quiet_s = default_quiet_s

    def of(self, inode: Inode, hot: HotRecord | None, *, view: View | None = None) -> Placed:
        """As of now. `view`: of the same moment, where many are asked for."""
        subject, now_s = (view or self.view()).subject(inode, hot), self.ages.now_s()
        return Placed(subject.file, subject.rules, place(subject.rules, subject.file, now_s), now_s)

    def view(self) -> View:
        """Of this moment."""
        return View(self._index, self.rulebook)

    def keeps(self, inode: Inode, record: HotRecord) -> bool:
        """Must the file stay although room is needed? Time that it was promised does not count while writers wait."""
        view = self.view()
        if not self.rulebook.keeps_some and not view.reads_tree:
            return False
        placed = self.of(inode, record, view=view)
        is_promised = placed.placement.stays_until_s > placed.at_s and not self._space.waiting_count
        return placed.placement.is_pinned or is_promised

    def caches(self, inode: Inode) -> bool:
        """May bytes of the file be brought into the hot tier?"""
        view = self.view()
        if not self.rulebook.bars_some and not view.reads_tree:
            return True
        return self.of(inode, residency.hot_get(self._index, inode.ino), view=view).placement.is_cached

    def quiet_s(self, reader: Reader, inode: Inode) -> float:
        """How long a changed inode rests before it is exported."""
        view = View(reader, self.rulebook)
        if inode.is_regular and (view.reads_tree or self.rulebook.rules.has_quiet_times):
            subject = view.subject(inode, residency.hot_get(reader, inode.ino))
            own_s = place(subject.rules, subject.file, self.ages.now_s()).quiet_s
            if own_s is not None:
                return own_s
        return self._default_quiet_s(reader, inode)
