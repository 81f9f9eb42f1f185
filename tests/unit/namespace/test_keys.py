"""File names as key parts and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.namespace.keys import name_to_part, needs_escape, part_to_name, part_to_names, unreachable_reason

NAMES = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.text("aé%F0159 .~", min_size=1).map(str.encode),
).filter(lambda name: b"/" not in name and b"\0" not in name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (b"plain", "plain"),
        ("gr\u00fc\u00df".encode(), "gr\u00fc\u00df"),
        (b"100% sure", "100% sure"),
        (b"50%25", "50%25"),
        (b"\xff", "%FF"),
        (b"a%\xff", "a%25%FF"),
        (b"%FF", "%25FF"),  # would be taken for the raw byte
        (b"%25FF", "%2525FF"),  # would be taken for the one above
    ],
)
def test_known_parts(name: bytes, part: str) -> None:
    assert name_to_part(name) == part


@given(NAMES)
def test_a_name_comes_back_from_its_part(name: bytes) -> None:
    raw = name if needs_escape(name) else None
    assert part_to_name(name_to_part(name), raw) == name
    assert name in part_to_names(name_to_part(name))


@given(NAMES, NAMES)
def test_different_names_have_different_parts(one: bytes, two: bytes) -> None:
    assert (name_to_part(one) == name_to_part(two)) == (one == two)


def test_a_raw_name_that_does_not_fit_its_key_is_not_believed() -> None:
    assert part_to_name("report", b"\xff") == b"report"
    assert part_to_name("a", b"../a") == b"a"
    assert part_to_name("%FF") == b"%FF"


@pytest.mark.parametrize(("part", "reason"), [("", "part ''"), ("..", "'..'"), ("a\0", "NUL"), ("x" * 256, "longer")])
def test_parts_that_no_directory_can_hold(part: str, reason: str) -> None:
    assert reason in unreachable_reason(part)


def test_usable_parts_have_no_reason() -> None:
    assert [unreachable_reason(part) for part in ("a", "...", " ", "x" * 255)] == ["", "", "", ""]
