"""Rows of INTENTS, INTENT_OF and TOMBSTONES: what the bucket still has to see, in the order in which it was decided."""

from collections.abc import Callable
from typing import Final, TypeAlias

from tierfs.errors import IndexDamageError
from tierfs.index import inodes
from tierfs.index.codec import decode_intent, decode_number, encode_intent, encode_number, postpone_intent
from tierfs.index.schema import KEY_STOP, Reader, Table, hash_key, pack_id, unpack_id
from tierfs.index.txn import Txn
from tierfs.model import Inode, InodeFlag, Intent, IntentKind, revise
from tierfs.units import NS_PER_S

_EXPORTED: Final = ~InodeFlag.LOCAL
QuietTime: TypeAlias = Callable[[Reader, Inode], float]
"""How long a changed inode rests before it is exported, in seconds."""


def put(txn: Txn, intent: Intent) -> None:
    """Adds or replaces by `seq`.

    An inode has at most one RECONCILE intent, a key at most one DELETE intent: another one that the
    inode or key has goes away, the new one stands for both.
    """
    if intent.kind is IntentKind.RECONCILE:
        _point(txn, Table.INTENT_OF, pack_id(intent.ino), intent.seq)
    elif intent.kind is IntentKind.DELETE:
        _point(txn, Table.TOMBSTONES, hash_key(intent.key), intent.seq)
    txn.put(Table.INTENTS, pack_id(intent.seq), encode_intent(intent))


def _point(txn: Txn, table: Table, key: bytes, seq: int) -> None:
    old = txn.get(table, key)
    if old is not None:
        old_seq = decode_number(old)
        if old_seq == seq:
            return
        txn.delete(Table.INTENTS, pack_id(old_seq))
    txn.put(table, key, encode_number(seq))


def add_tombstone(txn: Txn, key: str, etag: str, now_ns: int, *, op_id: str = "") -> None:
    """The object at `key` is to be deleted; see `put`. `etag`, `op_id`: see Intent."""
    index = txn.index
    put(
        txn,
        Intent(
            seq=index.next_seq(), kind=IntentKind.DELETE, ino=0, key=key, etag=etag, created_ns=now_ns,
            not_before_ns=now_ns, op_id=op_id, node=index.node, epoch=index.epoch,
        ),
    )  # fmt: skip


def get(reader: Reader, seq: int) -> Intent | None:
    """Raises IndexDamageError."""
    record = reader.get(Table.INTENTS, pack_id(seq))
    return None if record is None else decode_intent(seq, record)


def delete(txn: Txn, seq: int) -> None:
    """It is done, or void; no error where there is none."""
    intent = get(txn, seq)
    if intent is None:
        return
    if intent.kind is IntentKind.RECONCILE:
        txn.delete(Table.INTENT_OF, pack_id(intent.ino))
    elif intent.kind is IntentKind.DELETE:
        txn.delete(Table.TOMBSTONES, hash_key(intent.key))
    txn.delete(Table.INTENTS, pack_id(seq))


def of_inode(reader: Reader, ino: int) -> Intent | None:
    """The RECONCILE intent of the inode."""
    return _follow(reader, reader.get(Table.INTENT_OF, pack_id(ino)))


def tombstone(reader: Reader, key: str) -> Intent | None:
    """The DELETE intent of the object key."""
    intent = _follow(reader, reader.get(Table.TOMBSTONES, hash_key(key)))
    return intent if intent is not None and intent.key == key else None


def _follow(reader: Reader, pointer: bytes | None) -> Intent | None:
    if pointer is None:
        return None
    seq = decode_number(pointer)
    intent = get(reader, seq)
    if intent is None:
        raise IndexDamageError(f"intent {seq} is pointed at and is not there")
    return intent


def page(reader: Reader, after_seq: int, limit: int) -> list[Intent]:
    """The next `limit` intents above `after_seq`, oldest first."""
    rows = reader.scan(Table.INTENTS, pack_id(after_seq + 1), KEY_STOP, limit=limit)
    return [decode_intent(unpack_id(key), record) for key, record in rows]


def count(reader: Reader) -> int:
    """All kinds, in constant time; a Txn's own changes are not counted."""
    return reader.count(Table.INTENTS)


def mark_dirty(
    txn: Txn, inode: Inode, flags: InodeFlag, *, now_ns: int, quiet_s: float, token: int = 0, job: int = 0
) -> Inode:
    """The inode differs from its object: sets `flags`, raises write_seq, and has a RECONCILE intent from now on.

    An intent that is there keeps its place in the order and its age (max_dirty_age counts from
    `created_ns`); only `not_before_ns` moves to now + quiet_s, and never forward out of a backoff.
    `token` and `job` are the transaction's where they are 0. Puts the inode and returns it as put.
    """
    changed = revise(inode, flags=inode.flags & _EXPORTED | flags, write_seq=inode.write_seq + 1)
    inodes.put(txn, changed)
    not_before_ns = now_ns + int(quiet_s * NS_PER_S)
    ino_key = pack_id(inode.ino)
    pointer = txn.get(Table.INTENT_OF, ino_key)
    if pointer is None:
        index = txn.index
        intent = Intent(
            index.next_seq(),
            IntentKind.RECONCILE,
            inode.ino,
            key="",
            etag="",
            created_ns=now_ns,
            not_before_ns=not_before_ns,
            node=index.node,
            epoch=index.epoch,
            token=token or txn.token,
            job=job or txn.job,
        )
        txn.put(Table.INTENT_OF, ino_key, encode_number(intent.seq))
        txn.put(Table.INTENTS, pack_id(intent.seq), encode_intent(intent))
    else:
        seq_key = pack_id(decode_number(pointer))
        record = txn.get(Table.INTENTS, seq_key)
        if record is None:
            raise IndexDamageError(f"the intent of inode {inode.ino} is pointed at and is not there")
        txn.put(Table.INTENTS, seq_key, postpone_intent(record, not_before_ns))
    return changed
