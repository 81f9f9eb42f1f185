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
    """A file, the rules that may name it, and what the first has that does."""

    file: File
    rules: RuleSet
    placement: Placement


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
        subject = (view or self.view()).subject(inode, hot)
        return Placed(subject.file, subject.rules, place(subject.rules, subject.file, self.ages.now_s()))

    def view(self) -> View:
        """Of this moment."""
        return View(self._index, self.rulebook)

    def keeps(self, inode: Inode, record: HotRecord) -> bool:
        """Must the file stay although room is needed? Time that it was promised does not count while writers wait."""
        placement = self.of(inode, record).placement
        is_promised = placement.stays_until_s > self.ages.now_s() and not self._space.waiting_count
        return placement.is_pinned or is_promised

    def caches(self, inode: Inode) -> bool:
        """May bytes of the file be brought into the hot tier?"""
        return self.of(inode, residency.hot_get(self._index, inode.ino)).placement.is_cached

    def quiet_s(self, reader: Reader, inode: Inode) -> float:
        """How long a changed inode rests before it is exported."""
        view = View(reader, self.rulebook)
        if inode.is_regular and (view.reads_tree or self.rulebook.rules.has_quiet_times):
            subject = view.subject(inode, residency.hot_get(reader, inode.ino))
            own_s = place(subject.rules, subject.file, self.ages.now_s()).quiet_s
            if own_s is not None:
                return own_s
        return self._default_quiet_s(reader, inode)
