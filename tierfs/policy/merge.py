"""What to do with one name when the index and the bucket may have moved apart: one pure function.

`base` is the object version on which both sides last agreed, `local` what this side did since, `remote`
what the bucket holds now. A remote version *is* the base when it has its ETag, or when it is the answer
to our own request that got lost (`tierfs-op`). It has *the same content* when both checksums are known
and equal, and the types are, whatever the ETag (a metadata copy of a multipart object changes the ETag
and nothing else). It is of *another type* when both types are known and differ, whatever the ETag (a
symlink may have the bytes that the file had).

    local       remote                         decision
    ----------  -----------------------------  -------------------------------------------------------
    CLEAN       the base                       NOTHING
    CLEAN       other ETag, same content       ADOPT: take over the ETag, local bytes stay valid
    CLEAN       other content or type          IMPORT: the bucket's version in place of the local one
    CLEAN       gone                           REMOVE
    ATTRIBUTES  the base                       EXPORT
    ATTRIBUTES  other ETag, same content       a: ADOPT, what is dirty stays dirty and is exported over it
    ATTRIBUTES  other content                  b: MERGE, bytes of the bucket, attributes of this side
    ATTRIBUTES  other type                     IMPORT: what the attributes are of is no more
    ATTRIBUTES  gone                           REMOVE: there are no bytes left that the attributes are of
    CONTENT     the base                       EXPORT
    CONTENT     other ETag, content of base    ADOPT, what is dirty stays dirty and is exported over it
    CONTENT     other ETag, our new content    SETTLE: both sides wrote the same bytes
    CONTENT     other content or type          c: KEEP_BOTH, the bucket's version gets the name, ours stays
                                               beside it as `name.conflict-<host>-<UTC time>`
    CONTENT     gone                           d: EXPORT, nothing is lost by writing it anew
    DELETED     the base                       DELETE
    DELETED     other ETag, content of base    DELETE, over the new ETag
    DELETED     other content or type          e: RESURRECT, somebody wrote what was never seen here
    DELETED     gone                           NOTHING
    (no base)   CLEAN       any                IMPORT
    (no base)   CLEAN       nothing            NOTHING
    (no base)   ATTRIBUTES, CONTENT            as with a base whose version is none of the bucket's
    (no base)   ATTRIBUTES, CONTENT  nothing   EXPORT: it is new here
    (no base)   DELETED     any                e; NOTHING when there is nothing

An inode without a base and with attributes only (an implicit directory) has no bytes to lose: what the
bucket has there is taken under our attributes (MERGE).

The rows with a letter are conflicts, and the policy decides them. Above is KEEP_BOTH, under which no byte is lost; the
others give up what one side has and the other never saw:

    conflict                         KEEP_BOTH  BUCKET_WINS  LOCAL_WINS  NEWEST
    -------------------------------  ---------  -----------  ----------  -----------------------------------
    a  attributes on both sides      ADOPT      IMPORT       ADOPT       LOCAL_WINS or BUCKET_WINS, by mtime;
    b  attributes here, bytes there  MERGE      IMPORT       MERGE       KEEP_BOTH where one is unknown, or
    c  bytes on both sides           KEEP_BOTH  IMPORT       OVERWRITE   both are equal
    d  bytes here, deleted there     EXPORT     REMOVE       EXPORT      KEEP_BOTH: nobody knows when it was
    e  deleted here, bytes there     RESURRECT  RESURRECT    DELETE      deleted, so a file beats a deletion

OVERWRITE needs all of our bytes: where some were only in the base, that is gone, it is KEEP_BOTH.

A file `a` and a directory `a/` have two keys and are no row here: both are shown (`sync.plan.BESIDE_SUFFIX`).
"""

import enum
from collections.abc import Mapping
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


class Remote(enum.Enum):
    """What the bucket did since the base. Without one, an object there is CONTENT."""

    BASE = enum.auto()
    ATTRIBUTES = enum.auto()  # another ETag and the same content: whatever changed, it was no byte
    CONTENT = enum.auto()
    TYPE = enum.auto()
    GONE = enum.auto()
    NEVER = enum.auto()  # no base and no object


class Policy(enum.Enum):
    """Who wins a conflict; the values are those of the setting."""

    KEEP_BOTH = "keep-both"
    BUCKET_WINS = "bucket-wins"
    LOCAL_WINS = "local-wins"
    NEWEST = "newest"


class Decision(enum.Enum):
    """What to do about it; the tables above say when."""

    NOTHING = enum.auto()
    ADOPT = enum.auto()
    IMPORT = enum.auto()
    REMOVE = enum.auto()
    EXPORT = enum.auto()
    MERGE = enum.auto()
    SETTLE = enum.auto()
    KEEP_BOTH = enum.auto()
    OVERWRITE = enum.auto()
    DELETE = enum.auto()
    RESURRECT = enum.auto()


@frozen
class ConflictRules:
    """How a mount treats conflicts: who wins, and the host that is in the names of copies."""

    host: str
    policy: Policy = Policy.KEEP_BOTH


@frozen
class Version:
    """A version of a file as far as a decision needs it.

    `content` is a checksum with its name, "" = unknown. `fmt` is the S_IFMT part of its mode, 0 = unknown.
    `modified_ns` is its mtime, 0 = unknown.
    """

    etag: str
    size_bytes: int
    content: str = ""
    fmt: int = 0
    modified_ns: int = 0

    def has_content_of(self, other: "Version | None") -> bool:
        """True only when both checksums are known: a guess would throw bytes away."""
        return (
            other is not None
            and self.content != ""
            and self.content == other.content
            and self.size_bytes == other.size_bytes
            and not self.is_other_type(other)
        )

    def is_other_type(self, other: "Version") -> bool:
        """True only when both types are known."""
        return 0 not in (self.fmt, other.fmt) and self.fmt != other.fmt


