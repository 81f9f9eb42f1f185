"""Flags by table against the integers that they are, and revise against attrs.evolve."""

import itertools

import pytest
from attrs import evolve

from tierfs.model import ROOT_INO, Base, Inode, InodeFlag, revise

ALL = [InodeFlag(bits) for bits in range(2 * max(InodeFlag))]


def test_flag_operators_are_those_of_the_bits() -> None:
    for one, other in itertools.product(ALL, ALL):
        for result, bits in ((one | other, int(one) | int(other)), (one & other, int(one) & int(other))):
            assert isinstance(result, InodeFlag)
            assert result.value == bits
        assert (other in one) == (int(one) & int(other) == int(other))


def test_a_flag_is_taken_away_with_its_complement() -> None:
    for one, other in itertools.product(ALL, ALL):
        assert (one & ~other).value == int(one) & ~int(other)


def test_what_is_no_flag_is_in_none() -> None:
    assert "LISTED" not in InodeFlag.LISTED  # type: ignore[operator]


def test_revise_changes_a_copy() -> None:
    inode = Inode(ROOT_INO, 0o40755, 1, 2, 0, 2, 1, 2, 3, 4, ROOT_INO, b"", base=Base("e", 1, 2))
    revised = revise(inode, nlink=3, flags=InodeFlag.LISTED)
    assert revised == evolve(inode, nlink=3, flags=InodeFlag.LISTED)
    assert hash(revised) == hash(evolve(inode, nlink=3, flags=InodeFlag.LISTED))
    assert (inode.nlink, inode.flags) == (2, InodeFlag.NONE)
    with pytest.raises(AttributeError):
        revised.nlink = 4  # type: ignore[misc]
