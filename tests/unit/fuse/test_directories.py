"""What the daemon tells the holder of directories, and when."""

import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import trio
from attrs import define

from tests.support.sync_rig import Rig, run_rig
from tierfs.fuse.convert import packed_attributes
from tierfs.fuse.directories import Directories
from tierfs.index import dirents, inodes
from tierfs.model import ROOT_INO, Inode, InodeFlag, revise
from tierfs.namespace.changes import NewInode

NOTHING, ATTRIBUTES, NAMES, STILL = range(4)
HOLD_S = 60.0
MISSES = 8


def entry(inode: Inode) -> pyfuse3.EntryAttributes:
    """As Operations packs them; the size tells which they are."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino, attributes.attr_timeout = pyfuse3.InodeT(inode.ino), 300
    attributes.st_size = inode.nlink
    return attributes


@define
class Told:
    """Directories of a rig, and the holder's end of the session."""

    rig: Rig
    directories: Directories
    session: socket.socket
    held: Any

    def said(self) -> list[tuple[int, int, bytes]]:
        """(kind, inode, payload) of all since the last call."""
        found = []
        while True:
            try:
                packet = self.session.recv(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            size, code, unique, kind, _, ino, valid_ns, _ = struct.unpack_from("=IiQIIQQQ", packet)
            assert (size, code, unique) == (len(packet), 1 << 16, 0)
            assert (valid_ns > 0) == (kind != NOTHING)
            found.append((kind, ino, packet[48:]))

    def miss(self, ino: int, times: int = MISSES) -> list[tuple[int, int, bytes]]:
        """So many lookups that find nothing."""
        for _ in range(times):
            self.directories.missed(ino)
        return self.said()


def run(tmp_path: Path, test: Callable[[Told], Awaitable[None]]) -> None:
    async def main(rig: Rig) -> None:
        ours, holders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        held = SimpleNamespace(hold_s=HOLD_S)
        directories = Directories(index=rig.index, hold_s=lambda ino: cast(float, held.hold_s), negative_s=5)
        with ours, holders:
            directories.made(ROOT_INO)  # nobody is there yet
            directories.begin(ours.fileno())
            await test(Told(rig, directories, holders, held))

    run_rig(tmp_path, main)


def directory(rig: Rig) -> Inode:
    """One whose attributes are known."""
    return rig.tree.create(ROOT_INO, b"directory", NewInode(stat.S_IFDIR | 0o755, 0, 0))


def add_names(rig: Rig, parent: int, *names: bytes) -> None:
    with rig.index.transaction() as txn:
        for number, name in enumerate(names):
            dirents.put(txn, parent, name, 1000 + number, stat.S_IFREG)


def test_a_changed_directory_is_told_with_its_attributes(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        inode = directory(told.rig)
        told.directories.changed(inode.ino, entry)
        assert told.said() == [(ATTRIBUTES, inode.ino, packed_attributes(entry(inode)))]
        told.directories.doubted(inode.ino)
        told.directories.doubted(inode.ino)
        assert told.said() == [(NOTHING, inode.ino, b"")], "it has nothing more to take back"

    run(tmp_path, test)


def test_attributes_that_are_not_known_are_not_told(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        inode = directory(told.rig)
        told.directories.changed(inode.ino, entry)
        with told.rig.index.transaction() as txn:
            inodes.put(txn, revise(inode, flags=inode.flags & ~InodeFlag.ATTRS_KNOWN))
        told.said()
        for ino in (inode.ino, 4711):
            told.directories.changed(ino, entry)
        assert told.said() == [(NOTHING, inode.ino, b"")]

    run(tmp_path, test)


def test_a_new_directory_has_no_names_for_as_long_as_it_is_not_listed_again(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        told.directories.made(7)
        assert told.said() == [(NAMES, 7, b"")]
        told.held.hold_s = 0
        told.directories.made(8)
        assert told.said() == []

    run(tmp_path, test)


def test_names_are_told_where_lookups_find_nothing(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        add_names(told.rig, ROOT_INO, b"a", b"\xff" * 255)
        assert told.miss(ROOT_INO, MISSES - 1) == []
        assert told.miss(ROOT_INO, 1) == [(NAMES, ROOT_INO, b"\x01a\xff" + b"\xff" * 255)]
        told.held.hold_s = 0
        assert told.miss(7) == [], "they would be asked for at once"

    run(tmp_path, test)


def test_names_that_were_held_for_their_time_still_hold(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        told.miss(ROOT_INO)
        await trio.sleep(HOLD_S)
        assert told.miss(ROOT_INO, 1) == [(STILL, ROOT_INO, b"")]
        # the holder asks all the same: it has given them up
        assert told.miss(ROOT_INO, MISSES - 1) == []
        assert told.miss(ROOT_INO, 1) == [(NAMES, ROOT_INO, b"")]
        told.directories.doubted(ROOT_INO)
        assert told.miss(ROOT_INO, MISSES - 1) == [(NOTHING, ROOT_INO, b"")]

    run(tmp_path, test)


def test_more_names_than_a_packet_has_room_for_are_not_told(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        add_names(told.rig, ROOT_INO, *(b"%0200d" % number for number in range(300)))
        assert told.miss(ROOT_INO, 5 * MISSES) == []

    run(tmp_path, test)


def test_the_directories_that_changed_last_are_kept(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        for ino in range(1, 1026):
            told.directories.made(ino)
            told.directories.made(1)
            kinds = [(kind, about) for kind, about, _ in told.said()]
            assert ((NOTHING, 2) in kinds) == (ino == 1025)

    run(tmp_path, test)


def test_what_is_said_after_the_end_is_lost(tmp_path: Path) -> None:
    async def test(told: Told) -> None:
        told.session.close()
        told.directories.made(7)
        told.directories.end()
        told.directories.changed(ROOT_INO, entry)
        told.directories.missed(ROOT_INO)
        told.directories.doubted(7)

    run(tmp_path, test)
