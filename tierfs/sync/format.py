"""`.tierfs/format.json`: the version of the bucket format, so that older software refuses politely.

| field | meaning |
|---|---|
| `format` | whole number; software that knows only lower ones must not write |
| `written_by` | version of the software that made the object, for people |

A bucket without it is one that tierfs has not written to: it is format 1 from the first mount that may write.
"""

import errno
import json
from typing import Final

from tierfs import __version__
from tierfs.errors import FsError, StoreError, StoreErrorKind
from tierfs.model import HIDDEN_PREFIX
from tierfs.objectstore.base import IfAbsent, ObjectMeta, ObjectStore

FORMAT_KEY: Final = HIDDEN_PREFIX + "format.json"
FORMAT_VERSION: Final = 1
_DOCUMENT_MAX_BYTES: Final = 65_536


async def agree_on_format(store: ObjectStore, op_id: str, *, read_only: bool) -> None:
    """Reads the bucket's format version, or writes ours where there is none.

    Raises FsError(EPROTONOSUPPORT) for a newer format or an unreadable document, StoreError when the
    store fails. Repeatable. A bucket that refuses the write is left as it is: every later write will say so.
    """
    version = await _stored_version(store)
    if version is None and not read_only:
        document = json.dumps({"format": FORMAT_VERSION, "written_by": f"tierfs {__version__}"}).encode()
        meta = ObjectMeta(user={"tierfs-op": op_id, "user-agent": "tierfs"}, content_type="application/json")
        try:
            await store.put(FORMAT_KEY, document, meta, IfAbsent())
        except StoreError as error:
            if error.kind is StoreErrorKind.PRECONDITION_FAILED:  # another mount was faster
                version = await _stored_version(store)
            elif error.kind is not StoreErrorKind.ACCESS_DENIED:
                raise
    if version is not None and version > FORMAT_VERSION:
        raise FsError(
            errno.EPROTONOSUPPORT,
            f"the bucket has format {version}, this is tierfs {__version__}, which knows format {FORMAT_VERSION}: "
            "update tierfs",
        )


async def _stored_version(store: ObjectStore) -> int | None:
    try:
        body = await store.get_whole(FORMAT_KEY, if_match="", limit_bytes=_DOCUMENT_MAX_BYTES)
    except StoreError as error:
        if error.kind is StoreErrorKind.NOT_FOUND:
            return None
        raise
    try:
        document = json.loads(bytes(body.data))
        return int(document["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise FsError(errno.EPROTONOSUPPORT, f"{FORMAT_KEY} in the bucket is not readable: {error}") from error
