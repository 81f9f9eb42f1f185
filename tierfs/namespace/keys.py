"""File names as parts of object keys, and back (bucket-format.md, "What tierfs writes").

A name that is UTF-8 is its own key part. A name that is not is percent-escaped (`%` included), and so
is a UTF-8 name that could be taken for such an escaped form, so that a file named `%FF` and the raw byte
FF have different keys. An escaped object carries the raw name as `tierfs-name`; without it a key
part is taken as it stands, so that others' keys with percent signs keep their names.
"""

import re
from typing import Final

from tierfs.model import NAME_MAX_BYTES

_ESCAPE: Final = re.compile(rb"%([0-9A-F]{2})")
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {ord("%")}
_UNUSABLE_PARTS: Final = frozenset({"", ".", ".."})


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unescape(part: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), part)


def needs_escape(name: bytes) -> bool:
    """True for a name whose object must carry `tierfs-name`.

    So must a name that becomes such a one by unescaping, however often: else `%FF`, escaped to `%25FF`,
    and a file named `%25FF` would have one key.
    """
    while _is_utf8(name):
        plainer = _unescape(name) if b"%" in name else name
        if plainer == name:
            return False
        name = plainer
    return True


def name_to_part(name: bytes) -> str:
    """The key part of a file name (no slashes on either side)."""
    if b"%" not in name:  # nearly all, and a change of names asks for several
        try:
            return name.decode()
        except UnicodeDecodeError:
            pass
    elif not needs_escape(name):
        return name.decode()
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in name)


def part_to_name(part: str, raw_name: bytes | None = None) -> bytes:
    """The file name of a key part; `raw_name` (of `tierfs-name`) counts only if it escapes to this part."""
    if raw_name is not None and b"/" not in raw_name and raw_name and name_to_part(raw_name) == part:
        return raw_name
    return part.encode()


def part_to_names(part: str) -> tuple[bytes, ...]:
    """Every name whose key part this can be: itself, and what it escapes."""
    plain, raw = part.encode(), _unescape(part.encode())
    return tuple(name for name in dict.fromkeys((plain, raw)) if name_to_part(name) == part)


def unreachable_reason(part: str) -> str:
    """Why a key part cannot be a file name; "" when it can."""
    if part in _UNUSABLE_PARTS:
        return f"the key has a part {part!r}, which no directory can hold"
    if "\0" in part:
        return "the key has a NUL character"
    if len(part.encode()) > NAME_MAX_BYTES:
        return f"a part of the key is longer than {NAME_MAX_BYTES} bytes"
    return ""
