"""Records as bytes: every field described here, none guessed at.

All integers are little-endian. Every record begins with a version byte; a version, enum value or flag
bit that this software does not know is an IndexDamageError, and so is a record of the wrong length.
Integrity of the bytes themselves is the business of the journal's checksum and of the disk.

INODE (version 1): fixed part of 68 bytes, then the optional parts in the order of their presence bits.

    u8   version              u16  presence bits           u16  InodeFlag
    u16  st_mode              u32  uid, gid, nlink         u64  size
    i64  atime, mtime, ctime, btime in ns                  u64  parent ino
    u8   length of the name   name
    presence bit 1  base      BASE as below, without its version byte
    presence bit 2  rdev      u64
    presence bit 4  target    u16 length, bytes
    presence bit 8  listed    i64 ns
    presence bit 16 seq       u64 write_seq

BASE (version 1): one object version; 18 bytes, then the optional parts in the order of their bits.

    u8   presence bits        u8   storage class, index in _CLASSES; 255: spelled out
    u64  size                 i64  LastModified in ns
    bit 1 hex     16 bytes: the ETag is these in lower-case hex (MD5 of a simple object)
    bit 2 parts   u16: "-<number>" follows the hex (multipart); only with bit 1
    bit 4 etag    u16 length, UTF-8: any other ETag; never with bit 1
    bit 8 version u16 length, UTF-8: version id
    bit 16 class  u8 length, UTF-8: a storage class that is not in the table
    bit 32 crc64  8 bytes: content is "crc64nvme:" and these in lower-case hex
    bit 64 content u16 length, UTF-8: any other content checksum; never with bit 32

DIRENT: u8 version, u64 ino, u16 file type (S_IFMT bits of st_mode; 0 while unknown).
HOT (version 2): u8 version, u8 residency, u8 bits (1 synced, 2 writing, 4 pinned, 8 on probation), u64 boot id,
    u64 bytes charged, u64 last use in s, u64 rank, u64 clock of the last use that counted, both in bytes. Version 1
    ends before the rank: it is settled, and worth nothing.
RANK (value of HISTORY): u8 version, u64 ino, u64 rank, u64 clock of the last use that counted, both in bytes.
SPILL: u8 version, u64 stop, u16 length of the key, key UTF-8, ETag UTF-8 (to the end).
SUM: u8 version, u64 stop, u64 CRC-64/NVME, u64 XXH3-64 of the ETag of the object version that the bytes are of.
INTENT: u8 version, u8 kind, u64 ino, i64 created ns, i64 not before ns, u32 attempts, u16 node,
    u32 epoch, u64 token, u64 job, then key, etag, last error, op id, each with u16 length, UTF-8.
SEQ, INO and STOP (values of INTENT_OF, TOMBSTONES, LOCATED, EXTENTS): u64.
"""

import errno
import struct
from typing import Final, NoReturn

from tierfs.errors import FsError, IndexDamageError
from tierfs.model import Base, HotRecord, Inode, InodeFlag, Intent, IntentKind, Residency, Spill, Sum

_VERSION: Final = 1
_INODE: Final = struct.Struct("<BHHHIIIQqqqqQB")
_INODE_SIZE: Final = _INODE.size
_INODE_SIZE_AT: Final = struct.calcsize("<BHHHIII")
_BASE: Final = struct.Struct("<BBQq")
_BASE_HEX: Final = struct.Struct("<BBQq16s")
_BASE_HEX_SIZE: Final = _BASE_HEX.size
_DIRENT: Final = struct.Struct("<BQH")
_HOT: Final = struct.Struct("<BBBQQQQQ")
_HOT_BEFORE_RANKS: Final = struct.Struct("<BBBQQQ")
_HOT_VERSION: Final = 2
_RANK: Final = struct.Struct("<BQQQ")
_SPILL: Final = struct.Struct("<BQH")
_SUM: Final = struct.Struct("<BQQQ")
_INTENT: Final = struct.Struct("<BBQqqIHIQQHHHH")
_INTENT_DELAY_AT: Final = struct.calcsize("<BBQq")
_INTENT_DELAY: Final = struct.Struct("<qI")  # not before, attempts: a slice of _INTENT
_U16: Final = struct.Struct("<H")
_U64: Final = struct.Struct("<Q")
_I64: Final = struct.Struct("<q")

