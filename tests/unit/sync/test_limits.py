"""What is as long, as large or as many as it may be reaches the bucket and comes back; one more is refused."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.memstore import MemoryStore
from tests.support.sync_rig import Rig, run_rig
from tierfs.errors import FsError
from tierfs.model import KEY_MAX_BYTES, NAME_MAX_BYTES, SYMLINK_MAX_BYTES
from tierfs.namespace.verbs import Caller
from tierfs.sync.bodies import PART_MIN_BYTES, PARTS_MAX, cut_pieces, part_bytes
from tierfs.units import GIB, MIB, TIB

CALLER = Caller(1000, 1000)
LONG = (pytest.mark.long, pytest.mark.timeout(3600))


def test_the_longest_names_paths_targets_and_attributes(tmp_path: Path) -> None:
    name = b"n" * NAME_MAX_BYTES
    deep = [b"d" * 250] * 4  # with their slashes 1,004 bytes of key
    last = b"f" * (KEY_MAX_BYTES - 1004)
    target, value = b"t" * SYMLINK_MAX_BYTES, os.urandom(65_536)

    async def make(rig: Rig) -> None:
        fs = rig.file_system()
        root = rig.at("").ino
        made, handle = await fs.create(root, name, 0o644, CALLER)
        await fs.write(handle, 0, b"longest name")
        await fs.release(handle)
        await fs.setxattr(made.ino, b"user." + b"x" * 250, value)
        with pytest.raises(FsError, check=lambda error: error.errno == errno.ENAMETOOLONG):
            await fs.create(root, name + b"n", 0o644, CALLER)
        await fs.symlink(root, b"link", target, CALLER)
        with pytest.raises(FsError, check=lambda error: error.errno == errno.ENAMETOOLONG):
            await fs.symlink(root, b"longer", target + b"t", CALLER)
        directory = root
        for part in deep:
            directory = (await fs.mkdir(directory, part, 0o755, CALLER)).ino
        with pytest.raises(FsError, check=lambda error: error.errno == errno.ENAMETOOLONG):
            await fs.create(directory, last + b"f", 0o644, CALLER)
        await fs.release((await fs.create(directory, last, 0o644, CALLER))[1])
        await rig.sync()
        assert max(len(key) for key in rig.keys) == KEY_MAX_BYTES

    async def find(rig: Rig) -> None:
        fs = rig.file_system()
        root = rig.at("").ino
        found = await fs.lookup(root, name)
        assert await rig.read(name.decode()) == b"longest name"
        assert await fs.getxattr(found.ino, b"user." + b"x" * 250) == value
        assert (await fs.lookup(root, b"link")).target == target
        directory = root
        for part in deep:
            directory = (await fs.lookup(directory, part)).ino
        assert (await fs.lookup(directory, last)).size_bytes == 0

    store = run_rig(tmp_path / "one", make, store=MemoryStore())
    run_rig(tmp_path / "two", find, store=store)


@pytest.mark.parametrize("size_bytes", [5 * TIB, 5 * TIB - 1, 50 * GIB + 1, 48_828 * MIB])
@pytest.mark.parametrize("preferred_bytes", [5 * MIB, 16 * MIB, 64 * MIB])
def test_the_largest_object_is_cut_into_parts_that_s3_takes(size_bytes: int, preferred_bytes: int) -> None:
    """By arithmetic: nobody waits for 5 TiB."""
    pieces = cut_pieces([], size_bytes, preferred_bytes)
    assert len(pieces) <= PARTS_MAX
    assert (pieces[0].start, pieces[-1].stop) == (0, size_bytes)
    sizes = {piece.stop - piece.start for piece in pieces[:-1]}
    assert sizes == {part_bytes(size_bytes, preferred_bytes)} and min(sizes) >= PART_MIN_BYTES
    assert max(sizes) <= 5 * GIB


def test_a_sparse_file_of_5_tib_takes_no_room_and_has_its_size_everywhere(tmp_path: Path) -> None:
    async def main(rig: Rig) -> None:
        ino = await rig.write("file", b"head")
        await rig.files.set_size(ino, 5 * TIB)
        stat = rig.hot.stat(ino)
        assert stat is not None and (stat.size_bytes, stat.allocated_bytes < MIB) == (5 * TIB, True)
        assert rig.at("file").size_bytes == 5 * TIB
        handle = await rig.files.open(ino, write=True, truncate=False)
        await rig.files.write(handle, 5 * TIB - 4, b"tail")
        assert await rig.files.read(handle, 5 * TIB - 8, 100) == b"\0\0\0\0tail"
        await rig.files.release(handle)
        rig.unlink("file")

    run_rig(tmp_path, main)


@pytest.mark.parametrize("count", [3000, pytest.param(1_000_000, marks=LONG)])
def test_many_files_in_one_directory(tmp_path: Path, count: int) -> None:
    async def main(rig: Rig) -> None:
        for number in range(count):
            rig.store.place(f"directory/{number:07}", b"")
        await rig.list()
        await rig.importer.ensure_listed(rig.at("directory").ino)
        fs, seen, cookie = rig.file_system(), 0, 0
        handle = await fs.opendir(rig.at("directory").ino)
        for entry in fs.readdir(handle, cookie):
            if entry.name not in (b".", b".."):
                assert entry.name == b"%07d" % seen
                seen += 1
        assert seen == count
        await fs.releasedir(handle)

    run_rig(tmp_path, main, reads_ahead=False)


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=LONG)])
def test_many_pending_exports_all_arrive(tmp_path: Path, count: int) -> None:
    async def main(rig: Rig) -> None:
        for number in range(count):
            await rig.write(f"{number}", b"%d" % number)
        await rig.sync()
        assert len(rig.keys) == count
        assert rig.store.content(f"{count - 1}") == b"%d" % (count - 1)
        assert not rig.pending()

    run_rig(tmp_path, main)
