"""What to do with one name when the index and the bucket may have moved apart: one pure function.

`base` is the object version on which both sides last agreed, `local` what this side did since, `remote`
what the bucket holds now. A remote version *is* the base when it has its ETag, or when it is the answer
to our own request that got lost (`tierfs-op`). It has *the same content* when both checksums are known
and equal, whatever the ETag (a metadata copy of a multipart object changes the ETag and nothing else).

    local       remote                         decision
    ----------  -----------------------------  -------------------------------------------------------
    CLEAN       the base                       NOTHING
    CLEAN       other ETag, same content       ADOPT: take over the ETag, local bytes stay valid
    CLEAN       other content                  IMPORT
    CLEAN       gone                           REMOVE
    ATTRIBUTES  the base                       EXPORT
    ATTRIBUTES  other ETag, same content       ADOPT, what is dirty stays dirty and is exported over it
    ATTRIBUTES  other content                  MERGE: bytes of the bucket, attributes of this side
    ATTRIBUTES  gone                           REMOVE: there are no bytes left that the attributes are of
    CONTENT     the base                       EXPORT
    CONTENT     other ETag, content of base    ADOPT, what is dirty stays dirty and is exported over it
    CONTENT     other ETag, our new content    SETTLE: both sides wrote the same bytes
    CONTENT     other content                  KEEP_BOTH: the bucket's version gets the name, ours stays
                                               beside it as `name.conflict-<host>-<UTC time>`
    CONTENT     gone                           EXPORT: nothing is lost by writing it anew
    DELETED     the base                       DELETE
    DELETED     other ETag, content of base    DELETE, over the new ETag
    DELETED     other content                  RESURRECT: somebody wrote what was never seen here
    DELETED     gone                           NOTHING
    (no base)   CLEAN       any                IMPORT
    (no base)   CLEAN       gone               NOTHING
    (no base)   ATTRIBUTES, CONTENT            as with a base whose version is none of the bucket's
    (no base)   DELETED     any                RESURRECT; NOTHING when gone

An inode without a base and with attributes only (an implicit directory) has no bytes to lose: what the
bucket has there is taken under our attributes (MERGE).
"""

import enum
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from tierfs.model import NAME_MAX_BYTES
from tierfs.units import NS_PER_S


class Local(enum.Enum):
    """What this side did since the base."""

    CLEAN = enum.auto()
    ATTRIBUTES = enum.auto()
    CONTENT = enum.auto()
    DELETED = enum.auto()


class Decision(enum.Enum):
    """What to do about it; the table above says when."""

    NOTHING = enum.auto()
    ADOPT = enum.auto()
    IMPORT = enum.auto()
    REMOVE = enum.auto()
    EXPORT = enum.auto()
    MERGE = enum.auto()
    SETTLE = enum.auto()
    KEEP_BOTH = enum.auto()
    DELETE = enum.auto()
    RESURRECT = enum.auto()


@frozen
class Version:
    """An object version as far as a decision needs it; `content` is a checksum with its name, "" = unknown."""

    etag: str
    size_bytes: int
    content: str = ""

    def has_content_of(self, other: "Version | None") -> bool:
        """True only when both checksums are known: a guess would throw bytes away."""
        return (
            other is not None
            and self.content != ""
            and self.content == other.content
            and self.size_bytes == other.size_bytes
        )


def decide(base: Version | None, local: Local, remote: Version | None, *, ours: Version | None = None) -> Decision:
    """The decision table. `remote` None: no object there. `ours`: the local bytes where their checksum is known.

    A lost answer of our own is recognised before (it has our op id) and comes here as the base.
    """
    if remote is None:
        return _GONE[local] if base is not None or local is not Local.CLEAN else Decision.NOTHING
    if base is not None and remote.etag == base.etag:
        return _SAME[local]
    if remote.has_content_of(base):
        return Decision.DELETE if local is Local.DELETED else Decision.ADOPT
    if local is Local.CONTENT and remote.has_content_of(ours):
        return Decision.SETTLE
    return _CHANGED[local]


_SAME: Final = {
    Local.CLEAN: Decision.NOTHING,
    Local.ATTRIBUTES: Decision.EXPORT,
    Local.CONTENT: Decision.EXPORT,
    Local.DELETED: Decision.DELETE,
}
_CHANGED: Final = {
    Local.CLEAN: Decision.IMPORT,
    Local.ATTRIBUTES: Decision.MERGE,
    Local.CONTENT: Decision.KEEP_BOTH,
    Local.DELETED: Decision.RESURRECT,
}
_GONE: Final = {
    Local.CLEAN: Decision.REMOVE,
    Local.ATTRIBUTES: Decision.REMOVE,
    Local.CONTENT: Decision.EXPORT,
    Local.DELETED: Decision.NOTHING,
}


def conflict_name(name: bytes, host: str, now_ns: int, *, attempt: int = 0) -> bytes:
    """`name.conflict-<host>-<YYYYMMDDTHHMMSSZ>`, cut to 255 bytes at the end of the original name.

    `attempt` numbers further ones within one second. `host` loses what cannot be in a file name.
    """
    safe_host = (
        "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in host)[:64] or "host"
    )
    suffix = f".conflict-{safe_host}-{_utc(now_ns)}".encode()
    if attempt:
        suffix += b"-%d" % attempt
    stem = name[: NAME_MAX_BYTES - len(suffix)]
    while stem and len(stem) < len(name) and _splits_character(name, len(stem)):
        stem = stem[:-1]
    return stem + suffix


def _splits_character(name: bytes, at: int) -> bool:
    """True when a cut at `at` would leave half of a UTF-8 character."""
    return name[at] & 0xC0 == 0x80


def _utc(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