def decide(
    base: Version | None,
    local: Local,
    remote: Version | None,
    *,
    ours: Version | None = None,
    policy: Policy = Policy.KEEP_BOTH,
    is_whole: bool = True,
) -> Decision:
    """The decision table. `remote` None: no object there.

    `ours`: what is known of the local version. `is_whole`: no local byte is only in the base version.
    A lost answer of our own is recognised before (it has our op id) and comes here as the base.
    """
    change = _change_of(base, remote)
    is_new = change in (Remote.CONTENT, Remote.TYPE)
    if local is Local.CONTENT and is_new and remote is not None and remote.has_content_of(ours):
        return Decision.SETTLE
    decision = _TABLE[local, change][_without_clock(policy, ours, remote)]
    return Decision.KEEP_BOTH if decision is Decision.OVERWRITE and not is_whole else decision


def _change_of(base: Version | None, remote: Version | None) -> Remote:
    if remote is None:
        return Remote.GONE if base is not None else Remote.NEVER
    if base is None:
        return Remote.CONTENT
    if remote.is_other_type(base):
        return Remote.TYPE
    if remote.etag == base.etag:
        return Remote.BASE
    return Remote.ATTRIBUTES if remote.has_content_of(base) else Remote.CONTENT


def _without_clock(policy: Policy, ours: Version | None, remote: Version | None) -> Policy:
    """NEWEST is one of the others, as the times of both sides have it."""
    if policy is not Policy.NEWEST:
        return policy
    here_ns = ours.modified_ns if ours is not None else 0
    there_ns = remote.modified_ns if remote is not None else 0
    if 0 in (here_ns, there_ns) or here_ns == there_ns:
        return Policy.KEEP_BOTH
    return Policy.LOCAL_WINS if here_ns > there_ns else Policy.BUCKET_WINS


def _always(decision: Decision) -> Mapping[Policy, Decision]:
    return dict.fromkeys(Policy, decision)


def _conflict(keep_both: Decision, bucket_wins: Decision, local_wins: Decision) -> Mapping[Policy, Decision]:
    return {Policy.KEEP_BOTH: keep_both, Policy.BUCKET_WINS: bucket_wins, Policy.LOCAL_WINS: local_wins}


_ATTRIBUTES_MEET_BYTES: Final = _conflict(Decision.MERGE, Decision.IMPORT, Decision.MERGE)
_BYTES_MEET_BYTES: Final = _conflict(Decision.KEEP_BOTH, Decision.IMPORT, Decision.OVERWRITE)
_DELETION_MEETS_BYTES: Final = _conflict(Decision.RESURRECT, Decision.RESURRECT, Decision.DELETE)
_TABLE: Final[Mapping[tuple[Local, Remote], Mapping[Policy, Decision]]] = {
    (Local.CLEAN, Remote.BASE): _always(Decision.NOTHING),
    (Local.CLEAN, Remote.ATTRIBUTES): _always(Decision.ADOPT),
    (Local.CLEAN, Remote.CONTENT): _always(Decision.IMPORT),
    (Local.CLEAN, Remote.TYPE): _always(Decision.IMPORT),
    (Local.CLEAN, Remote.GONE): _always(Decision.REMOVE),
    (Local.CLEAN, Remote.NEVER): _always(Decision.NOTHING),
    (Local.ATTRIBUTES, Remote.BASE): _always(Decision.EXPORT),
    (Local.ATTRIBUTES, Remote.ATTRIBUTES): _conflict(Decision.ADOPT, Decision.IMPORT, Decision.ADOPT),
    (Local.ATTRIBUTES, Remote.CONTENT): _ATTRIBUTES_MEET_BYTES,
    (Local.ATTRIBUTES, Remote.TYPE): _always(Decision.IMPORT),
    (Local.ATTRIBUTES, Remote.GONE): _always(Decision.REMOVE),
    (Local.ATTRIBUTES, Remote.NEVER): _always(Decision.EXPORT),
    (Local.CONTENT, Remote.BASE): _always(Decision.EXPORT),
    (Local.CONTENT, Remote.ATTRIBUTES): _always(Decision.ADOPT),
    (Local.CONTENT, Remote.CONTENT): _BYTES_MEET_BYTES,
    (Local.CONTENT, Remote.TYPE): _BYTES_MEET_BYTES,
    (Local.CONTENT, Remote.GONE): _conflict(Decision.EXPORT, Decision.REMOVE, Decision.EXPORT),
    (Local.CONTENT, Remote.NEVER): _always(Decision.EXPORT),
    (Local.DELETED, Remote.BASE): _always(Decision.DELETE),
    (Local.DELETED, Remote.ATTRIBUTES): _always(Decision.DELETE),
    (Local.DELETED, Remote.CONTENT): _DELETION_MEETS_BYTES,
    (Local.DELETED, Remote.TYPE): _DELETION_MEETS_BYTES,
    (Local.DELETED, Remote.GONE): _always(Decision.NOTHING),
    (Local.DELETED, Remote.NEVER): _always(Decision.NOTHING),
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
