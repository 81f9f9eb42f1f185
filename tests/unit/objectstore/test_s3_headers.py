"""Metadata as headers and back: bytes stay exact, whatever a server does with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.base import ObjectMeta
from tierfs.objectstore.s3_headers import (
    decode_checksum,
    decode_info,
    decode_meta,
    decode_value,
    decode_version_id,
    encode_system,
    encode_user,
    encode_value,
    is_archived,
    parse_http_date_ns,
)

HEADERS = {
    "content-length": "5",
    "etag": '"abc"',
    "last-modified": "Sun, 22 Nov 2026 19:43:38 GMT",
}


@given(st.text())
def test_any_text_survives_a_header(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(StoreError):
            encode_value(text)
        return
    sent = encode_value(text)
    assert sent.isascii()
    assert sent.isprintable()
    assert sent == sent.strip()
    looks_encoded = "=?" in text  # then a server that decodes would have changed it, too
    assert looks_encoded or decode_value(sent) == text


@pytest.mark.parametrize("text", ["", "plain", "a=b; c", "0100644", "x  y", "=?", "a=?b?=", "100%"])
def test_plain_text_travels_as_it_is(text: str) -> None:
    assert encode_value(text) == text == decode_value(text)


@pytest.mark.parametrize("text", ["=?UTF-8?B?aGk=?=", "=?UTF-8?Q?hi?=", "=?no-such-charset?B?aGk=?=", "=?UTF-8?B?=?="])
def test_a_word_that_its_writer_meant_is_left_alone(text: str) -> None:
    assert decode_value(text) == text == encode_value(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?UTF-8?B?w6k=?=", "é"),
        ("=?UTF-8?Q?=C3=A9t=C3=A9?=", "été"),
        ("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "éé"),
        ("Ã©", "é"),  # raw UTF-8 as http.client hands it out
        ("\xe9", "é"),  # raw Latin-1
    ],
)
def test_what_servers_return_for_other_text(value: str, text: str) -> None:
    assert decode_value(value) == text


@pytest.mark.parametrize("name", ["", "A", "with space", "ü", "a:b", "new\nline"])
def test_names_that_no_header_has(name: str) -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.INVALID):
        encode_user({name: "x"})


def test_a_user_key_named_like_a_header_is_no_header() -> None:
    meta = decode_meta({"x-amz-meta-content-type": "theirs", "content-type": "text/plain", "server": "x"})
    assert meta == ObjectMeta(user={"content-type": "theirs"}, content_type="text/plain")


def test_only_what_is_set_is_sent() -> None:
    assert encode_system(ObjectMeta(content_type="a/b", expires="0")) == {"Content-Type": "a/b", "Expires": "0"}


def test_the_size_of_a_ranged_answer_is_that_of_the_object() -> None:
    assert decode_info("k", {**HEADERS, "content-range": "bytes 0-4/1234"}).size_bytes == 1234
    assert decode_info("k", HEADERS).size_bytes == 5


@pytest.mark.parametrize("broken", [{"content-length": ""}, {"last-modified": "yesterday"}, {"last-modified": ""}])
def test_an_answer_without_sense_is_corrupt(broken: dict[str, str]) -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.CORRUPT):
        decode_info("k", HEADERS | broken)


def test_times_are_whole_seconds() -> None:
    assert parse_http_date_ns("Sun, 22 Nov 2026 19:43:38 GMT") == 1_795_376_618_000_000_000


def test_versions_and_classes() -> None:
    assert [decode_version_id(value) for value in (None, "null", "3/L4")] == ["", "", "3/L4"]
    info = decode_info("k", {**HEADERS, "x-amz-storage-class": "GLACIER"})
    assert (info.storage_class, info.archived) == ("GLACIER", True)
    assert decode_info("k", HEADERS).storage_class == "STANDARD"


@pytest.mark.parametrize(
    ("storage_class", "restore", "status", "archived"),
    [
        ("STANDARD", "", "", False),
        ("GLACIER", "", "", True),
        ("DEEP_ARCHIVE", 'ongoing-request="true"', "", True),
        ("GLACIER", 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"', "", False),
        ("GLACIER_IR", "", "", False),
        ("INTELLIGENT_TIERING", "", "ARCHIVE_ACCESS", True),
    ],
)
def test_what_is_archived(storage_class: str, restore: str, status: str, archived: bool) -> None:
    assert is_archived(storage_class, restore, status) is archived


@pytest.mark.parametrize("text", ["Sun, 22 Nov 3026 19:43:38 GMT", "yesterday", ""])
def test_what_is_no_date_of_a_file_is_corrupt(text: str) -> None:
    with pytest.raises(StoreError) as refused:
        parse_http_date_ns(text)
    assert refused.value.kind is StoreErrorKind.CORRUPT


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("rosUhgp5mIg=", "crc64nvme:ae8b14860a799888"),  # of b"123456789", as the CRC catalogue has it
        ("", ""),
        ("rosUhgp5mIg=-3", ""),
        ("AAAA", ""),
        ("no base64", ""),
    ],
)
def test_the_server_s_own_checksum(value: str, content: str) -> None:
    assert decode_checksum(value) == content
    assert decode_info("k", {**HEADERS, "x-amz-checksum-crc64nvme": value}).content == content
