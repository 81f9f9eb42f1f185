"""Looking after conflicts: what is there now, how versions differ, and resolving by the verbs that everybody has."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from attrs import frozen

from tests.support.sync_rig import UID, Rig, run_rig
from tierfs.control.comparing import LOOK_MAX_BYTES, TEXT_MAX_BYTES, first_difference
from tierfs.control.conflicts import Conflicts
from tierfs.control.protocol import Json
from tierfs.errors import FsError
from tierfs.index import conflicts as rows
from tierfs.index.conflicts import Conflict
from tierfs.model import ROOT_INO
from tierfs.namespace.changes import RenameMode
from tierfs.policy.resolution import Keep, Kind
from tierfs.sync.standing import LOOK_ROWS, OpenCount


@frozen
class Case:
    """A rig with its conflicts; `make` leaves one of the file `d/f`."""

    rig: Rig
    conflicts: Conflicts

    async def make(self, mine: bytes = b"mine", theirs: bytes = b"theirs") -> str:
        """Returns the path of the copy."""
        self.rig.mkdir("d")
        await self.rig.write("d/f", b"base")
        await self.rig.sync()
        await self.rig.write("d/f", mine)
        self.rig.put_remote("d/f", theirs)
        await self.rig.sync()
        (copy,) = [name for name in await self.rig.list("d") if ".conflict-" in name]
        return f"d/{copy}"

    def listed(self, path: bytes = b"", uid: int | None = None) -> list[Json]:
        page = self.conflicts.page(after=0, path=path, uid=uid)
        assert page["next"] is None
        found: list[Json] = page["conflicts"]
        return found

    def count(self) -> int:
        return OpenCount(self.rig.index).now()

    async def differs(self) -> Json:
        content: Json = (await self.conflicts.diff(1))["content"]
        return content


def run(tmp_path: Path, test: Callable[[Case], Awaitable[None]], *, read_only: bool = False) -> None:
    async def main(rig: Rig) -> None:
        fs = rig.file_system(read_only=read_only)
        await test(Case(rig, Conflicts(index=rig.index, fs=fs, notify=rig.told)))

    run_rig(tmp_path, main)


async def _refused(work: Awaitable[object]) -> int | None:
    with pytest.raises(FsError) as caught:
        await work
    return caught.value.errno


def test_a_conflict_is_listed_with_both_versions(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make()
        (found,) = case.listed()
        assert found.pop("time_ns") > 0
        assert found == {
            "id": 1,
            "kind": "both-changed",
            "path": "d/f",
            "winner": "d/f",
            "loser": copy,
            "bucket": "d/f",
            "local": copy,
            "state": "open",
        }
        assert case.count() == 1

    run(tmp_path, test)


def test_only_what_is_below_a_path_and_belongs_to_somebody(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make()
        assert len(case.listed(b"d")) == len(case.listed(b"d/f")) == len(case.listed(copy.encode())) == 1
        assert case.listed(b"d/ff") == case.listed(b"e") == []
        assert len(case.listed(uid=UID)) == 1
        assert case.listed(uid=UID + 1) == []
        assert case.conflicts.owners(1) == {UID}

    run(tmp_path, test)


def test_many_come_in_pages(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        with case.rig.index.transaction() as txn:
            for number in range(120):
                rows.add(txn, Conflict(number, Kind.BOTH_CHANGED, f"/{number}", f"/{number}", f"/{number}.c", ROOT_INO))
        numbers: list[int] = []
        after: int | None = 0
        while after is not None:
            page = case.conflicts.page(after=after, path=b"", uid=None)
            numbers += [found["id"] for found in page["conflicts"]]
            after = page["next"]
        assert numbers == list(range(1, 121))
        assert case.count() == 0  # none of their copies is there

    run(tmp_path, test)


def test_more_conflicts_than_one_look_takes_are_counted_over_several(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        index, counted = case.rig.index, OpenCount(case.rig.index)
        await case.make()
        with index.transaction() as txn:
            for number in range(2 * LOOK_ROWS):
                rows.add(txn, Conflict(number, Kind.BOTH_CHANGED, f"/{number}", f"/{number}", f"/{number}.c", ROOT_INO))
        assert [counted.now() for _ in range(4)] == [LOOK_ROWS + 2, 2, 1, 1]
        with index.transaction() as txn:
            for number in range(2, 2 + LOOK_ROWS):
                rows.delete(txn, number)
        assert [counted.now() for _ in range(6)][-1] == 1

    run(tmp_path, test)


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        rig = case.rig
        fs = rig.file_system()
        ino = await rig.write("plain", b"base")
        await rig.sync()
        rig.tree.rename(ROOT_INO, b"plain", ROOT_INO, b"\xff", RenameMode.REPLACE)
        await rig.sync()
        handle = await fs.open(ino, os.O_WRONLY)
        await fs.write(handle, 0, b"mine")
        await fs.release(handle)
        rig.put_remote("%FF", b"theirs")
        await rig.sync()
        (found,) = case.listed()
        assert found["winner"] == "\udcff" and found["state"] == "open"
        await case.conflicts.resolve(1, Keep.BUCKET, dry_run=False)
        await rig.sync()
        assert rig.keys == ["%FF"]

    run(tmp_path, test)


@pytest.mark.parametrize(("keep", "expected"), [(Keep.BUCKET, b"theirs"), (Keep.LOCAL, b"mine")])
def test_keeping_one_version_leaves_it_under_the_name_and_the_bucket_follows(
    tmp_path: Path, keep: Keep, expected: bytes
) -> None:
    async def test(case: Case) -> None:
        rig = case.rig
        copy = await case.make()
        before = rig.names("d")
        said = await case.conflicts.resolve(1, keep, dry_run=True)
        assert (said["dry_run"], rig.names("d"), len(case.listed())) == (True, before, 1)
        done = await case.conflicts.resolve(1, keep, dry_run=False)
        assert done == {**said, "dry_run": False}
        assert done["action"]["path"] == copy
        await rig.sync()
        assert rig.keys == ["d/", "d/f"]
        assert rig.store.content("d/f") == expected
        assert await rig.read("d/f") == expected
        assert case.listed() == [] and case.count() == 0
        assert (rig.at("d").ino, Path(copy).name.encode()) in rig.told.entries
        assert await _refused(case.conflicts.resolve(1, keep, dry_run=False)) == errno.ENOENT

    run(tmp_path, test)


def test_keeping_both_leaves_both(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make()
        assert (await case.conflicts.resolve(1, Keep.BOTH, dry_run=False))["action"] is None
        await case.rig.sync()
        assert case.rig.keys == ["d/", "d/f", copy]
        assert case.listed() == []

    run(tmp_path, test)


@pytest.mark.parametrize("by_rename", [False, True])
def test_who_removes_or_renames_the_copy_has_resolved_the_conflict(tmp_path: Path, by_rename: bool) -> None:
    async def test(case: Case) -> None:
        copy = await case.make()
        if by_rename:
            case.rig.rename(copy, "d/mine")
        else:
            case.rig.unlink(copy)
        assert case.count() == 0
        assert [found["state"] for found in case.listed()] == ["gone"]
        assert (await case.conflicts.diff(1))["local"] is None
        assert await _refused(case.conflicts.resolve(1, Keep.LOCAL, dry_run=False)) == errno.ENOENT
        await case.conflicts.resolve(1, Keep.BUCKET, dry_run=False)
        assert case.listed() == []
        assert await case.rig.read("d/f") == b"theirs"

    run(tmp_path, test)


def test_the_only_version_left_is_not_removed(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make()
        case.rig.unlink("d/f")
        assert case.count() == 1
        assert await _refused(case.conflicts.resolve(1, Keep.BUCKET, dry_run=False)) == errno.ENOENT
        assert case.rig.find(copy) is not None
        await case.conflicts.resolve(1, Keep.LOCAL, dry_run=False)
        await case.rig.sync()
        assert case.rig.store.content("d/f") == b"mine"

    run(tmp_path, test)


def test_a_directory_above_may_be_renamed(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make()
        case.rig.rename("d", "e")
        (found,) = case.listed()
        assert (found["winner"], found["loser"], found["state"]) == ("e/f", copy.replace("d/", "e/", 1), "open")
        await case.conflicts.resolve(1, Keep.LOCAL, dry_run=False)
        assert await case.rig.read("e/f") == b"mine"

    run(tmp_path, test)


@pytest.mark.parametrize("keep", [Keep.BUCKET, Keep.LOCAL])
def test_deleted_here_and_changed_there(tmp_path: Path, keep: Keep) -> None:
    async def test(case: Case) -> None:
        rig = case.rig
        await rig.write("f", b"base")
        await rig.sync()
        await rig.list()
        rig.unlink("f")
        rig.put_remote("f", b"theirs")
        await rig.sync()
        (found,) = case.listed()
        assert (found["winner"], found["loser"], found["state"]) == ("f", None, "open")
        answer = await case.conflicts.diff(1)
        assert answer["bucket"]["size_bytes"] == 6 and answer["local"] is None and answer["content"] is None
        await case.conflicts.resolve(1, keep, dry_run=False)
        await rig.sync()
        assert rig.keys == (["f"] if keep is Keep.BUCKET else [])
        assert case.listed() == []

    run(tmp_path, test)


def test_what_changes_in_the_bucket_meanwhile_is_another_conflict(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        rig = case.rig
        await case.make()
        await case.conflicts.resolve(1, Keep.LOCAL, dry_run=False)
        rig.put_remote("d/f", b"theirs, later")
        await rig.sync()
        (found,) = case.listed()
        assert (found["id"], found["state"]) == (2, "open")
        assert (await rig.read("d/f"), await rig.read(found["loser"])) == (b"theirs, later", b"mine")

    run(tmp_path, test)


def test_a_read_only_mount_resolves_nothing(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        await case.make()
        assert await _refused(case.conflicts.resolve(1, Keep.BUCKET, dry_run=False)) == errno.EROFS
        assert len(case.listed()) == 1

    run(tmp_path, test, read_only=True)


def test_the_facts_of_both_versions(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make(b"mine", b"theirs")
        answer = await case.conflicts.diff(1)
        for side, path in (("bucket", "d/f"), ("local", copy)):
            info = await case.rig.store.head(path)
            assert (answer[side]["etag"], answer[side]["size_bytes"]) == (info.etag, info.size_bytes)
            assert answer[side]["type"] == "file"
        assert answer["local"]["checksum"] == answer["content"]["checksums"][1]
        await case.rig.write(copy, b"edited")
        assert (await case.conflicts.diff(1))["local"]["etag"] is None  # not in the bucket as it is

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("mine", "theirs", "kind", "differs_at"),
    [
        (b"one\ntwo\n", b"one\nTwo\n", "text", 4),
        (b"same", b"same, and more", "text", 4),
        (b"", b"something", "text", 0),
        (b"\0\1", b"\0\2", "binary", 1),
        (b"\xff", b"text", "binary", 0),
        (b"a" * TEXT_MAX_BYTES, b"a" * TEXT_MAX_BYTES + b"b", "long", TEXT_MAX_BYTES),
        (b"a" * (3 << 20), b"a" * (2 << 20) + b"b" * (1 << 20), "long", 2 << 20),
    ],
)
def test_where_the_bytes_differ(tmp_path: Path, mine: bytes, theirs: bytes, kind: str, differs_at: int) -> None:
    async def test(case: Case) -> None:
        await case.make(mine, theirs)
        content = await case.differs()
        assert (content["kind"], content["differs_at"]) == (kind, differs_at)
        assert content["texts"] == ([theirs.decode(), mine.decode()] if kind == "text" else None)

    run(tmp_path, test)


def test_the_same_bytes_and_other_types_differ_in_nothing_that_can_be_shown(tmp_path: Path) -> None:
    async def test(case: Case) -> None:
        copy = await case.make(b"mine", b"theirs")
        await case.rig.write(copy, b"theirs")
        assert (await case.differs())["differs_at"] is None
        case.rig.unlink(copy)
        case.rig.symlink(copy, b"theirs")
        assert (await case.differs())["kind"] == "type"

    run(tmp_path, test)


def test_a_comparison_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierfs.control.comparing.LOOK_MAX_BYTES", 2 << 20)
    assert LOOK_MAX_BYTES > 2 << 20

    async def test(case: Case) -> None:
        await case.make(b"a" * (3 << 20), b"a" * (3 << 20) + b"b")
        content = await case.differs()
        assert (content["differs_at"], content["looked_at_bytes"]) == (None, 2 << 20)

    run(tmp_path, test)


def test_first_difference() -> None:
    assert first_difference(b"", b"") is None
    assert first_difference(b"abc", b"abd") == 2
    assert first_difference(b"abc", b"ab") == 2
    assert first_difference(b"xbc", b"abc") == 0
