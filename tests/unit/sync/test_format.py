"""The version of the bucket format: agreed on at mount."""

import errno
import json

import pytest
import trio

from tests.support.memstore import MemoryStore
from tierfs.errors import FsError
from tierfs.objectstore.base import Always, ObjectMeta
from tierfs.sync.format import FORMAT_KEY, FORMAT_VERSION, agree_on_format


async def _stored(store: MemoryStore) -> dict[str, object]:
    body = await store.get_whole(FORMAT_KEY, if_match="", limit_bytes=1000)
    return dict(json.loads(bytes(body.data)))


def test_the_first_mount_that_may_write_says_which_format_it_is() -> None:
    async def main() -> None:
        store = MemoryStore()
        await agree_on_format(store, "op-1", read_only=True)
        assert (await store.list("", delimited=False)).objects == []
        await agree_on_format(store, "op-2", read_only=False)
        assert (await _stored(store))["format"] == FORMAT_VERSION
        etag = (await store.head(FORMAT_KEY)).etag
        await agree_on_format(store, "op-3", read_only=False)
        assert (await store.head(FORMAT_KEY)).etag == etag

    trio.run(main)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b'{"format": 99}', "update tierfs"),
        (b"{}", "not readable"),
        (b"<xml/>", "not readable"),
        (b"[]", "not readable"),
    ],
)
def test_a_bucket_of_newer_software_or_with_a_broken_version_is_refused(document: bytes, says: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        await store.put(FORMAT_KEY, document, ObjectMeta(), Always())
        with pytest.raises(FsError, match=says) as refused:
            await agree_on_format(store, "op", read_only=False)
        assert refused.value.errno == errno.EPROTONOSUPPORT

    trio.run(main)
