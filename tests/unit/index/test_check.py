"""Every kind of disagreement is found, and a sound index has none."""

import stat
from collections.abc import Callable

import pytest
from attrs import evolve

from tierfs.index import dirents, foreign, inodes, intents, links, locations, orphans, ranks, residency, xattrs
from tierfs.index.check import check, check_again, check_in_steps
from tierfs.index.env import Index, Table, Txn
from tierfs.index.foreign import ForeignMeta
from tierfs.index.repair import repair
from tierfs.index.schema import hash_key, pack_id, pack_pair
from tierfs.model import ROOT_INO, Base, HotRecord, Inode, InodeFlag, Intent, IntentKind, Residency, Spill
from tierfs.policy.fsck import Finding, FindingKind, Repair, repair_of

DIRECTORY, FILE, GONE = 20, 30, 40
HOT = HotRecord(Residency.PARTIAL, 1, True, False, 0, 77)
DIR = Inode(DIRECTORY, stat.S_IFDIR | 0o755, 0, 0, 0, 2, 1, 1, 1, 1, ROOT_INO, b"dir")
REGULAR = Inode(FILE, stat.S_IFREG | 0o644, 0, 0, 0, 2, 1, 1, 1, 1, ROOT_INO, b"file")


@pytest.fixture
def sound(index: Index) -> Index:
    """A directory, a file with two names and everything that a row can say of it, and an unlinked file."""
    with index.transaction() as txn:
        inodes.put(txn, evolve(DIR, ino=ROOT_INO, name=b"", nlink=3))
        inodes.put(txn, DIR)
        dirents.put(txn, ROOT_INO, b"dir", DIRECTORY, stat.S_IFDIR)
        intents.mark_dirty(txn, REGULAR, InodeFlag.DATA_DIRTY, now_ns=1, quiet_s=1)
        dirents.put(txn, ROOT_INO, b"file", FILE, stat.S_IFREG)
        dirents.put(txn, DIRECTORY, b"second", FILE, 0)
        links.put(txn, FILE, DIRECTORY, b"second", Base("e", 1, 2))
        xattrs.put(txn, FILE, b"user.a", b"1")
        foreign.put(txn, FILE, ForeignMeta(content_type="a/b"))
        residency.hot_put(txn, FILE, HOT)
        residency.extents_add(txn, FILE, 0, 10)
        residency.extents_add(txn, FILE, 20, 30)
        residency.spill_put(txn, FILE, Spill(0, 5, "s", "e"))
        locations.set_location(txn, FILE, "old/file")
        locations.set_override(txn, DIRECTORY, "olddir/")
        intents.put(txn, Intent(900, IntentKind.DELETE, 0, "deleted", "e", 1, 1))
        intents.put(txn, Intent(901, IntentKind.MOVE_TREE, DIRECTORY, "olddir/", "", 1, 1))
        inodes.put(txn, evolve(REGULAR, ino=GONE, nlink=0, parent=0, name=b""))
        orphans.add(txn, GONE)
    assert list(check(index)) == []
    return index


