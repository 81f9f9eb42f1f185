"""Intents: one a change of an inode, one a key to delete, older first."""

import pytest
from attrs import evolve

from tierfs.errors import IndexDamageError
from tierfs.index import inodes, intents
from tierfs.index.check import check
from tierfs.index.env import Index, Table
from tierfs.index.schema import pack_id
from tierfs.model import Inode, InodeFlag, Intent, IntentKind
from tierfs.units import NS_PER_S

INODE = Inode(7, 0o100644, 1, 2, 3, 1, 4, 5, 6, 7, 1, b"n", rdev=8, target=b"t", listed_ns=9, write_seq=41)
DELETE = Intent(5, IntentKind.DELETE, 0, "a/b", "e1", created_ns=1, not_before_ns=2)


def test_the_first_change_makes_an_intent(index: Index) -> None:
    with index.transaction(token=3) as txn:
        marked = intents.mark_dirty(txn, INODE, InodeFlag.DATA_DIRTY, now_ns=10, quiet_s=2.5, token=3, job=4)
        assert intents.of_inode(txn, 7) is not None
    assert marked == evolve(INODE, flags=InodeFlag.DATA_DIRTY, write_seq=42)
    assert inodes.get(index, 7) == marked
    intent = intents.of_inode(index, 7)
    assert intent is not None
    assert (intent.kind, intent.created_ns, intent.not_before_ns) == (IntentKind.RECONCILE, 10, 10 + 5 * NS_PER_S // 2)
    assert (intent.node, intent.epoch, intent.token, intent.job) == (index.node, index.epoch, 3, 4)
    assert intents.count(index) == 1


def test_token_and_job_come_from_the_transaction(index: Index) -> None:
    with index.transaction(token=3, job=4) as txn:
        intents.mark_dirty(txn, INODE, InodeFlag.DATA_DIRTY, now_ns=10, quiet_s=1)
    intent = intents.of_inode(index, 7)
    assert intent is not None
    assert (intent.token, intent.job) == (3, 4)


def test_a_later_change_keeps_its_place_and_age(index: Index) -> None:
    with index.transaction() as txn:
        inode = intents.mark_dirty(txn, INODE, InodeFlag.DATA_DIRTY, now_ns=10, quiet_s=1)
        first = intents.of_inode(txn, 7)
        inode = intents.mark_dirty(txn, inode, InodeFlag.META_DIRTY, now_ns=30, quiet_s=1)
    assert first is not None
    assert inode.flags == InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY
    assert inode.write_seq == 43
    assert intents.of_inode(index, 7) == evolve(first, not_before_ns=30 + NS_PER_S)


def test_a_change_does_not_cut_a_backoff_short(index: Index) -> None:
    with index.transaction() as txn:
        inode = intents.mark_dirty(txn, INODE, InodeFlag.DATA_DIRTY, now_ns=10, quiet_s=1)
        intent = intents.of_inode(txn, 7)
        assert intent is not None
        waiting = evolve(intent, attempts=3, not_before_ns=60 * NS_PER_S, last_error="away", op_id="1-2-3", key="k")
        intents.put(txn, waiting)
        intents.mark_dirty(txn, inode, InodeFlag.DATA_DIRTY, now_ns=20, quiet_s=1)
    assert intents.of_inode(index, 7) == waiting


def test_order_and_pages(index: Index) -> None:
    with index.transaction() as txn:
        for ino in (9, 3, 6):
            intents.mark_dirty(txn, evolve(INODE, ino=ino), InodeFlag.DATA_DIRTY, now_ns=1, quiet_s=1)
    first = intents.page(index, 0, 2)
    assert [intent.ino for intent in first] == [9, 3]
    assert [intent.ino for intent in intents.page(index, first[-1].seq, 2)] == [6]


def test_tombstones(index: Index) -> None:
    with index.transaction() as txn:
        intents.put(txn, DELETE)
        intents.put(txn, evolve(DELETE, seq=6, key="a/c"))
    assert intents.tombstone(index, "a/b") == DELETE
    assert intents.tombstone(index, "a/d") is None
    with index.transaction() as txn:
        intents.delete(txn, 5)
        assert intents.tombstone(txn, "a/b") is None
        intents.delete(txn, 5)
    assert [intent.key for intent in intents.page(index, 0, 9)] == ["a/c"]


def test_a_second_intent_for_the_same_thing_replaces_the_first(index: Index) -> None:
    with index.transaction() as txn:
        intents.put(txn, DELETE)
        intents.put(txn, evolve(DELETE, seq=9, etag="e2"))
        intents.put(txn, Intent(10, IntentKind.RECONCILE, 7, "", "", 0, 0))
        intents.put(txn, Intent(11, IntentKind.RECONCILE, 7, "", "", 0, 0))
        intents.put(txn, Intent(12, IntentKind.MOVE_TREE, 7, "d/", "", 0, 0))
        inodes.put(txn, evolve(INODE, parent=1))
    assert [intent.seq for intent in intents.page(index, 0, 9)] == [9, 11, 12]
    assert [finding for finding in check(index) if finding.ino == 0] == []


def test_replacing_an_intent_keeps_its_pointer(index: Index) -> None:
    with index.transaction() as txn:
        intents.put(txn, DELETE)
        intents.put(txn, evolve(DELETE, attempts=1))
    found = intents.tombstone(index, "a/b")
    assert found is not None
    assert found.attempts == 1


def test_a_pointer_into_nothing_is_damage(index: Index) -> None:
    with index.transaction() as txn:
        intents.put(txn, DELETE)
        txn.delete(Table.INTENTS, pack_id(5))
    with pytest.raises(IndexDamageError):
        intents.tombstone(index, "a/b")
