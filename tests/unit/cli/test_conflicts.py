"""tierctl conflicts against the real control server."""

import json
from pathlib import Path

import pytest

from tests.support.control_daemon import ScriptedDaemon
from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import conflicts, tierctl
from tierfs.control.comparing import text_of
from tierfs.control.exitcodes import ExitCode
from tierfs.policy.resolution import Keep, Kind

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight


def _filled(daemon: ScriptedDaemon) -> None:
    daemon.add_conflict(1, "mine")
    daemon.add_conflict(2, "dir/" + "long" * 60, state="gone")
    daemon.add_conflict(3, "dir/esc\x1b[31m")


def test_list_fits_eighty_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        assert run(capsys, "conflicts", "list", place) == (0, "", "")
        _filled(daemon)
        code, out, err = run(capsys, "conflicts", "list", place)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["ID", "WHEN", "WHAT", "STATE"]
    assert lines[1].startswith("1   2023-11-1") and lines[1].endswith("changed here and there  open")
    assert lines[2:4] == ["  winner  mine", "  loser   mine.conflict-here-20231114T221320Z"]
    assert lines[4].endswith("gone") and "..." in lines[5]
    assert "\x1b" not in out and r"esc\x1b[31m" in out


def test_list_asks_for_every_page_and_for_one_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        _filled(daemon)
        everything = json.loads(run(capsys, "conflicts", "list", "--json")[1])["conflicts"]
        assert [found["id"] for found in everything] == [1, 2, 3]
        below = json.loads(run(capsys, "conflicts", "list", place / "dir", "--json")[1])["conflicts"]
        assert [found["id"] for found in below] == [2, 3]


def test_diff_shows_facts_and_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        _filled(daemon)
        daemon.texts = ["one\n\ttwo\x1b\n", "one\n\tthree"]
        code, out, err = run(capsys, "conflicts", "diff", 1)
        assert (code, err) == (0, "")
        for text in ("conflict 1: changed here and there", "ETag      0123", "ETag      not in the bucket yet"):
            assert text in out
        assert "crc64nvme:00000000000000aa" in out and "crc64nvme:00000000000000bb" in out
        assert out.splitlines()[-7:] == [
            "--- mine",
            "+++ mine.conflict-here-20231114T221320Z",
            "@@ -1,2 +1,2 @@",
            " one",
            "-\ttwo\\x1b",
            "+\tthree",
            "\\ No newline at end of file",
        ]
        content = json.loads(run(capsys, "conflicts", "diff", 1, "--json")[1])["content"]
        assert content["diff"][4] == "-\ttwo\x1b" and "texts" not in content


def test_diff_of_what_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        _filled(daemon)
        daemon.texts = None
        assert run(capsys, "conflicts", "diff", 1)[1].splitlines()[-1] == "binary differs at offset 0"
        assert json.loads(run(capsys, "conflicts", "diff", 1, "--json")[1])["content"]["diff"] is None


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (None, "there are not two whole versions to compare"),
        ({"kind": "type", "differs_at": None}, "the types differ"),
        ({"kind": "long", "differs_at": 7}, "too long for a diff: differs at offset 7"),
        (
            {"kind": "long", "differs_at": None, "looked_at_bytes": 1 << 20},
            "no difference in the first 1.0 MiB; nothing more was compared",
        ),
        ({"kind": "long", "differs_at": None, "looked_at_bytes": 2 << 20}, "the bytes are the same"),
        ({"kind": "empty", "differs_at": None, "looked_at_bytes": 0}, "the bytes are the same"),
    ],
)
def test_verdicts(content: dict[str, object] | None, verdict: str) -> None:
    side = {"size_bytes": 2 << 20}
    assert conflicts._verdict({"content": content, "bucket": side, "local": side}) == verdict


def test_resolve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        _filled(daemon)
        code, out, err = run(capsys, "conflicts", "resolve", 1, "--keep", "local", "--dry-run")
        copy = "mine.conflict-here-20231114T221320Z"
        assert (code, out, err) == (0, f"conflict 1 would be resolved, kept local: mv {copy} mine\n", "")
        assert daemon.resolved == [(1, Keep.LOCAL, True)]
        assert run(capsys, "conflicts", "resolve", 1, "--keep", "bucket", "--mount", place)[1].endswith(
            f": rm {copy}\n"
        )
        assert run(capsys, "conflicts", "resolve", 1, "--keep", "both")[1] == "conflict 1 resolved, kept both\n"


def test_what_cannot_be_resolved_does_not_hold_up_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (_, daemon):
        _filled(daemon)
        code, out, err = run(capsys, "conflicts", "resolve", 99, 1, 3, "--keep", "both", "--json")
        assert code == ExitCode.NOT_FOUND
        assert err == "tierctl: conflict 99: there is no conflict 99\n"
        answer = json.loads(out)
        assert [done["id"] for done in answer["resolved"]] == [1, 3]
        assert answer["failed"] == [
            {"id": 99, "exit_code": 6, "message": "there is no conflict 99", "errno": 2},
        ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["conflicts"], "usage: tierctl conflicts [-h] list|diff|resolve"),
        (["conflicts", "explode"], "there is no 'explode'; choose from 'list', 'diff', 'resolve'"),
        (["conflicts", "diff"], "usage: tierctl conflicts diff"),
        (["conflicts", "diff", "mine"], "'mine' is not the number of a conflict; tierctl conflicts list shows them"),
        (["conflicts", "resolve", "1"], "the following arguments are required: --keep"),
        (["conflicts", "resolve", "1", "--keep", "best"], "choose from 'bucket', 'local', 'both'"),
    ],
)
def test_wrong_usage_names_the_right_usage(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tierctl.main(argv)
    assert caught.value.code == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_the_words_are_those_of_the_daemon() -> None:
    assert tuple(Keep) == conflicts.KEEP_CHOICES
    assert set(conflicts._KINDS) == set(Kind)


def test_lines_end_where_diff_ends_them() -> None:
    assert conflicts._lines("a\x0cb\r\nc") == ["a\x0cb\r\n", "c"]
    assert conflicts._lines("") == []
    assert text_of(b"a\0") is None