_HAS_BASE, _HAS_RDEV, _HAS_TARGET, _HAS_LISTED, _HAS_SEQ = 1, 2, 4, 8, 16
_INODE_PRESENCE_ALL: Final = 31
_HEX, _PARTS, _ETAG, _VERSION_ID, _CLASS, _CRC64, _CONTENT = 1, 2, 4, 8, 16, 32, 64
_HEX_ALONE: Final = bytes([_HEX])
_CRC64_PREFIX: Final = "crc64nvme:"
_SYNCED, _WRITING, _PINNED, _ON_PROBATION = 1, 2, 4, 8

# on disk by position: append only
_CLASSES: Final = (
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
    "REDUCED_REDUNDANCY",
    "",
)
_CLASS_CODES: Final = {name: code for code, name in enumerate(_CLASSES)}
_CLASS_SPELLED: Final = 255

# InodeFlag(n) costs 0.7 us, an index into this 0.03
_FLAGS: Final = tuple(InodeFlag(bits) for bits in range(2 * max(InodeFlag)))
_RESIDENCIES: Final = {int(value): value for value in Residency}
_KINDS: Final = {int(value): value for value in IntentKind}


def _damage(what: str) -> NoReturn:
    raise IndexDamageError(f"index record: {what}")


def _unfit(what: str, cause: struct.error) -> FsError:
    return FsError(errno.EOVERFLOW, f"{what} does not fit its record: {cause}")


def _is_packable_hex(text: str) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if raw.hex() == text else None


def encode_base(base: Base) -> bytes:
    """BASE with its version byte, as the value of LINKS. Raises FsError(EOVERFLOW)."""
    try:
        return b"\x01" + _encode_base(base)
    except struct.error as error:
        raise _unfit("object version", error) from error


def _encode_base(base: Base) -> bytes:
    bits, etag = 0, base.etag
    tail = b""
    length = len(etag)
    raw = _is_packable_hex(etag[:32]) if length == 32 or (length > 33 and etag[32] == "-") else None
    is_plain = base.storage_class == "STANDARD" and not base.version_id and not base.content
    if is_plain and raw is not None and length == 32:  # nearly all that a listing shows
        return _BASE_HEX.pack(_HEX, 0, base.size_bytes, base.last_modified_ns, raw)
    if raw is not None and length == 32:
        bits, tail = _HEX, raw
    elif raw is not None and _is_part_count(etag[33:]):
        bits, tail = _HEX | _PARTS, raw + _U16.pack(int(etag[33:]))
    elif etag:
        bits, tail = _ETAG, _packed_text(etag)
    if base.version_id:
        bits |= _VERSION_ID
        tail += _packed_text(base.version_id)
    code = _CLASS_CODES.get(base.storage_class, _CLASS_SPELLED)
    if code == _CLASS_SPELLED:
        bits |= _CLASS
        tail += _packed_text(base.storage_class)
    content = base.content
    if content:
        digest = _is_packable_hex(content[10:]) if len(content) == 26 and content.startswith(_CRC64_PREFIX) else None
        bits |= _CONTENT if digest is None else _CRC64
        tail += _packed_text(content) if digest is None else digest
    return _BASE.pack(bits, code, base.size_bytes, base.last_modified_ns) + tail


def _is_part_count(text: str) -> bool:
    return len(text) <= 5 and text.isascii() and text.isdecimal() and text[0] != "0" and int(text) <= 0xFFFF


def _packed_text(text: str) -> bytes:
    raw = text.encode()
    return _U16.pack(len(raw)) + raw


def decode_base(record: bytes) -> Base:
    """The reverse of encode_base. Raises IndexDamageError."""
    if not record or record[0] != _VERSION:
        _damage(f"object version of unknown version {record[:1].hex() or '(empty)'}")
    base, at = _decode_base(record, 1)
    if at != len(record):
        _damage("object version with bytes left over")
    return base


