"""Records: what goes in comes out, and what cannot be understood is damage."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tierfs.errors import FsError, IndexDamageError
from tierfs.index import codec
from tierfs.model import Base, HotRecord, Inode, InodeFlag, Intent, IntentKind, Residency, Spill

U16, U32, U63 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
HEX32 = st.binary(min_size=16, max_size=16).map(bytes.hex)
ETAGS = st.one_of(
    HEX32,
    st.builds("{}-{}".format, HEX32, st.one_of(st.integers(0, 100_000), st.sampled_from(["", "01", "x", "-1", "9-9"]))),
    HEX32.map(str.upper),
    st.text("0123456789abcdefABCDEF- ", max_size=40),
    TEXT,
)
CONTENTS = st.one_of(st.binary(min_size=8, max_size=8).map(lambda raw: f"crc64nvme:{raw.hex()}"), TEXT)
CLASSES = st.one_of(st.sampled_from(["STANDARD", "GLACIER", "", "EXPRESS_ONEZONE"]), TEXT)
BASES = st.builds(Base, ETAGS, U63, TIMES, TEXT, CLASSES, CONTENTS)
INODES = st.builds(
    Inode,
    ino=U63, mode=U16, uid=U32, gid=U32, size_bytes=U63, nlink=U32,
    atime_ns=TIMES, mtime_ns=TIMES, ctime_ns=TIMES, btime_ns=TIMES,
    parent=U63, name=st.binary(max_size=255), rdev=U63, flags=st.integers(0, 2 * max(InodeFlag) - 1).map(InodeFlag),
    base=st.none() | BASES, target=st.binary(max_size=4080), listed_ns=TIMES, write_seq=U63,
)  # fmt: skip
INTENTS = st.builds(
    Intent, U63, st.sampled_from(IntentKind), U63, TEXT, TEXT, TIMES, TIMES, U32, TEXT, TEXT, U16, U32, U63, U63
)
HOTS = st.builds(
    HotRecord,
    st.sampled_from(Residency),
    U63,
    st.booleans(),
    st.booleans(),
    U63,
    U63,
    st.booleans(),
    U63,
    U63,
    st.booleans(),
)
SPILLS = st.builds(Spill, U63, U63, TEXT, TEXT)

LISTED = Inode(
    ino=7, mode=0o100644, uid=1000, gid=1000, size_bytes=9, nlink=1, atime_ns=1, mtime_ns=2, ctime_ns=3, btime_ns=4,
    parent=1, name=b"x" * 20, base=Base("d41d8cd98f00b204e9800998ecf8427e", 9, 5),
)  # fmt: skip


@given(INODES)
def test_an_inode_comes_back(inode: Inode) -> None:
    assert codec.decode_inode(inode.ino, codec.encode_inode(inode)) == inode


@given(BASES)
def test_an_object_version_comes_back(base: Base) -> None:
    assert codec.decode_base(codec.encode_base(base)) == base


@given(INTENTS)
def test_an_intent_comes_back(intent: Intent) -> None:
    assert codec.decode_intent(intent.seq, codec.encode_intent(intent)) == intent


@given(HOTS, SPILLS, U63)
def test_the_small_records_come_back(hot: HotRecord, spill: Spill, number: int) -> None:
    assert codec.decode_hot(codec.encode_hot(hot)) == hot
    assert codec.decode_spill(spill.start, codec.encode_spill(spill)) == spill
    assert codec.decode_number(codec.encode_number(number)) == number
    assert codec.decode_dirent(codec.encode_dirent(number, 0o100000)) == (number, 0o100000)


def test_a_hot_record_from_before_there_were_ranks_is_read() -> None:
    old = bytes([1]) + codec.encode_hot(HotRecord(Residency.FULL, 1, True, False, 4096, 77))[1:-16]
    assert codec.decode_hot(old) == HotRecord(Residency.FULL, 1, True, False, 4096, 77)


def test_a_listed_object_is_small() -> None:
    assert len(codec.encode_inode(LISTED)) <= 122
    with_parts = evolve(LISTED, base=Base("d41d8cd98f00b204e9800998ecf8427e-12", 9, 5))
    assert len(codec.encode_inode(with_parts)) == len(codec.encode_inode(LISTED)) + 2


@pytest.mark.parametrize("ino", [7])
def test_every_cut_of_an_inode_is_damage(ino: int) -> None:
    full = evolve(
        LISTED, rdev=5, target=b"there", listed_ns=8, write_seq=9, base=Base("odd", 1, 2, "v", "NEW", "md5:x")
    )
    record = codec.encode_inode(full)
    for length in range(len(record)):
        with pytest.raises(IndexDamageError):
            codec.decode_inode(ino, record[:length])
    with pytest.raises(IndexDamageError):
        codec.decode_inode(ino, record + b"\0")


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 2), (0, 0), (1, 0x20), (2, 1), (4, 1)],
    ids=["newer version", "version 0", "unknown part", "unknown high part", "unknown flag"],
)
def test_what_an_inode_cannot_say_is_damage(at: int, value: int) -> None:
    record = bytearray(codec.encode_inode(LISTED))
    record[at] = value
    with pytest.raises(IndexDamageError):
        codec.decode_inode(7, bytes(record))


@pytest.mark.parametrize(
    ("decode", "record", "at", "value"),
    [
        (codec.decode_base, codec.encode_base(Base("e", 1, 2)), 0, 9),
        (codec.decode_base, codec.encode_base(Base("e", 1, 2)), 1, 0x84),
        (codec.decode_base, codec.encode_base(Base("e", 1, 2)), 2, 99),
        (codec.decode_base, codec.encode_base(Base("e", 1, 2)), 19, 200),
        (codec.decode_base, codec.encode_base(Base("e", 1, 2)), 21, 0xFF),
        (codec.decode_dirent, codec.encode_dirent(1, 2), 0, 9),
        (codec.decode_hot, codec.encode_hot(HotRecord(Residency.FULL, 1, True, True, 1, 1)), 1, 3),
        (codec.decode_hot, codec.encode_hot(HotRecord(Residency.FULL, 1, True, True, 1, 1)), 2, 16),
        (lambda raw: codec.decode_spill(0, raw), codec.encode_spill(Spill(0, 1, "k", "e")), 9, 200),
        (lambda raw: codec.decode_spill(0, raw), codec.encode_spill(Spill(0, 1, "k", "e")), 11, 0xFF),
        (
            lambda raw: codec.decode_intent(1, raw),
            codec.encode_intent(Intent(1, IntentKind.DELETE, 0, "k", "e", 0, 0)),
            1,
            4,
        ),
    ],
)
def test_what_no_record_can_say_is_damage(decode: Callable[[bytes], Any], record: bytes, at: int, value: int) -> None:
    decode(record)
    spoiled = bytearray(record)
    spoiled[at] = value
    with pytest.raises(IndexDamageError):
        decode(bytes(spoiled))


def test_cut_small_records_are_damage() -> None:
    records: list[tuple[Callable[[bytes], Any], bytes]] = [
        (codec.decode_base, codec.encode_base(Base("e", 1, 2, "v"))),
        (codec.decode_dirent, codec.encode_dirent(1, 2)),
        (codec.decode_hot, codec.encode_hot(HotRecord(Residency.FULL, 1, True, True, 1, 1))),
        (lambda raw: codec.decode_intent(1, raw), codec.encode_intent(Intent(1, IntentKind.DELETE, 0, "k", "e", 0, 0))),
        (codec.decode_number, codec.encode_number(1)),
    ]
    for decode, record in records:
        for length in range(len(record)):
            with pytest.raises(IndexDamageError):
                decode(record[:length])


@pytest.mark.parametrize(
    "inode",
    [
        evolve(LISTED, mtime_ns=2**63),
        evolve(LISTED, uid=-1),
        evolve(LISTED, name=b"x" * 256),
        evolve(LISTED, base=Base("e" * 70_000, 1, 1)),
    ],
)
def test_a_number_out_of_range_is_an_error_of_the_caller(inode: Inode) -> None:
    with pytest.raises(FsError) as caught:
        codec.encode_inode(inode)
    assert caught.value.errno == errno.EOVERFLOW


def test_a_long_error_text_is_cut() -> None:
    intent = Intent(1, IntentKind.RECONCILE, 2, "", "", 0, 0, last_error="x" * 100_000)
    assert codec.decode_intent(1, codec.encode_intent(intent)).last_error == "x" * 1000


def test_an_intent_is_postponed_in_place() -> None:
    intent = Intent(7, IntentKind.RECONCILE, 5, "a/b", "etag", 1, 2, last_error="why", op_id="1-2-3", node=4, epoch=9)
    assert codec.decode_intent(7, codec.postpone_intent(codec.encode_intent(intent), 50)) == evolve(
        intent, not_before_ns=50
    )


def test_postponing_never_ends_a_backoff_early() -> None:
    intent = Intent(7, IntentKind.RECONCILE, 5, "", "", 1, 100, attempts=1)
    assert codec.decode_intent(7, codec.postpone_intent(codec.encode_intent(intent), 50)) == intent
    assert codec.decode_intent(7, codec.postpone_intent(codec.encode_intent(intent), 150)).not_before_ns == 150


@pytest.mark.parametrize("record", [b"", b"\x02" + bytes(100), b"\x01" + bytes(10)])
def test_a_damaged_intent_is_not_postponed(record: bytes) -> None:
    with pytest.raises(IndexDamageError):
        codec.postpone_intent(record, 1)
