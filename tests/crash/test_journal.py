"""Crashes of the index: SIGKILL of a real process, and power loss simulated under the journal.

After SIGKILL everything acknowledged is there. After a power loss there is a prefix of what was acknowledged,
with everything in it that was durable. In both cases the tables agree with each other.
"""

import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.crash.journal_writer import SETTINGS as WRITER_SETTINGS
from tests.crash.journal_writer import expected_rows, last_operation
from tests.support.lossy_disk import LossyDisk
from tierfs.clock import ManualClock, SystemClock
from tierfs.index import dirents, inodes, intents, locations, orphans
from tierfs.index.check import check
from tierfs.index.codec import decode_inode
from tierfs.index.env import Index, IndexSettings, Reader, Table
from tierfs.index.journal import OsDisk
from tierfs.index.state import STATE_KEY
from tierfs.index.totals import OBJECTS_KEY, TOTALS_KEY
from tierfs.model import ROOT_INO, Inode, InodeFlag, Intent, IntentKind

REPOSITORY = Path(__file__).parents[2]
SMALL = IndexSettings(
    map_size_bytes=64 << 20, journal_segment_bytes=64 << 10, journal_segments=2, max_uncommitted_changes=120, node=5
)
Rows = dict[tuple[Table, bytes], bytes]


def dump(reader: Reader) -> Rows:
    """Every row but the index's own, whose sum is checked."""
    rows = {
        (table, key): value
        for table in Table
        for key, value in reader.scan(table, b"", b"\xff" * 511, limit=1_000_000)
        if key not in (STATE_KEY, TOTALS_KEY, OBJECTS_KEY)
    }
    if isinstance(reader, Index):
        sizes = [decode_inode(0, row).size_bytes for (table, _), row in rows.items() if table is Table.INODES]
        assert reader.totals.content_bytes == sum(sizes)
    return rows


class Namespace:
    """Files come, move and go in one directory, as a mount would do it; remembers the state after each change."""

    def __init__(self, index: Index, rng: random.Random) -> None:
        self._index = index
        self._rng = rng
        self._files: list[Inode] = [inode for inode in self._known() if inode.ino != ROOT_INO]
        self.states: list[Rows] = [dump(index)]

    def _known(self) -> list[Inode]:
        entries = dirents.page(self._index, ROOT_INO, b"", 10_000)
        found = [inodes.get(self._index, entry.ino) for entry in entries]
        return [inode for inode in found if inode is not None]

    def make_root(self) -> None:
        with self._index.transaction() as txn:
            inodes.put(txn, Inode(ROOT_INO, stat.S_IFDIR | 0o755, 0, 0, 0, 2, 1, 1, 1, 1, ROOT_INO, b""))
        self._remember()

    def step(self) -> None:
        """One random change, in one transaction."""
        verbs = [self._create, self._create, self._touch, self._rename, self._unlink]
        (self._rng.choice(verbs) if self._files else self._create)()
        self._remember()

    def _remember(self) -> None:
        self.states.append(dump(self._index))

    def _name(self) -> bytes:
        return self._rng.randbytes(self._rng.randrange(1, 100)).hex().encode()

    def _create(self) -> None:
        ino = self._index.next_ino()
        new = Inode(ino, stat.S_IFREG | 0o644, 0, 0, 0, 1, 1, 1, 1, 1, ROOT_INO, self._name())
        with self._index.transaction() as txn:
            dirents.put(txn, ROOT_INO, new.name, ino, stat.S_IFREG)
            self._files.append(intents.mark_dirty(txn, new, InodeFlag.DATA_DIRTY, now_ns=1, quiet_s=1))

    def _touch(self) -> None:
        at = self._rng.randrange(len(self._files))
        with self._index.transaction() as txn:
            self._files[at] = intents.mark_dirty(txn, self._files[at], InodeFlag.META_DIRTY, now_ns=2, quiet_s=1)

    def _rename(self) -> None:
        at = self._rng.randrange(len(self._files))
        old = self._files[at]
        moved = Inode(old.ino, old.mode, 0, 0, 0, 1, 1, 1, 1, 1, ROOT_INO, self._name(), write_seq=old.write_seq)
        with self._index.transaction() as txn:
            dirents.delete(txn, ROOT_INO, old.name)
            dirents.put(txn, ROOT_INO, moved.name, moved.ino, stat.S_IFREG)
            locations.set_location(txn, moved.ino, old.name.decode())
            self._files[at] = intents.mark_dirty(txn, moved, InodeFlag.META_DIRTY, now_ns=3, quiet_s=1)

    def _unlink(self) -> None:
        gone = self._files.pop(self._rng.randrange(len(self._files)))
        with self._index.transaction() as txn:
            dirents.delete(txn, ROOT_INO, gone.name)
            pending = intents.of_inode(txn, gone.ino)
            assert pending is not None
            intents.delete(txn, pending.seq)
            tombstone = Intent(self._index.next_seq(), IntentKind.DELETE, 0, gone.name.decode(), "e", 1, 1)
            intents.put(txn, tombstone)
            locations.clear_location(txn, gone.ino)
            if self._rng.random() < 0.5:
                inodes.put(txn, Inode(gone.ino, gone.mode, 0, 0, 0, 0, 1, 1, 1, 1, 0, b""))
                orphans.add(txn, gone.ino)
            else:
                inodes.delete(txn, gone.ino)