def _decode_base(record: bytes, at: int) -> tuple[Base, int]:
    try:
        bits, code, size_bytes, last_modified_ns = _BASE.unpack_from(record, at)
        at += _BASE.size
        etag = version_id = content = ""
        if bits & _HEX:
            etag = record[at : at + 16].hex()
            at += 16
        if bits & _PARTS:
            etag += f"-{_U16.unpack_from(record, at)[0]}"
            at += 2
        if bits & _ETAG:
            etag, at = _text(record, at)
        if bits & _VERSION_ID:
            version_id, at = _text(record, at)
        if bits & _CLASS:
            storage_class, at = _text(record, at)
        elif code < len(_CLASSES):
            storage_class = _CLASSES[code]
        else:
            _damage(f"unknown storage class {code}")
        if bits & _CRC64:
            content = _CRC64_PREFIX + record[at : at + 8].hex()
            at += 8
        if bits & _CONTENT:
            content, at = _text(record, at)
        if bits > 127:
            _damage(f"object version with unknown parts {bits:#x}")
    except struct.error as error:
        raise IndexDamageError(f"index record: object version cut short: {error}") from error
    return Base(etag, size_bytes, last_modified_ns, version_id, storage_class, content), at


def _text(record: bytes, at: int) -> tuple[str, int]:
    (length,) = _U16.unpack_from(record, at)
    stop = at + 2 + length
    if stop > len(record):
        _damage("text runs over the end")
    return decode_text(record[at + 2 : stop]), stop


def encoded_size_bytes(record: bytes | None) -> int:
    """The size in an INODE, which is not looked at further; 0 without one, and for what is none."""
    if record is None or len(record) < _INODE_SIZE:
        return 0
    (size_bytes,) = _U64.unpack_from(record, _INODE_SIZE_AT)
    return int(size_bytes)


def encoded_object(record: bytes | None) -> tuple[str, int] | None:
    """(storage class, size) of the base object in an INODE, which is not looked at further; None without one.

    A class that has to be spelled out is "", as one that is not known.
    """
    if record is None or len(record) < _INODE_SIZE or not record[1] & _HAS_BASE:
        return None
    at = _INODE_SIZE + record[_INODE_SIZE - 1]
    if len(record) < at + _BASE.size:
        return None
    _, code, size_bytes, _ = _BASE.unpack_from(record, at)
    return _CLASSES[code] if code < len(_CLASSES) else "", size_bytes


def encode_inode(inode: Inode) -> bytes:
    """INODE; the ino itself is the key. Raises FsError(EOVERFLOW) for a number out of its range."""
    bits = 0
    tail = b""
    try:
        if inode.base is not None:
            bits = _HAS_BASE
            tail = _encode_base(inode.base)
        if inode.rdev:
            bits |= _HAS_RDEV
            tail += _U64.pack(inode.rdev)
        if inode.target:
            bits |= _HAS_TARGET
            tail += _U16.pack(len(inode.target)) + inode.target
        if inode.listed_ns:
            bits |= _HAS_LISTED
            tail += _I64.pack(inode.listed_ns)
        if inode.write_seq:
            bits |= _HAS_SEQ
            tail += _U64.pack(inode.write_seq)
        name = inode.name
        fixed = _INODE.pack(
            _VERSION,
            bits,
            inode.flags,
            inode.mode,
            inode.uid,
            inode.gid,
            inode.nlink,
            inode.size_bytes,
            inode.atime_ns,
            inode.mtime_ns,
            inode.ctime_ns,
            inode.btime_ns,
            inode.parent,
            len(name),
        )
    except struct.error as error:
        raise _unfit(f"inode {inode.ino}", error) from error
    return fixed + name + tail


