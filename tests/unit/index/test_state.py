"""The index's own row, and the boot."""

import attrs
import pytest

from tierfs.errors import IndexDamageError
from tierfs.index.state import StateRow, read_boot_id

ROW = StateRow(2**63 - 1, 0x7FFF, 2**32 - 1, 2**63, 2**63 - 1, True, False, 2**48, -1)


def test_the_row_comes_back() -> None:
    assert StateRow.decode(ROW.encode()) == ROW
    other = attrs.evolve(ROW, is_clean=False, is_unrecovered=True, node=1)
    assert StateRow.decode(other.encode()) == other


@pytest.mark.parametrize(("at", "value", "message"), [(2, 2, "newer tierfs"), (0, 2, "newer tierfs"), (2, 0, "format")])
def test_another_version_is_refused(at: int, value: int, message: str) -> None:
    row = bytearray(ROW.encode())
    row[at] = value
    with pytest.raises(IndexDamageError, match=message):
        StateRow.decode(bytes(row))


def test_a_cut_row_is_damage() -> None:
    row = ROW.encode()
    for length in range(len(row)):
        with pytest.raises(IndexDamageError):
            StateRow.decode(row[:length])


def test_the_boot_id_of_this_machine_is_stable() -> None:
    assert read_boot_id() == read_boot_id() > 0
