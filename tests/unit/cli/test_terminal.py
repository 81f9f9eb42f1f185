"""What the commands print: widths, harmless names, and the ends that become exit codes."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfs.cli import terminal
from tierfs.control.exitcodes import MEANINGS, ExitCode, ExitError, table


@given(st.text(max_size=60))
def test_printable_text_is_printable_and_leaves_good_text_alone(text: str) -> None:
    shown = terminal.printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


def test_bytes_that_are_no_text_show_as_their_value() -> None:
    name = os.fsdecode(b"a\xff\n\x1b[2J") + "\u202e\ud800"
    assert terminal.printable(name) == "a\\xff\\x0a\\x1b[2J\\u202e\\ud800"


@given(st.text("ab/é", max_size=200), st.integers(0, 100))
def test_shortened_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    short = terminal.shortened(text, width)
    assert len(short) <= width or short == text
    if len(text) > width >= 8:
        assert len(short) == width and "..." in short
        assert text.startswith(short.split("...")[0]) and text.endswith(short[-2:])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (303, "5 min 3 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3700, "3 d 1 h"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert terminal.format_age(seconds) == text


def test_tables_and_fields_fit_eighty_columns() -> None:
    path = "/very/long/" + "x" * 200
    text = terminal.table(("A", "B", "C"), [(path, "1", path), ("short", "22", "s3://b")])
    text += "\n" + terminal.fields(path, [("key", path), ("longer label", "v\x1b")])
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text and "s3://b" in text


@pytest.mark.parametrize(
    ("progress", "text"),
    [({"files": 1, "bytes": 0}, "1 file, 0 B left"), ({"files": 12, "bytes": 3 << 20}, "12 files, 3.0 MiB left")],
)
def test_progress_in_words(progress: dict[str, int], text: str) -> None:
    assert terminal.left(progress) == text


def test_progress_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    line = terminal.ProgressLine("uploading")
    line({"files": 1, "bytes": 1})
    line.clear()
    assert capsys.readouterr() == ("", "")


def test_an_exit_error_is_one_line_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise ExitError(ExitCode.NOT_FOUND, "no\nsuch \x1b file", errno=2)

    assert terminal.run_command("tierctl", body) == 6
    assert capsys.readouterr() == ("", "tierctl: no\\x0asuch \\x1b file\n")
    assert terminal.run_command("tierctl", body, as_json=True) == 6
    out, err = capsys.readouterr()
    error = {"exit_code": 6, "message": "no\nsuch \x1b file", "errno": 2}
    assert json.loads(out) == {"schema": 1, "error": error}
    assert err.count("\n") == 1


def test_an_interrupt_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise KeyboardInterrupt

    assert terminal.run_command("tierctl", body) == 130
    assert capsys.readouterr().err == "tierctl: interrupted\n"


def test_every_exit_code_has_one_meaning_in_the_table() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert len(set(MEANINGS.values())) == len(MEANINGS)
    assert len(table().splitlines()) == len(ExitCode)
    assert table(ExitCode.NO_FUSE) == "   10  FUSE cannot be used on this machine"
