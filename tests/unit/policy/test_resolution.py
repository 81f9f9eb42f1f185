"""Every cell of the table of `policy/resolution.py`."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.policy.resolution import COPY_SIDE, FILE_SIDE, Keep, Kind, Side, Step, UnresolvableError, is_open, step

TABLE = [
    (Kind.BOTH_CHANGED, Step.REMOVE_COPY, Step.COPY_OVER_FILE),
    (Kind.NAME_TAKEN, Step.COPY_OVER_FILE, Step.REMOVE_COPY),
    (Kind.DELETED_HERE, Step.NOTHING, Step.REMOVE_FILE),
    (Kind.BASE_LOST, Step.REMOVE_COPY, None),
]


@pytest.mark.parametrize(("kind", "bucket", "local"), TABLE)
def test_table(kind: Kind, bucket: Step, local: Step | None) -> None:
    assert step(kind, Keep.BUCKET, has_file=True, has_copy=True) is bucket
    assert step(kind, Keep.BOTH, has_file=True, has_copy=True) is Step.NOTHING
    if local is not None:
        assert step(kind, Keep.LOCAL, has_file=True, has_copy=True) is local
        return
    with pytest.raises(UnresolvableError) as caught:
        step(kind, Keep.LOCAL, has_file=True, has_copy=True)
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("kind", Kind)
def test_open_as_long_as_somebody_has_to_decide(kind: Kind) -> None:
    is_about_file = kind is Kind.DELETED_HERE
    for has_file in (False, True):
        for has_copy in (False, True):
            assert is_open(kind, has_file=has_file, has_copy=has_copy) is (has_file if is_about_file else has_copy)


@given(st.sampled_from(Kind), st.sampled_from(Keep), st.booleans(), st.booleans())
def test_what_is_kept_is_there_afterwards(kind: Kind, keep: Keep, has_file: bool, has_copy: bool) -> None:
    there = {side for side, has in ((FILE_SIDE[kind], has_file), (COPY_SIDE[kind], has_copy)) if side and has}
    try:
        done = step(kind, keep, has_file=has_file, has_copy=has_copy)
    except UnresolvableError:
        assert keep is not Keep.BOTH
        assert Side(keep.value) not in there or kind is Kind.BASE_LOST
        return
    left = set(there)
    if done is Step.REMOVE_COPY:
        left.discard(COPY_SIDE[kind])
        assert has_copy
    elif done is Step.REMOVE_FILE:
        left.discard(FILE_SIDE[kind])
        assert has_file
    elif done is Step.COPY_OVER_FILE:
        left = there - {FILE_SIDE[kind]}
        assert has_copy
    if keep is Keep.BOTH:
        assert left == there
    elif kind in (Kind.BOTH_CHANGED, Kind.NAME_TAKEN) and done is not Step.NOTHING:
        assert left == {Side(keep.value)}
    elif done is not Step.NOTHING:
        assert left <= {Side(keep.value)}
