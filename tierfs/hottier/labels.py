"""What a backing file says of itself while the bucket has not seen its bytes: enough to save it without the index.

It is an extended attribute of the backing file, `user.tierfs.pending`: UTF-8 (surrogateescape), the CRC-32 of all that
follows in eight hex digits, a space, and one JSON object:

    version      1; a larger one is not understood, and the file counts as one without a label
    index        id of the index that wrote it, in hex: another one knows nothing of the inode
    boot         id of the boot in which it was written: after a power loss the bytes may not be those that were written
    path         from the root of the mount, without a slash before; "" where it is too long to be kept here
    mode, uid, gid
    base         ETag of the object version that the bytes were written over, "" for none
    base_bytes   its size, 0 for none
    whole        every byte of the file is in the backing file: a hole in it is zeros of the file

It is written some seconds after the change (sync.labelling), never by the call that makes the change.
"""

import json
import zlib
from typing import Final

from attrs import asdict, frozen

ATTRIBUTE: Final = "user.tierfs.pending"
LABEL_MAX_BYTES: Final = 3000
"""ext4 keeps the attributes of a file in one block of 4 KiB."""
_VERSION: Final = 1


@frozen
class Label:
    """See the module."""

    index: int
    boot: int
    path: str
    mode: int
    uid: int
    gid: int
    base: str
    base_bytes: int
    whole: bool


def encode_label(label: Label) -> bytes:
    """As it is on the disk."""
    fields = {"version": _VERSION, **asdict(label)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape")
    if len(text) > LABEL_MAX_BYTES and label.path:
        return encode_label(Label(**{**asdict(label), "path": ""}))
    return b"%08x " % zlib.crc32(text) + text


def decode_label(raw: bytes) -> Label | None:
    """None for what is no label, or one of a newer tierfs."""
    check, _, text = raw.partition(b" ")
    if check != b"%08x" % zlib.crc32(text):
        return None
    try:
        fields = json.loads(text.decode(errors="surrogateescape"))
        if fields.pop("version") != _VERSION:
            return None
        return Label(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
