"""Keys: the store's prefix, S3's limits, and which keys obstore can be trusted with."""

import re
from typing import Final
from urllib.parse import quote

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.model import KEY_MAX_BYTES

# A segment that is empty, "." or "..", or any control character: obstore refuses the key, or drops
# a slash at its end without a word (seen with obstore 0.12) and writes another object
_NOT_FOR_OBSTORE: Final = re.compile(r"(?:^|/)(?:\.{0,2})(?:/|$)|[\x00-\x1f\x7f]")
# characters that XML 1.0 cannot carry, nor a DeleteObjects request with them
_NOT_FOR_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def full_key(prefix: str, key: str) -> str:
    """The key in the bucket; KEY_TOO_LONG, or INVALID for an empty or unencodable key."""
    full = prefix + key
    try:
        length_bytes = len(full.encode())
    except UnicodeEncodeError as error:
        raise StoreError(StoreErrorKind.INVALID, f"{key!r} is not Unicode", key=key) from error
    if not full:
        raise StoreError(StoreErrorKind.INVALID, "a key cannot be empty")
    if length_bytes > KEY_MAX_BYTES:
        raise StoreError(
            StoreErrorKind.KEY_TOO_LONG, f"the key has {length_bytes} bytes, S3 takes {KEY_MAX_BYTES}", key=key
        )
    return full


def fits_obstore(full: str) -> bool:
    """Whether obstore addresses exactly this key; the others go through botocore."""
    return _NOT_FOR_OBSTORE.search(full) is None


def fits_xml(full: str) -> bool:
    """Whether the key can stand in an XML document."""
    return _NOT_FOR_XML.search(full) is None


def quote_key(full: str) -> str:
    """The key as a URL path in the form that SigV4 signs: all but unreserved characters and `/`."""
    return quote(full, safe="/~")
