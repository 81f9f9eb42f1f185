"""What a body is checked for before anybody sees it. The requests themselves: tests/conformance."""

import pytest

from tierfs import native
from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import ObjectInfo, ObjectMeta
from tierfs.objectstore.s3_requests import check_content

BODY = b"the bytes"


def stored(content: str | None) -> ObjectInfo:
    meta = None if content is None else ObjectMeta(user={"tierfs-content": content})
    return ObjectInfo(key="k", size_bytes=len(BODY), etag="e", last_modified_ns=0, meta=meta)


@pytest.mark.parametrize("content", [None, "", "md5:abc", f"crc64nvme:{native.crc64nvme(BODY):016x}"])
def test_bodies_that_nothing_speaks_against(content: str | None) -> None:
    check_content(stored(content), BODY)
    check_content(stored(content), memoryview(BODY))


def test_the_checksum_may_be_in_capitals() -> None:
    check_content(stored(f"crc64nvme:{native.crc64nvme(BODY):016X}"), BODY)


@pytest.mark.parametrize("content", ["crc64nvme:", "crc64nvme:0000000000000000"])
def test_a_body_of_another_checksum_is_corrupt(content: str) -> None:
    with pytest.raises(StoreError) as caught:
        check_content(stored(content), BODY)
    assert (caught.value.kind, caught.value.key) == (StoreErrorKind.CORRUPT, "k")
