"""Listings and tags as servers write them."""

import pytest

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.s3_xml import parse_listing, parse_tags

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def listing(content: str, *, namespace: str = NAMESPACE) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{namespace}>{content}</ListBucketResult>'.encode()


def entry(key: str = "k", *, more: str = "", storage_class: str = "STANDARD") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-22T19:43:38.999Z</LastModified>"
        f"<ETag>&quot;abc-2&quot;</ETag><Size>12345678901</Size><StorageClass>{storage_class}</StorageClass>{more}"
        "</Contents>"
    )


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_an_entry(namespace: str) -> None:
    page = parse_listing(listing(entry("p/k", more="<Owner><ID>1</ID></Owner>"), namespace=namespace), "p/")
    (found,) = page.objects
    assert (found.key, found.size_bytes, found.etag) == ("k", 12345678901, "abc-2")
    assert found.last_modified_ns == 1_795_376_618_000_000_000
    assert (found.storage_class, found.archived, found.meta) == ("STANDARD", False, None)
    assert (page.prefixes, page.token) == ([], "")


def test_keys_are_decoded_only_where_the_answer_says_so() -> None:
    encoded = entry("a%2Bb+c%01%25")
    assert parse_listing(listing(encoded + "<EncodingType>url</EncodingType>"), "").objects[0].key == "a+b c\x01%"
    assert parse_listing(listing(encoded), "").objects[0].key == "a%2Bb+c%01%25"


def test_prefixes_and_the_token() -> None:
    content = (
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t/1=</NextContinuationToken>"
        "<Prefix>p/</Prefix>"
        "<CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/e/</Prefix></CommonPrefixes>"
    )
    page = parse_listing(listing(content), "p/")
    assert (page.objects, page.prefixes, page.token) == ([], ["d/", "e/"], "t/1=")


def test_a_token_of_a_last_page_is_no_token() -> None:
    content = "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    assert parse_listing(listing(content), "").token == ""


@pytest.mark.parametrize(
    ("storage_class", "status", "archived"),
    [
        ("GLACIER", "", True),
        ("GLACIER", "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>", True),
        (
            "DEEP_ARCHIVE",
            "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
            "<RestoreExpiryDate>2029-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>",
            False,
        ),
        ("STANDARD_IA", "", False),
    ],
)
def test_archived_entries(storage_class: str, status: str, archived: bool) -> None:
    page = parse_listing(listing(entry(more=status, storage_class=storage_class)), "")
    assert (page.objects[0].storage_class, page.objects[0].archived) == (storage_class, archived)


def test_a_page_that_ends_too_early_is_not_the_last_one() -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.PERMANENT):
        parse_listing(listing("<IsTruncated>true</IsTruncated>"), "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        listing(entry())[:-30],
        b"<html>proxy</html>",
        b"<Error><Code>SlowDown</Code></Error>",
        listing("<Contents><Key>k</Key></Contents>"),
        listing(entry().replace("12345678901", "many")),
        listing(entry().replace("2026", "year")),
        listing(entry("outside")),
    ],
)
def test_what_is_no_listing_is_corrupt(body: bytes) -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.CORRUPT):
        parse_listing(body, "p/" if b"outside" in body else "")


def test_tags() -> None:
    tag_set = "<TagSet><Tag><Key>a &amp; b</Key><Value>é</Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet>"
    assert parse_tags(f"<Tagging{NAMESPACE}>{tag_set}</Tagging>".encode()) == {"a & b": "é", "c": ""}
    assert parse_tags(b"<Tagging><TagSet/></Tagging>") == {}