K = FindingKind
SPOIL: list[tuple[str, Callable[[Txn], None], set[FindingKind]]] = [
    ("a name without an inode", lambda t: dirents.put(t, DIRECTORY, b"x", 99, 0), {K.NO_INODE}),
    ("a name without a directory", lambda t: dirents.put(t, 98, b"x", FILE, 0), {K.NO_INODE, K.UNKNOWN_LINK}),
    ("a name in a file", lambda t: dirents.put(t, FILE, b"x", FILE, 0), {K.NOT_A_DIRECTORY, K.UNKNOWN_LINK}),
    ("a name with a slash", lambda t: dirents.put(t, DIRECTORY, b"a/b", FILE, 0), {K.BAD_NAME, K.UNKNOWN_LINK}),
    ("a wrong type", lambda t: dirents.put(t, DIRECTORY, b"second", FILE, stat.S_IFLNK), {K.WRONG_TYPE}),
    ("a lost first name", lambda t: dirents.delete(t, ROOT_INO, b"file"), {K.NO_DIRENT}),
    ("a lost second name", lambda t: dirents.delete(t, DIRECTORY, b"second"), {K.NO_DIRENT}),
    ("a lost link", lambda t: links.delete(t, FILE, DIRECTORY, b"second"), {K.UNKNOWN_LINK, K.WRONG_NLINK}),
    ("a link twice", lambda t: links.put(t, FILE, ROOT_INO, b"file", None), {K.STRAY_POINTER, K.WRONG_NLINK}),
    ("a link of nothing", lambda t: links.put(t, 99, ROOT_INO, b"file", None), {K.NO_INODE, K.NO_DIRENT}),
    ("a wrong count of a file", lambda t: inodes.put(t, evolve(REGULAR, nlink=3)), {K.WRONG_NLINK}),
    ("a wrong count of a directory", lambda t: inodes.put(t, evolve(DIR, nlink=3)), {K.WRONG_NLINK}),
    ("a lost orphan row", lambda t: orphans.remove(t, GONE), {K.NO_ORPHAN_ROW}),
    ("an orphan with a name", lambda t: orphans.add(t, FILE), {K.NOT_ORPHANED}),
    ("an orphan that is not there", lambda t: orphans.add(t, 99), {K.NO_INODE}),
    (
        "a change without an intent",
        lambda t: inodes.put(t, evolve(DIR, flags=InodeFlag.META_DIRTY)),
        {K.NO_INTENT},
    ),
    ("a lost inode", lambda t: inodes.delete(t, FILE), {K.NO_INODE}),
    ("attributes of nothing", lambda t: xattrs.put(t, 99, b"user.a", b""), {K.NO_INODE}),
    ("metadata of nothing", lambda t: foreign.put(t, 99, ForeignMeta()), {K.NO_INODE}),
    ("a lost age", lambda t: t.delete(Table.AGES, pack_pair(77, FILE)), {K.NO_POINTER}),
    ("a stray age", lambda t: t.put(Table.AGES, pack_pair(78, FILE), b""), {K.STRAY_POINTER}),
    ("a lost rank", lambda t: t.delete(Table.RANKS, ranks.key_of(FILE, HOT) or b""), {K.NO_POINTER}),
    ("a stray rank", lambda t: t.put(Table.RANKS, pack_pair(78, FILE), b""), {K.STRAY_POINTER}),
    ("a rank that was", lambda t: t.put(Table.HISTORY, pack_id(1), b"\x09"), {K.UNREADABLE}),
    ("hot bytes of nothing", lambda t: residency.hot_put(t, 99, HOT), {K.NO_INODE}),
    (
        "extents of a full file",
        lambda t: residency.hot_put(t, FILE, evolve(HOT, residency=Residency.FULL)),
        {K.STRAY_EXTENT},
    ),
    ("extents that touch", lambda t: t.put(Table.EXTENTS, pack_pair(FILE, 10), pack_id(12)[::-1]), {K.STRAY_EXTENT}),
    ("an empty extent", lambda t: t.put(Table.EXTENTS, pack_pair(FILE, 40), pack_id(40)[::-1]), {K.STRAY_EXTENT}),
    ("a spill of nothing", lambda t: residency.spill_put(t, 99, Spill(0, 1, "k", "e")), {K.NO_INODE}),
    ("a lost tombstone", lambda t: t.delete(Table.TOMBSTONES, hash_key("deleted")), {K.NO_POINTER}),
    ("a stray tombstone", lambda t: t.put(Table.TOMBSTONES, hash_key("x"), pack_id(0)), {K.STRAY_POINTER}),
    ("a lost pointer", lambda t: t.delete(Table.INTENT_OF, pack_id(FILE)), {K.NO_POINTER, K.NO_INTENT}),
    ("a stray pointer", lambda t: t.put(Table.INTENT_OF, pack_id(DIRECTORY), pack_id(0)), {K.STRAY_POINTER}),
    (
        "an intent for nothing",
        lambda t: intents.put(t, Intent(902, IntentKind.RECONCILE, 99, "", "", 1, 1)),
        {K.NO_INODE},
    ),
    ("a lost way back", lambda t: t.delete(Table.LOCATED, hash_key("old/file")), {K.NO_POINTER}),
    ("a stray way back", lambda t: t.delete(Table.LOCATIONS, pack_id(FILE)), {K.STRAY_POINTER}),
    ("a location of nothing", lambda t: locations.set_location(t, 99, "k"), {K.NO_INODE}),
    ("an override of a file", lambda t: locations.set_override(t, FILE, "p/"), {K.NOT_A_DIRECTORY}),
    ("rubbish", lambda t: t.put(Table.INODES, pack_id(DIRECTORY), b"\x09"), {K.UNREADABLE}),
    ("a conflict of rubbish", lambda t: t.put(Table.CONFLICTS, pack_id(1), b"\x09"), {K.UNREADABLE}),
    ("a task of rubbish", lambda t: t.put(Table.TASKS, pack_id(1), b"\x09"), {K.UNREADABLE}),
    ("a restore of rubbish", lambda t: t.put(Table.RESTORES, pack_id(1), b"\x09"), {K.UNREADABLE}),
    ("a failure of rubbish", lambda t: t.put(Table.TASK_FAILURES, pack_pair(1, 1), b"\x09"), {K.UNREADABLE}),
]