def decode_inode(ino: int, record: bytes) -> Inode:
    """The reverse of encode_inode. Raises IndexDamageError."""
    if not record or record[0] != _VERSION:
        _damage(f"inode {ino} of unknown version {record[:1].hex() or '(empty)'}")
    base, rdev, target, listed_ns, write_seq = None, 0, b"", 0, 0
    try:
        (_, bits, flags, mode, uid, gid, nlink, size_bytes, atime, mtime, ctime, btime, parent, name_length) = (
            _INODE.unpack_from(record)
        )
        at = _INODE_SIZE + name_length
        name = record[_INODE_SIZE:at]
        if bits & _HAS_BASE:
            if record[at : at + 1] == _HEX_ALONE:  # most objects: a plain ETag and nothing else; 0.4 us less
                _, code, base_bytes, last_modified_ns, etag = _BASE_HEX.unpack_from(record, at)
                base = Base(etag.hex(), base_bytes, last_modified_ns, "", _CLASSES[code])
                at += _BASE_HEX_SIZE
            else:
                base, at = _decode_base(record, at)
        if bits > _HAS_BASE:
            if bits > _INODE_PRESENCE_ALL:
                _damage(f"inode {ino} with unknown parts {bits:#x}")
            if bits & _HAS_RDEV:
                (rdev,) = _U64.unpack_from(record, at)
                at += 8
            if bits & _HAS_TARGET:
                stop = at + 2 + _U16.unpack_from(record, at)[0]
                target = record[at + 2 : stop]
                at = stop
            if bits & _HAS_LISTED:
                (listed_ns,) = _I64.unpack_from(record, at)
                at += 8
            if bits & _HAS_SEQ:
                (write_seq,) = _U64.unpack_from(record, at)
                at += 8
    except (struct.error, IndexError) as error:
        raise IndexDamageError(f"index record: inode {ino} cut short, or of an unknown class: {error}") from error
    if at != len(record) or flags >= len(_FLAGS):
        _damage(f"inode {ino}: length {len(record)} (read {at}), flags {flags:#x}")
    return Inode(
        ino, mode, uid, gid, size_bytes, nlink, atime, mtime, ctime, btime,
        parent, name, rdev, _FLAGS[flags], base, target, listed_ns, write_seq,
    )  # fmt: skip


def encode_dirent(ino: int, fmt: int) -> bytes:
    """DIRENT; parent and name are the key."""
    return _DIRENT.pack(_VERSION, ino, fmt)


def decode_dirent(record: bytes) -> tuple[int, int]:
    """(ino, file type). Raises IndexDamageError."""
    if len(record) != 11 or record[0] != _VERSION:
        _damage(f"name of unknown version {record[:1].hex()} or length {len(record)}")
    _, ino, fmt = _DIRENT.unpack(record)
    return ino, fmt


def encode_hot(hot: HotRecord) -> bytes:
    """HOT; the ino is the key."""
    bits = _SYNCED * hot.synced | _WRITING * hot.writing | _PINNED * hot.pinned | _ON_PROBATION * hot.on_probation
    return _HOT.pack(
        _HOT_VERSION, hot.residency, bits, hot.boot_id, hot.bytes_charged, hot.last_use_s, hot.rank_bytes,
        hot.used_at_bytes,
    )  # fmt: skip


def decode_hot(record: bytes) -> HotRecord:
    """The reverse of encode_hot. Raises IndexDamageError."""
    if len(record) == _HOT_BEFORE_RANKS.size and record[0] == _VERSION:
        record = bytes([_HOT_VERSION]) + record[1:] + bytes(_HOT.size - len(record))
    if len(record) != _HOT.size or record[0] != _HOT_VERSION:
        _damage(f"hot tier record of unknown version {record[:1].hex()} or length {len(record)}")
    _, residency, bits, boot_id, bytes_charged, last_use_s, rank_bytes, used_at_bytes = _HOT.unpack(record)
    if residency not in _RESIDENCIES or bits > 15:
        _damage(f"hot tier record with residency {residency}, bits {bits:#x}")
    return HotRecord(
        _RESIDENCIES[residency],
        boot_id,
        bool(bits & _SYNCED),
        bool(bits & _WRITING),
        bytes_charged,
        last_use_s,
        bool(bits & _PINNED),
        rank_bytes,
        used_at_bytes,
        bool(bits & _ON_PROBATION),
    )


def encode_rank(ino: int, rank_bytes: int, used_at_bytes: int) -> bytes:
    """RANK; its slot is the key."""
    return _RANK.pack(_VERSION, ino, rank_bytes, used_at_bytes)


def decode_rank(record: bytes) -> tuple[int, int, int]:
    """(ino, rank, clock of the last use). Raises IndexDamageError."""
    if len(record) != _RANK.size or record[0] != _VERSION:
        _damage(f"rank of unknown version {record[:1].hex()} or length {len(record)}")
    _, ino, rank_bytes, used_at_bytes = _RANK.unpack(record)
    return ino, rank_bytes, used_at_bytes


