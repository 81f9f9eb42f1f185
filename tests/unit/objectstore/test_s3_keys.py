"""Keys: S3's limits, and which of them obstore can be trusted with."""

import pytest

from tierfs.errors import StoreError, StoreErrorKind
from tierfs.objectstore.s3_keys import fits_obstore, fits_xml, full_key, quote_key


@pytest.mark.parametrize("key", ["a", "a/b", "...", "a/...", ".hidden", "a b", "%41", "ü", "a\\b", "x" * 1024, "-"])
def test_ordinary_keys_go_through_obstore(key: str) -> None:
    assert fits_obstore(key)


@pytest.mark.parametrize(
    "key", ["a/", "/a", "a//b", "/", "//", ".", "..", "./a", "a/.", "a/./b", "a/../b", "a\nb", "\x00", "\x7f", "a/.."]
)
def test_keys_that_obstore_changes_or_refuses_do_not(key: str) -> None:
    assert not fits_obstore(key)


def test_the_prefix_counts_in_the_length() -> None:
    assert full_key("p/", "k" * 1022) == "p/" + "k" * 1022
    with pytest.raises(StoreError) as caught:
        full_key("p/", "é" * 512)
    assert (caught.value.kind, caught.value.key) == (StoreErrorKind.KEY_TOO_LONG, "é" * 512)


@pytest.mark.parametrize("key", ["", "\udcff"])
def test_keys_that_cannot_be(key: str) -> None:
    with pytest.raises(StoreError, check=lambda error: error.kind is StoreErrorKind.INVALID):
        full_key("", key)


def test_the_prefix_itself_is_a_key() -> None:
    assert full_key("p/", "") == "p/"


@pytest.mark.parametrize(("key", "fits"), [("a\tb\nc", True), ("a\x01", False), ("\ufffe", False), ("🙂", True)])
def test_keys_in_xml(key: str, fits: bool) -> None:
    assert fits_xml(key) is fits


def test_quoting_is_what_sigv4_signs() -> None:
    assert quote_key("a b/ü+%~*'") == "a%20b/%C3%BC%2B%25~%2A%27"
