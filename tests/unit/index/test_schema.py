"""Keys: their binary order is the order of what they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from tierfs.index.schema import KEY_MAX_BYTES, KEY_STOP, hash_key, pack_id, pack_pair, unpack_id, unpack_pair
from tierfs.model import KEY_MAX_BYTES as OBJECT_KEY_MAX_BYTES

U63 = st.integers(0, 2**63 - 1)


@given(U63, U63, U63)
def test_keys_sort_as_their_numbers(first: int, second: int, third: int) -> None:
    assert (pack_id(first) < pack_id(second)) == (first < second)
    assert (pack_pair(first, second) < pack_pair(third, second)) == (first < third)
    assert (pack_pair(first, second) < pack_pair(first, third)) == (second < third)
    assert pack_id(first) < KEY_STOP
    assert pack_pair(first, second) < pack_id(first + 1)


@given(U63, U63, st.binary(max_size=255))
def test_numbers_come_back(first: int, second: int, name: bytes) -> None:
    assert unpack_id(pack_id(first) + name) == first
    assert unpack_pair(pack_pair(first, second) + name) == (first, second)


def test_an_object_key_fits_no_row_and_its_hash_does() -> None:
    assert OBJECT_KEY_MAX_BYTES > KEY_MAX_BYTES
    assert len(hash_key("k" * OBJECT_KEY_MAX_BYTES)) == 16
    assert hash_key("a/b") != hash_key("a/c")
    # on disk: must never change
    assert hash_key("a/b").hex() == "354b81d0032a270248f71e9475860604"
