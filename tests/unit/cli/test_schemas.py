"""What is said of the answers for programs: every verb has its place, and prints what is said."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.test_answers import COMMANDS as ON_A_MOUNT
from tests.support.answers import answers, misfits, wrong_in
from tests.support.control_daemon import ScriptedDaemon
from tests.unit.cli.test_tierctl import mount, run, run_directory
from tierfs.cli import manual, schemas, tierctl
from tierfs.control.exitcodes import ExitCode

__all__ = ["run_directory"]  # the fixture that keeps other mounts of this machine out of sight

COMMANDS = {
    "status": "status",
    "info": "info {place}/dir/a",
    "mounts": "mounts",
    "sync": "sync",
    "sync held": "sync held",
    "sync approve": "sync approve",
    "sync reject": "sync reject",
    "wait": "wait --synced",
    "queue": "queue",
    "conflicts list": "conflicts list",
    "conflicts diff": "conflicts diff 1",
    "conflicts resolve": "conflicts resolve 1 --keep both",
    "versions": "versions {place}/dir",
    "undelete": "undelete {place}/dir",
    "events status": "events status",
    "events setup": "events setup --dry-run",
    "archive": "archive {place}/dir",
    "restore": "restore {place}/dir",
    "tier set": "tier set {place}/dir STANDARD_IA",
    "import": "import {place}/dir",
    "export": "export {place}/dir",
    "warm": "warm {place}/dir --dry-run",
    "salvage": "salvage {place}",
    "tasks list": "tasks list",
    "tasks show": "tasks show 1",
    "tasks wait": "tasks wait 1",
    "tasks cancel": "tasks cancel 1",
    "hint": "hint willneed {place}/dir",
    "latency": "latency",
    "top": "top --once --interval 0.1",
    "stats": "stats --count 2 --interval 0.1",
}


def verbs_of(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name
    for action in below:
        for word, verb in action.choices.items():
            yield from verbs_of(verb, f"{name} {word}".lstrip())


def filled(daemon: ScriptedDaemon) -> None:
    """Something of everything."""
    daemon.pending, daemon.stalled = {}, False
    daemon.add_conflict(1, "mine")
    daemon.held = ["theirs"]
    daemon.deleted = ["dir/gone"]
    daemon.tasks.add(state="done")


def test_every_verb_has_its_place() -> None:
    assert set(verbs_of(tierctl.parser())) - {"cost prices"} == set(schemas.ANSWERS)
    assert set(schemas.ANSWERS) >= schemas.LINES
    assert set(COMMANDS) | set(ON_A_MOUNT) == set(schemas.ANSWERS), "those that are tried, here or on a mount"


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_verb_prints_what_is_said(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, daemon):
        filled(daemon)
        code, out, err = run(capsys, *COMMANDS[verb].format(place=place).split(), "--json")
        assert code in (ExitCode.OK, ExitCode.CANCELLED), err
    assert misfits(verb, out) == []


def test_what_fails_prints_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mount(tmp_path) as (place, _):
        (place / "absent").touch()
        code, out, _ = run(capsys, "info", place / "absent", "--json")
    assert code == ExitCode.NOT_FOUND
    assert misfits("status", out), "it is no status"
    assert [wrong_in({"schema": schemas.INT, **schemas.ERROR}, answer, "") for answer in answers(out)] == [[]]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"a": 1, "b": None, "c": [{"d": "x"}]}, []),
        ({"a": 1, "b": 0.5, "c": [], "e": True}, []),
        ({"a": True, "b": None, "c": []}, [".a: True is no int"]),
        ({"a": 1, "c": [{"d": "x"}, {}]}, [".b: is missing", ".c[].d: is missing"]),
        ({"a": 1, "b": "x", "c": {}, "f": 1}, [".b: 'x' is no number", ".c: no list", ".f: nobody knows of it"]),
    ],
)
def test_differences_are_found(value: object, wrong: list[str]) -> None:
    shape = {
        "a": schemas.INT, "b": (schemas.NUMBER, schemas.NULL), "c": [{"d": schemas.TEXT}], "e?": schemas.FLAG,
    }  # fmt: skip
    assert wrong_in(shape, value, "") == wrong


def test_help_and_manual_name_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tierctl.main(["tasks", "list", "--help"])
    said = capsys.readouterr().out
    assert "--json prints an object, schema 1:\n  tasks[].id                         int\n" in said
    assert "tasks[].eta_s                      number or null\n" in said
    page = dict(manual.files())["man/man1/tierctl.1"].replace("\\-", "-")
    for verb in schemas.ANSWERS:
        assert schemas.text_of(verb) in page
    assert "an object a line" in schemas.text_of("watch") and schemas.text_of("cost prices") == ""
