"""The table of policy.salvage, row by row."""

import pytest

from tierfs.policy.salvage import Fate, There, fate_of


@pytest.mark.parametrize(
    ("there", "same_boot", "other_boot"),
    [
        (There.NOTHING, Fate.RESTORE, Fate.RESTORE),
        (There.BASE, Fate.RESTORE, Fate.BESIDE),
        (There.SAME, Fate.DONE, Fate.DONE),
        (There.OTHER, Fate.BESIDE, Fate.BESIDE),
    ],
)
def test_whole_files(there: There, same_boot: Fate, other_boot: Fate) -> None:
    assert fate_of(there, is_whole=True, is_same_boot=True) is same_boot
    assert fate_of(there, is_whole=True, is_same_boot=False) is other_boot


@pytest.mark.parametrize("there", [There.NOTHING, There.BASE, There.OTHER])
def test_what_has_gaps_never_gets_a_name(there: There) -> None:
    assert fate_of(there, is_whole=False, is_same_boot=True) is Fate.KEEP