def encode_spill(spill: Spill) -> bytes:
    """SPILL; ino and start are the key."""
    key = spill.key.encode()
    return _SPILL.pack(_VERSION, spill.stop, len(key)) + key + spill.etag.encode()


def decode_spill(start: int, record: bytes) -> Spill:
    """The reverse of encode_spill. Raises IndexDamageError."""
    if len(record) < _SPILL.size or record[0] != _VERSION:
        _damage(f"spill of unknown version {record[:1].hex()} or length {len(record)}")
    _, stop, length = _SPILL.unpack_from(record)
    at = _SPILL.size + length
    if at > len(record):
        _damage("spill cut short")
    return Spill(start, stop, decode_text(record[_SPILL.size : at]), decode_text(record[at:]))


def encode_sum(found: Sum) -> bytes:
    """SUM; ino and start are the key."""
    return _SUM.pack(_VERSION, found.stop, found.crc, found.etag_hash)


def decode_sum(start: int, record: bytes) -> Sum:
    """The reverse of encode_sum. Raises IndexDamageError."""
    if len(record) != _SUM.size or record[0] != _VERSION:
        _damage(f"checksum of unknown version {record[:1].hex()} or length {len(record)}")
    _, stop, crc, etag_hash = _SUM.unpack(record)
    return Sum(start, stop, crc, etag_hash)


def encode_intent(intent: Intent) -> bytes:
    """INTENT; seq is the key. An error text is cut at 1,000 characters."""
    key, etag, op_id = intent.key.encode(), intent.etag.encode(), intent.op_id.encode()
    last_error = intent.last_error[:1000].encode(errors="replace")
    try:
        fixed = _INTENT.pack(
            _VERSION,
            intent.kind,
            intent.ino,
            intent.created_ns,
            intent.not_before_ns,
            intent.attempts,
            intent.node,
            intent.epoch,
            intent.token,
            intent.job,
            len(key),
            len(etag),
            len(last_error),
            len(op_id),
        )
    except struct.error as error:
        raise _unfit(f"intent {intent.seq}", error) from error
    return b"".join((fixed, key, etag, last_error, op_id))


def postpone_intent(record: bytes, not_before_ns: int) -> bytes:
    """The record with its not_before moved, never forward out of a backoff; a tenth of a decode and encode.

    Raises IndexDamageError.
    """
    if len(record) < _INTENT.size or record[0] != _VERSION:
        _damage(f"intent of unknown version {record[:1].hex()} or length {len(record)}")
    old_ns, attempts = _INTENT_DELAY.unpack_from(record, _INTENT_DELAY_AT)
    if attempts:
        not_before_ns = max(not_before_ns, old_ns)
    return record[:_INTENT_DELAY_AT] + _I64.pack(not_before_ns) + record[_INTENT_DELAY_AT + 8 :]


def decode_intent(seq: int, record: bytes) -> Intent:
    """The reverse of encode_intent. Raises IndexDamageError."""
    if len(record) < _INTENT.size or record[0] != _VERSION:
        _damage(f"intent {seq} of unknown version {record[:1].hex()} or length {len(record)}")
    (_, kind, ino, created_ns, not_before_ns, attempts, node, epoch, token, job, *lengths) = _INTENT.unpack_from(record)
    if kind not in _KINDS or _INTENT.size + sum(lengths) != len(record):
        _damage(f"intent {seq} of unknown kind {kind} or wrong length {len(record)}")
    texts = []
    at = _INTENT.size
    for length in lengths:
        texts.append(decode_text(record[at : at + length]))
        at += length
    key, etag, last_error, op_id = texts
    return Intent(
        seq,
        _KINDS[kind],
        ino,
        key,
        etag,
        created_ns,
        not_before_ns,
        attempts,
        last_error,
        op_id,
        node,
        epoch,
        token,
        job,
    )


def encode_number(number: int) -> bytes:
    """A SEQ, INO or STOP."""
    return _U64.pack(number)


def decode_number(record: bytes) -> int:
    """The reverse of encode_number. Raises IndexDamageError."""
    if len(record) != 8:
        _damage(f"number of {len(record)} bytes")
    return int.from_bytes(record, "little")


def decode_text(raw: bytes) -> str:
    """UTF-8 as it was encoded. Raises IndexDamageError."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise IndexDamageError(f"index record: text that is not UTF-8: {error}") from error
