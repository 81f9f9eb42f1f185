"""To whom belongs what somebody makes."""

import pytest

from tierfs.policy.identity import Ownership, Squash


@pytest.mark.parametrize(
    ("squash", "uid", "expected"),
    [
        (Squash.NONE, 0, (0, 5)),
        (Squash.NONE, 1000, (1000, 5)),
        (Squash.ROOT, 0, (77, 78)),
        (Squash.ROOT, 1000, (1000, 5)),
        (Squash.ALL, 0, (77, 78)),
        (Squash.ALL, 1000, (77, 78)),
    ],
)
def test_the_owner_of_what_is_made(squash: Squash, uid: int, expected: tuple[int, int]) -> None:
    assert Ownership(squash, 77, 78).of(uid, 5) == expected


def test_by_default_everybody_owns_what_he_makes() -> None:
    assert Ownership().of(0, 0) == (0, 0)
