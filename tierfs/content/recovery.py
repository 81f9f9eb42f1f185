"""What a start has to put right in the hot tier: after a clean stop nothing, after a crash what it left half done.

Plain functions over the index, before anything else uses the tier. Cost: a row for each file in the hot tier,
a look at the disk only where a crash can have left something. What is trusted is said in index/residency.py.
"""

import logging
from typing import Final

from attrs import evolve, frozen

from tierfs.content.ledger import Ledger, is_clean
from tierfs.faultpoints import Point, reach
from tierfs.hottier.disk import BackingStat
from tierfs.index import inodes, intents, residency
from tierfs.model import HotRecord, Inode, InodeFlag, Residency

_log: Final = logging.getLogger(__name__)
_PAGE_FILES: Final = 1000


@frozen
class Recovery:
    """How many files of each kind a start found."""

    files: int = 0
    adopted: int = 0  # were being written; size and times taken from the backing file
    dropped: int = 0  # clean copies that a power loss made doubtful
    unproven: int = 0  # dirty, and a power loss may have taken bytes: exported beside their object, not over it
    lost: int = 0  # dirty, and the backing file is gone
    leaked: int = 0  # backing files that no record speaks of
    saved: int = 0  # the same, of an index that is gone: they were moved to lost+found


def recover(ledger: Ledger) -> Recovery:
    """Makes index and backing files agree and charges the tier. Raises FsError of the cache disk."""
    counts = dict.fromkeys(("files", "adopted", "dropped", "unproven", "lost"), 0)
    after_ino = 0
    while page := residency.hot_page(ledger.index, after_ino, _PAGE_FILES):
        after_ino = page[-1][0]
        for ino, record in page:
            counts["files"] += 1
            ledger.space.charge(record.bytes_charged)
            outcome = _recover_file(ledger, ino, record)
            reach(Point.FILE_RECOVERED)
            if outcome:
                counts[outcome] += 1
    ledger.ranks.begin()
    leaked, saved = _remove_leaks(ledger)
    ledger.index.mark_recovered()
    return Recovery(**counts, leaked=leaked, saved=saved)


def _recover_file(ledger: Ledger, ino: int, record: HotRecord) -> str:
    index = ledger.index
    inode = inodes.get(index, ino)
    if inode is None:
        _forget(ledger, ino)
        return "dropped"
    is_doubtful = index.was_unclean_boot and record.boot_id != index.boot_id and (not record.synced or record.writing)
    if is_doubtful and is_clean(inode):
        _forget(ledger, ino)
        return "dropped"
    is_old = record.boot_id != index.boot_id
    # of a PARTIAL file the charge may be that of before its last punch
    is_settled = not record.writing and record.residency is Residency.FULL
    if is_settled and not is_doubtful and not (is_old and not is_clean(inode)):
        return ""
    stat = ledger.hot.stat(ino)
    if stat is None:
        return _without_file(ledger, inode)
    if is_doubtful and not record.synced:
        _keep_unproven(ledger, inode, record, stat)
        return "unproven"
    return _adopt(ledger, inode, record, stat)


def _forget(ledger: Ledger, ino: int) -> None:
    ledger.forget_record(ino)
    ledger.hot.remove(ino)


def _without_file(ledger: Ledger, inode: Inode) -> str:
    if is_clean(inode):
        ledger.forget_record(inode.ino)
        return "dropped"
    # the record stays: reads and the export of this file fail with EIO until it is written anew or removed
    _log.error("the backing file of inode %x (%r) is gone: its changes that were not exported are lost",
               inode.ino, inode.name, extra={"event": "TFS3001"})  # fmt: skip
    return "lost"


def _adopt(ledger: Ledger, inode: Inode, record: HotRecord, stat: BackingStat) -> str:
    """A file that had a writer: a FULL one is what its backing file says, a PARTIAL one what the index says."""
    changed = inode
    if record.residency is Residency.FULL and record.writing:
        changed = _with_stat(inode, stat)
    settled = evolve(record, writing=False, bytes_charged=stat.allocated_bytes, boot_id=ledger.index.boot_id)
    _put(ledger, inode, changed, record, settled)
    return "adopted" if changed != inode else ""


def _keep_unproven(ledger: Ledger, inode: Inode, record: HotRecord, stat: BackingStat) -> None:
    """The old boot id stays in the record: that is the mark (Ledger.is_unproven)."""
    changed = _with_stat(inode, stat) if record.residency is Residency.FULL else inode
    settled = evolve(record, writing=False, bytes_charged=stat.allocated_bytes)
    _log.warning("inode %x (%r) was written before a power loss and never synced: what is left of it is kept",
                 inode.ino, inode.name, extra={"event": "TFS3002"})  # fmt: skip
    _put(ledger, inode, changed, record, settled)


def _with_stat(inode: Inode, stat: BackingStat) -> Inode:
    if (stat.size_bytes, stat.mtime_ns) == (inode.size_bytes, inode.mtime_ns):
        return inode
    return evolve(
        inode,
        size_bytes=stat.size_bytes,
        mtime_ns=stat.mtime_ns,
        ctime_ns=max(inode.ctime_ns, stat.mtime_ns),
    )


def _put(ledger: Ledger, old: Inode, new: Inode, record: HotRecord, settled: HotRecord) -> None:
    with ledger.index.transaction() as txn:
        if new != old:
            quiet_s = ledger.quiet_s_of(txn, new)
            intents.mark_dirty(txn, new, InodeFlag.DATA_DIRTY, now_ns=ledger.clock.now_ns(), quiet_s=quiet_s)
        residency.hot_put(txn, new.ino, settled)
    ledger.space.charge(settled.bytes_charged - record.bytes_charged)


def _remove_leaks(ledger: Ledger) -> tuple[int, int]:
    """Backing files without a record: made by a call that was never acknowledged, or forgotten by one that was.

    So says this index. Those of another one, which was lost or put away, may be all that is left of their bytes.
    """
    leaked = saved = 0
    index, hot = ledger.index, ledger.hot
    for inos in hot.inos():
        for ino in inos:
            if residency.hot_get(index, ino) is not None:
                continue
            label = hot.label(hot.place(ino))
            if index.epoch == 1 or (label is not None and label.index != index.identity):
                hot.set_aside(hot.place(ino))
                saved += 1
            else:
                hot.remove(ino)
                leaked += 1
    if saved:
        _log.warning("%d files in the hot tier are of an index that is gone: they are in lost+found of the cache",
                     saved, extra={"event": "TFS3008"})  # fmt: skip
    return leaked, saved
