"""What a command would cost for all that is at a path and below it: counted in the index, no request is sent.

Directories that were never listed count with what is known of them, and are counted as such; a file with several names
counts once at each. What is open counts as it was last published.

Checkpoints: between slices of a long count.
"""

import stat
from collections.abc import Callable, Iterator
from typing import Final

import trio
from attrs import define, field

from tierfs.clock import Clock
from tierfs.control.protocol import Json
from tierfs.index import dirents, inodes, residency, restores
from tierfs.index.env import Index
from tierfs.model import ROOT_INO, Inode, InodeFlag, Residency
from tierfs.policy import forecast
from tierfs.policy.classes import is_archive
from tierfs.policy.cost import RequestKind, Traffic, Use, bill
from tierfs.policy.forecast import Deed, Seen, Terms
from tierfs.policy.restores import Stage
from tierfs.sync.paths import walk
from tierfs.tiering.spending import Accounts

_SLICE_S: Final = 0.005
_KEYS_A_LIST: Final = 1000
_COMES_ALONG: Final = frozenset({Deed.MOVE, Deed.REMOVE, Deed.ATTRIBUTES, Deed.COPY})
"""These are done to directories and symlinks, too."""
_ROOT_PUT: Final = (Use(RequestKind.PUT), Traffic(1))


@define
class _Sums:
    files: int = 0
    directories: int = 0
    unlisted: int = 0
    size_bytes: int = 0
    cold_bytes: int = 0
    archived: int = 0
    early_end: float = 0.0
    storage_change: float = 0.0
    uses: dict[Use, Traffic] = field(factory=dict)

    def use(self, use: Use, traffic: Traffic) -> None:
        self.uses[use] = self.uses.get(use, Traffic()) + traffic


class Forecasts:
    """Of one mount."""

    def __init__(self, *, index: Index, clock: Clock, accounts: Accounts) -> None:
        self._index = index
        self._clock = clock
        self._table = accounts.table
        self._pays_transfer = accounts.pays_transfer

    async def of(self, path: bytes, terms: Terms, *, recursive: bool, counted: Callable[[int], None]) -> Json:
        """{files, directories, unlisted, size_bytes, cold_bytes, archived, uses, bill, early_end, storage_change}.

        Not `recursive`: a directory alone. `counted` is told of the files so far. ENOENT, ENOTDIR.
        """
        top, sums, began_s = walk(self._index, path), _Sums(), trio.current_time()
        for inode in self._below(top) if recursive or not top.is_dir else (top,):
            self._count(terms, inode, sums)
            if trio.current_time() - began_s > _SLICE_S:
                counted(sums.files)
                await trio.lowlevel.checkpoint()
                began_s = trio.current_time()
        if terms.deed is Deed.MOVE and top.is_dir:
            moved = sums.uses.get(Use(RequestKind.DELETE), Traffic()).requests
            sums.use(Use(RequestKind.LIST), Traffic(1 - (-moved // _KEYS_A_LIST)))  # and one that finds nothing more
        return self._told(sums)

    def _below(self, top: Inode) -> Iterator[Inode]:
        yield top
        stack = [dirents.above(self._index, top.ino)] if top.is_dir else []
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            inode = inodes.get(self._index, entry.ino)
            if inode is not None:
                yield inode
                if stat.S_ISDIR(entry.fmt):
                    stack.append(dirents.above(self._index, entry.ino))

    def _count(self, terms: Terms, inode: Inode, sums: _Sums) -> None:
        if inode.is_dir:
            sums.directories += 1
            sums.unlisted += InodeFlag.LISTED not in inode.flags
        else:
            sums.files += 1
        if not inode.is_regular and terms.deed not in _COMES_ALONG:
            return
        if inode.ino == ROOT_INO:  # whose attributes are an object of tierfs's own, written anew each time
            sums.use(*_ROOT_PUT)
            return
        seen = self._seen(inode)
        sums.size_bytes += seen.size_bytes
        sums.cold_bytes += seen.cold_bytes
        sums.archived += forecast.waits_for_restore(terms, seen)
        for use, traffic in forecast.uses(terms, seen):
            sums.use(use, traffic)
        sums.early_end += forecast.early_end(self._table, terms, seen, self._clock.now_ns())
        sums.storage_change += forecast.storage_change(self._table, terms, seen)

    def _seen(self, inode: Inode) -> Seen:
        base = inode.base
        if not inode.is_regular:
            return Seen(0, base.storage_class if base is not None else "", base.last_modified_ns if base else 0)
        if base is None:
            return Seen(inode.size_bytes)
        hot = residency.hot_get(self._index, inode.ino)
        here_bytes = 0
        if hot is not None and hot.residency is Residency.FULL:
            here_bytes = inode.size_bytes
        elif hot is not None and hot.residency is Residency.PARTIAL:
            here_bytes = hot.bytes_charged
        back = restores.get(self._index, inode.ino) if is_archive(base.storage_class) else None
        is_archived = is_archive(base.storage_class) and (back is None or back.stage is not Stage.READY)
        cold_bytes = max(0, inode.size_bytes - here_bytes)
        return Seen(base.size_bytes, base.storage_class, base.last_modified_ns, cold_bytes, is_archived)

    def _told(self, sums: _Sums) -> Json:
        pays = self._pays_transfer
        bills = {use: bill(self._table, use, traffic, pays_transfer=pays) for use, traffic in sums.uses.items()}
        return {
            "files": sums.files,
            "directories": sums.directories,
            "unlisted": sums.unlisted,
            "size_bytes": sums.size_bytes,
            "cold_bytes": sums.cold_bytes,
            "archived": sums.archived,
            "uses": [
                {
                    "kind": use.kind.value,
                    "storage_class": use.storage_class,
                    "requests": traffic.requests,
                    "bytes": traffic.sent_bytes + traffic.received_bytes,
                    "cost": bills[use].total,
                }
                for use, traffic in sums.uses.items()
            ],
            "requests_cost": sum(each.requests for each in bills.values()),
            "retrieval_cost": sum(each.retrieval for each in bills.values()),
            "transfer_cost": sum(each.transfer for each in bills.values()),
            "early_end_cost": sums.early_end,
            "cost": sum(each.total for each in bills.values()) + sums.early_end,
            "storage_change_month": sums.storage_change,
            "currency": self._table.currency,
            "prices": f"{self._table.name}, {self._table.date}",
        }
