"""Numbers, modes and times as strangers spell them."""

import pytest

from tierfs.objectstore import dialect_values as values


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("0", 0),
        ("1.5", 1_500_000_000),
        ("1.", 1_000_000_000),
        ("1.0000000019", 1_000_000_001),
        ("-1.5", -1_500_000_000),
        ("1595002920.123456789", 1_595_002_920_123_456_789),  # a float would end in ...768
        ("1969-12-31T23:59:59.75Z", -250_000_000),
        ("2020-07-17T18:22:00.000000001+02:00", 1_595_002_920_000_000_001),
        ("2017-09-24 19:53:52.000000000 +0000", 1_506_282_832_000_000_000),
        ("1595002920000", None),  # milliseconds by somebody: beyond the range of 64 bits
        ("1e9", None),
        ("2020-13-45T00:00:00Z", None),
        ("2020-01-01T00:00:00", None),  # no zone: nobody knows when
        ("\u0663", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_exact(text: str | None, time_ns: int | None) -> None:
    assert values.time_ns(text) == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1595002920000000001ns", 1_595_002_920_000_000_001),
        ("1595002920000", 1_595_002_920_000_000_000),
        ("-5ns", -5),
        ("9223372036854775807ns", 2**63 - 1),
        ("9223372036854775808ns", None),
        ("5 ns", None),
        ("5us", None),
        ("ns", None),
        ("", None),
        (None, None),
    ],
)
def test_times_of_the_file_family(text: str | None, time_ns: int | None) -> None:
    assert values.file_time_ns(text) == time_ns


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("4294967294", 2**32 - 2),
        ("4294967295", None),
        ("-1", None),
        ("root", None),
        ("1.0", None),
    ],
)
def test_numbers(text: str, number: int | None) -> None:
    assert values.number(text) == number


@pytest.mark.parametrize(("text", "number"), [("1abc", 0x1ABC), ("103", 0x103), ("0x1", 1), ("g", None), ("", None)])
def test_hexadecimal_numbers(text: str, number: int | None) -> None:
    assert values.hexadecimal(text) == number


@pytest.mark.parametrize(
    ("text", "mode"),
    [("0100644", 0o100644), ("644", 0o644), ("0170644", None), ("0o644", None), ("888", None), ("17777777", None)],
)
def test_octal_modes(text: str, mode: int | None) -> None:
    assert values.octal_mode(text) == mode


@pytest.mark.parametrize(("text", "mode"), [("33188", 0o100644), ("420", 0o644), ("65535", None), ("65536", None)])
def test_decimal_modes(text: str, mode: int | None) -> None:
    assert values.decimal_mode(text) == mode
