"""The POSIX verbs without a kernel: what lasts between requests, and what must not."""

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from attrs import frozen

from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import FsError
from tierfs.filesystem import FileSystem
from tierfs.model import ROOT_INO, InodeFlag
from tierfs.namespace.authority import Right
from tierfs.namespace.changes import AttrChange, RenameMode
from tierfs.namespace.verbs import Caller, DirEntry
from tierfs.objectstore.base import Always, ObjectMeta
from tierfs.sync.plan import ASIDE_PREFIX

USER = Caller(uid=1000, gid=1000)
ROOT_USER = Caller(uid=0, gid=0)


@frozen
class Mounted:
    """A file system over a rig, as a kernel would use it: every entry that is answered is looked up."""

    rig: Rig
    fs: FileSystem

    async def create(self, name: str, data: bytes = b"", parent: int = ROOT_INO) -> int:
        inode, handle = await self.fs.create(parent, name.encode(), 0o644, USER)
        self.fs.remember(inode.ino)
        if data:
            await self.fs.write(handle, 0, data)
        await self.fs.release(handle)
        return inode.ino

    async def read(self, ino: int) -> bytes:
        handle = await self.fs.open(ino, os.O_RDONLY)
        data = await self.fs.read(handle, 0, 1 << 20)
        await self.fs.release(handle)
        return data

    def has(self, ino: int) -> bool:
        try:
            self.rig.tree.inode(ino)
        except FsError:
            return False
        return True


def run(tmp_path: Path, test: Callable[[Mounted], Awaitable[None]], *, read_only: bool = False) -> None:
    async def main(rig: Rig) -> None:
        await test(Mounted(rig, rig.file_system(read_only=read_only)))

    run_rig(tmp_path, main)