@pytest.mark.parametrize("seed", range(25))
def test_power_loss_leaves_a_prefix_with_all_that_was_durable(tmp_path: Path, seed: int) -> None:
    """Several lives on one cache, each ended by a power loss in the middle of its work."""
    rng = random.Random(seed)
    directory = tmp_path / "life 0"
    for life in range(4):
        disk = LossyDisk()
        index = Index.open(directory, clock=ManualClock(), settings=SMALL, boot_id=life, disk=disk)
        assert list(check(index)) == []
        namespace = Namespace(index, rng)
        if life == 0:
            namespace.make_root()
        durable_states = 0
        for _ in range(rng.randrange(5, 120)):
            namespace.step()
            chance = rng.random()
            if chance < 0.1:
                trio.run(index.durable)
            elif chance < 0.15:
                index.commit()
            if chance < 0.15 or index.uncommitted_changes == 0:
                durable_states = len(namespace.states) - 1
        directory = tmp_path / f"life {life + 1}"
        shutil.copytree(index.directory, directory)  # LMDB's file as last committed: no commit is under way
        disk.lose_power(rng, directory / "journal")
        index.close()

        survivor = Index.open(directory, clock=ManualClock(), settings=SMALL, boot_id=life + 1)
        found = dump(survivor)
        assert survivor.was_unclean_boot
        assert found in namespace.states[durable_states:]
        assert list(check(survivor)) == []
        survivor.close()


def test_a_crash_while_replaying(tmp_path: Path) -> None:
    """The opening that replays is itself cut off, again and again, before and after its commits."""
    index = Index.open(tmp_path / "first", clock=ManualClock(), settings=SMALL, boot_id=1)
    namespace = Namespace(index, random.Random(1))
    namespace.make_root()
    for _ in range(60):
        namespace.step()
    shutil.copytree(index.directory, tmp_path / "crashed")
    index.close()

    class CutOff(Exception):
        pass

    class CuttingDisk(OsDisk):
        """Ends the start at its n-th operation on the journal."""

        def __init__(self, count: int) -> None:
            self._left = count

        def _count(self) -> None:
            self._left -= 1
            if self._left < 0:
                raise CutOff

        def open(self, path: Path, size_bytes: int) -> int:
            self._count()
            return super().open(path, size_bytes)

        def write(self, fd: int, data: bytes, offset: int) -> None:
            self._count()
            super().write(fd, data, offset)

    directory = tmp_path / "crashed"
    for count in range(3):
        with pytest.raises(CutOff):
            Index.open(directory, clock=ManualClock(), settings=SMALL, boot_id=1, disk=CuttingDisk(count))
    again = Index.open(directory, clock=ManualClock(), settings=SMALL, boot_id=1)
    assert dump(again) == namespace.states[-1]
    assert list(check(again)) == []
    again.close()


def test_sigkill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """A real process, killed eight times at a moment that it cannot choose; each goes on where the last was ended."""
    rng = random.Random(7)
    directory = tmp_path / "index"
    used_inos: set[int] = set()
    for _ in range(8):
        acknowledged, inos = run_and_kill(directory, after_operations=rng.randrange(1, 1500))
        assert used_inos.isdisjoint(inos)
        used_inos |= inos
        index = Index.open(directory, clock=SystemClock(), settings=WRITER_SETTINGS)
        last = last_operation(index)
        rows = {key: value for (table, key), value in dump(index).items() if table is Table.XATTRS}
        index.close()
        # one more may have happened: written to the journal, killed before it could be told
        assert last in (acknowledged, acknowledged + 1)
        assert rows == expected_rows(last)


def run_and_kill(directory: Path, *, after_operations: int) -> tuple[int, set[int]]:
    """Lets the writer acknowledge some operations and kills it; the last that it told, and its inode numbers."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.journal_writer", str(directory)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        head = writer.stdout.read(16 * after_operations)
        writer.send_signal(signal.SIGKILL)
        tail = writer.stdout.read()
    assert writer.returncode == -signal.SIGKILL
    told = [struct.unpack_from("<QQ", head + tail, at) for at in range(0, len(head + tail) - 15, 16)]
    return told[-1][0], {ino for _, ino in told}