@pytest.mark.parametrize(("spoil", "kinds"), [case[1:] for case in SPOIL], ids=[case[0] for case in SPOIL])
def test_it_is_found(sound: Index, spoil: Callable[[Txn], None], kinds: set[FindingKind]) -> None:
    with sound.transaction() as txn:
        spoil(txn)
    found = list(check(sound))
    assert {finding.kind for finding in found} >= kinds
    if kinds not in ({K.NO_INODE}, {K.UNREADABLE}):
        assert {finding.kind for finding in found} == kinds
    assert all(str(finding) for finding in found)


def mend(index: Index) -> list[Finding]:
    """Repairs until nothing is left that can be; returns the rest."""
    for _ in range(10):
        findings = [(finding, repair_of(finding)) for finding in check(index)]
        if all(how is Repair.NONE for _, how in findings):
            return [finding for finding, _ in findings]
        for finding, how in findings:
            if how is not Repair.NONE:
                repair(index, finding, how)
    raise AssertionError(f"it does not settle: {[str(finding) for finding in check(index)]}")


# nobody can tell what these rows said, and others do not say it
LOST_FOR_GOOD = {"rubbish", "a conflict of rubbish"}


@pytest.mark.parametrize(("name", "spoil"), [case[:2] for case in SPOIL], ids=[case[0] for case in SPOIL])
def test_it_is_repaired(sound: Index, name: str, spoil: Callable[[Txn], None]) -> None:
    with sound.transaction() as txn:
        spoil(txn)
    left = mend(sound)
    assert {finding.kind for finding in left} == ({K.UNREADABLE} if name in LOST_FOR_GOOD else set())


@pytest.mark.parametrize(("name", "spoil"), [case[:2] for case in SPOIL], ids=[case[0] for case in SPOIL])
def test_a_finding_that_is_still_so_is_found_again_and_one_that_is_over_is_not(
    sound: Index, name: str, spoil: Callable[[Txn], None]
) -> None:
    with sound.transaction() as txn:
        spoil(txn)
    findings = list(check(sound))
    assert all(check_again(sound, finding) for finding in findings)
    mend(sound)
    assert {check_again(sound, finding) for finding in findings} == {name in LOST_FOR_GOOD}


def test_steps_are_bounded(index: Index) -> None:
    with index.transaction() as txn:
        inodes.put(txn, evolve(DIR, ino=ROOT_INO, name=b""))
    for half in (range(1250), range(1250, 2500)):  # one transaction has to fit a journal segment
        with index.transaction() as txn:
            for number in half:
                dirents.put(txn, ROOT_INO, b"%d" % number, 100 + number, 0)
    steps = list(check_in_steps(index))
    assert [len(step) for step in steps if step] == [1000, 1000, 500]
