"""All of a claim or none of it."""

import pytest

from tierfs.sync.claims import Claims


def test_a_claim_is_whole_or_not_at_all_and_ends_with_its_block() -> None:
    claims = Claims()
    with claims.try_hold(["a", 1]) as is_held:
        assert is_held
        with claims.try_hold(["b", "a"]) as other:
            assert not other
        assert "b" not in claims  # the refused one left nothing behind
        assert "a" in claims
        with claims.try_hold(["b"]) as free:
            assert free
    assert "a" not in claims
    with claims.try_hold([1]) as again:
        assert again


def test_an_error_inside_gives_it_back() -> None:
    claims = Claims()
    with pytest.raises(ValueError, match="inside"), claims.try_hold(["a"]):
        raise ValueError("inside")
    assert "a" not in claims