def test_an_unlinked_file_lives_until_its_last_user_has_gone(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        fs = mounted.fs
        ino = await mounted.create("f", b"bytes")
        handle = await fs.open(ino, os.O_RDWR)
        await fs.unlink(ROOT_INO, b"f")
        assert (await fs.getattr(ino)).nlink == 0
        assert await fs.read(handle, 0, 10) == b"bytes"
        assert await fs.write(handle, 5, b"!") == 1
        fs.forget(ino, 1)
        assert mounted.has(ino), "the handle keeps it"
        await fs.release(handle)
        assert not mounted.has(ino)
        assert mounted.rig.hot.stat(ino) is None

    run(tmp_path, test)


def test_an_unlinked_file_that_the_kernel_knows_is_kept(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        ino = await mounted.create("f")
        mounted.fs.remember(ino)
        await mounted.fs.unlink(ROOT_INO, b"f")
        mounted.fs.forget(ino, 1)
        assert mounted.has(ino)
        mounted.fs.forget(ino, 1)
        assert not mounted.has(ino)

    run(tmp_path, test)


def test_what_was_unlinked_and_open_at_a_crash_is_removed_at_the_next_start(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        ino = await mounted.create("f", b"x")
        await mounted.fs.unlink(ROOT_INO, b"f")
        assert mounted.has(ino)
        assert mounted.fs.purge_orphans() == 1
        assert not mounted.has(ino)
        assert mounted.rig.hot.stat(ino) is None

    run(tmp_path, test)


def _aside(rig: Rig) -> list[str]:
    return [key for key in rig.store.objects if key.startswith(ASIDE_PREFIX)]


def test_the_last_close_lets_the_object_of_an_unlinked_file_go(tmp_path: Path) -> None:
    body = bytes(range(256)) * 8192

    async def test(mounted: Mounted) -> None:
        rig, fs = mounted.rig, mounted.fs
        rig.put_remote("f", body)
        ino = (await fs.lookup(ROOT_INO, b"f")).ino
        fs.remember(ino)
        handle = await fs.open(ino, os.O_RDONLY)
        await fs.unlink(ROOT_INO, b"f")
        await rig.sync()
        assert rig.keys == []
        assert await fs.read(handle, 0, len(body)) == body
        await fs.release(handle)
        assert _aside(rig)
        fs.forget(ino, 1)
        await trio.sleep(2)
        assert not _aside(rig)

    run(tmp_path, test)


def test_what_is_open_when_the_kernel_goes_is_removed(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        rig, fs = mounted.rig, mounted.fs
        rig.put_remote("f", b"x" * (2 << 20))
        ino = (await fs.lookup(ROOT_INO, b"f")).ino
        fs.remember(ino)
        await fs.open(ino, os.O_RDONLY)
        await fs.unlink(ROOT_INO, b"f")
        await rig.sync()
        assert _aside(rig)
        fs.disconnected()
        assert not mounted.has(ino)
        await rig.sync()
        assert not _aside(rig)

    run(tmp_path, test)


def test_a_file_that_goes_with_its_object_before_its_open_is_answered_is_looked_up_again(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        rig, fs = mounted.rig, mounted.fs
        rig.put_remote("f", b"x" * (2 << 20))
        ino = (await fs.lookup(ROOT_INO, b"f")).ino
        fs.remember(ino)
        grant = fs._authority.acquire

        async def wait(number: int, right: Right) -> None:
            await grant(number, right)
            await fs.unlink(ROOT_INO, b"f")
            await rig.sync()

        fs._authority.acquire = wait  # type: ignore[method-assign]
        with pytest.raises(FsError, check=lambda error: error.errno == errno.ESTALE):
            await fs.open(ino, os.O_RDONLY)
        assert mounted.has(ino)

    run(tmp_path, test)


def test_a_file_that_is_replaced_while_it_is_open_keeps_its_bytes(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        old, new = await mounted.create("old", b"old"), await mounted.create("new", b"new")
        handle = await mounted.fs.open(old, os.O_RDONLY)
        await mounted.fs.rename(ROOT_INO, b"new", ROOT_INO, b"old", RenameMode.REPLACE)
        assert await mounted.fs.read(handle, 0, 10) == b"old"
        assert (await mounted.fs.lookup(ROOT_INO, b"old")).ino == new
        await mounted.fs.release(handle)

    run(tmp_path, test)


def _names(entries: list[DirEntry]) -> list[bytes]:
    return [entry.name for entry in entries if entry.name not in (b".", b"..")]


def test_a_listing_goes_on_exactly_where_it_was_while_entries_come_and_go(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        fs = mounted.fs
        for number in range(10):
            await mounted.create(f"{number}")
        handle = await fs.opendir(ROOT_INO)
        first = list(fs.readdir(handle, 0))[:6]  # ".", "..", 0, 1, 2, 3
        await fs.unlink(ROOT_INO, b"3")  # the one that the cookie stands for
        await fs.unlink(ROOT_INO, b"5")
        await mounted.create("1a")  # before it: not seen any more
        await mounted.create("4a")
        rest = list(fs.readdir(handle, first[-1].cookie))
        assert _names(rest) == [b"4", b"4a", b"6", b"7", b"8", b"9"]
        again = list(fs.readdir(handle, first[3].cookie))  # seekdir to after "1"
        assert _names(again) == [b"1a", b"2", b"4", b"4a", b"6", b"7", b"8", b"9"]
        assert _names(list(fs.readdir(handle, 0)))[0] == b"0"
        with pytest.raises(FsError) as refused:
            list(fs.readdir(handle, 10_000))
        assert refused.value.errno == errno.EINVAL
        await fs.releasedir(handle)

    run(tmp_path, test)


def test_reading_moves_atime_as_relatime_has_it(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        fs, clock = mounted.fs, mounted.rig.clock
        ino = await mounted.create("f", b"x")
        day_ns = 86_400 * 10**9
        old = clock.now_ns() - 3 * day_ns
        await fs.setattr(ino, AttrChange(atime_ns=old, mtime_ns=old), None)
        await mounted.read(ino)
        read_ns = (await fs.getattr(ino)).atime_ns
        assert read_ns > old, "older than a day"
        await mounted.read(ino)
        assert (await fs.getattr(ino)).atime_ns == read_ns, "newer than mtime and ctime, and of today"
        handle = await fs.open(ino, os.O_RDONLY | os.O_NOATIME)
        await fs.setattr(ino, AttrChange(atime_ns=old), None)
        await fs.read(handle, 0, 1)
        assert (await fs.getattr(ino)).atime_ns == old
        await fs.release(handle)

    run(tmp_path, test)


def test_a_read_alone_gives_the_bucket_nothing_to_do(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        ino = await mounted.create("f", b"x")
        await mounted.rig.sync()
        await mounted.read(ino)
        assert mounted.rig.pending() == []

    run(tmp_path, test)


def test_xattr_names_and_sizes(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        fs, ino = mounted.fs, await mounted.create("f")
        for name, value, code in (
            (b"other.x", b"", errno.EOPNOTSUPP),
            (b"user." + b"x" * 255, b"", errno.ERANGE),
            (b"user.big", b"x" * 65_537, errno.E2BIG),
        ):
            with pytest.raises(FsError) as refused:
                await fs.setxattr(ino, name, value)
            assert refused.value.errno == code
        await fs.setxattr(ino, b"trusted.t", b"1")
        await fs.setxattr(ino, b"user.u", b"2")
        assert await fs.listxattr(ino, USER) == [b"user.u"]
        assert sorted(await fs.listxattr(ino, ROOT_USER)) == [b"trusted.t", b"user.u"]
        await fs.removexattr(ino, b"user.u")
        with pytest.raises(FsError) as refused:
            await fs.getxattr(ino, b"user.u")
        assert refused.value.errno == errno.ENODATA

    run(tmp_path, test)


def test_a_read_only_mount_refuses_every_change(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        fs, store = mounted.fs, mounted.rig.store
        await store.put("f", b"x", ObjectMeta(), Always())
        inode = await fs.lookup(ROOT_INO, b"f")
        assert await mounted.read(inode.ino) == b"x"
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: fs.create(ROOT_INO, b"g", 0o644, USER),
            lambda: fs.mkdir(ROOT_INO, b"d", 0o755, USER),
            lambda: fs.unlink(ROOT_INO, b"f"),
            lambda: fs.rename(ROOT_INO, b"f", ROOT_INO, b"g", RenameMode.REPLACE),
            lambda: fs.open(inode.ino, os.O_WRONLY),
            lambda: fs.open(inode.ino, os.O_RDONLY | os.O_TRUNC),
            lambda: fs.setattr(inode.ino, AttrChange(permissions=0o600), None),
            lambda: fs.setxattr(inode.ino, b"user.x", b""),
        ]
        for change in changes:
            with pytest.raises(FsError) as refused:
                await change()
            assert refused.value.errno == errno.EROFS

    run(tmp_path, test, read_only=True)


def test_an_entry_of_the_bucket_is_known_when_it_is_looked_up_but_not_by_listing(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        meta = ObjectMeta(user={"file-permissions": "0120777", "file-owner": "7", "file-group": "8"})
        await mounted.rig.store.put("d/link", b"target", meta, Always())
        await mounted.rig.store.put("d/plain", b"12345", ObjectMeta(), Always())
        directory = await mounted.fs.lookup(ROOT_INO, b"d")
        handle = await mounted.fs.opendir(directory.ino)
        listed = {entry.name: entry.inode for entry in mounted.fs.readdir(handle, 0)}
        for name in (b"link", b"plain"):
            assert InodeFlag.ATTRS_KNOWN in listed[name].flags or listed[name].mode == 0
        await mounted.fs.releasedir(handle)
        link = await mounted.fs.lookup(directory.ino, b"link")
        assert (stat.S_ISLNK(link.mode), link.uid, link.gid) == (True, 7, 8)
        assert await mounted.fs.readlink(link.ino) == b"target"
        assert (await mounted.fs.lookup(directory.ino, b"plain")).size_bytes == 5

    run(tmp_path, test)


def test_a_directory_that_was_never_listed_is_not_taken_for_empty(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        await mounted.rig.store.put("d/f", b"x", ObjectMeta(), Always())
        await mounted.fs.lookup(ROOT_INO, b"d")
        with pytest.raises(FsError) as refused:
            await mounted.fs.rmdir(ROOT_INO, b"d")
        assert refused.value.errno == errno.ENOTEMPTY

    run(tmp_path, test)


def test_ranges_of_open_files(tmp_path: Path) -> None:
    async def test(mounted: Mounted) -> None:
        fs = mounted.fs
        source, target = await mounted.create("source", bytes(8192) + b"end"), await mounted.create("target")
        reader, writer = await fs.open(source, os.O_RDONLY), await fs.open(target, os.O_RDWR)
        assert await fs.copy_range(reader, 8190, writer, 1, 100) == 5
        await fs.fallocate(writer, 0, 10, 0)
        assert await fs.seek(writer, 0, os.SEEK_HOLE) == (await fs.getattr(target)).size_bytes == 10
        with pytest.raises(FsError) as caught:
            await fs.fallocate(reader, 0, 10, 0)
        assert caught.value.errno == errno.EBADF
        await fs.release(reader)
        await fs.release(writer)
        assert await mounted.read(target) == b"\0\0\0end\0\0\0\0"

    run(tmp_path, test)
