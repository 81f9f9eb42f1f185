"""The table of policy.scrub."""

import pytest

from tierfs.policy.scrub import Healing, Side, healing_of

SAME, BAD, NONE = Side.AS_WRITTEN, Side.DAMAGED, Side.UNKNOWN


@pytest.mark.parametrize(
    ("here", "bucket", "healing"),
    [
        (SAME, SAME, Healing.NOTHING),
        (SAME, BAD, Healing.UPLOAD),
        (SAME, NONE, Healing.NOTHING),
        (BAD, SAME, Healing.FETCH),
        (BAD, BAD, Healing.TELL),
        (BAD, NONE, Healing.TELL),
        (NONE, SAME, Healing.NOTHING),
        (NONE, BAD, Healing.TELL),
        (NONE, NONE, Healing.NOTHING),
    ],
)
def test_only_a_side_that_is_proven_goes_over_the_other(here: Side, bucket: Side, healing: Healing) -> None:
    assert healing_of(here, bucket) is healing
