"""From a command line that is not carried out to what tierfs would have to do for it. Standard library only."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tierfs.control.exitcodes import ExitCode, ExitError

Question = Callable[[str], bool]


class Step(NamedTuple):
    """One deed (see `policy.forecast`) on one path."""

    deed: str
    path: str
    recursive: bool = True
    storage_class: str = ""
    speed: str = ""


_ATTRIBUTES: Final = {"chmod": 1, "chown": 1, "chgrp": 1, "touch": 0, "setfattr": 0}
"""How many words come before the paths."""
_WITH_VALUE: Final = {
    "touch": ("-d", "-t", "-r", "--date", "--reference"),
    "setfattr": ("-n", "-v", "-x", "--name", "--value", "--remove"),
    "archive": ("--class", "--filelist"),
    "restore": ("--speed", "--days", "--filelist"),
    "head": ("-n", "-c"),
    "tail": ("-n", "-c"),
    "grep": ("-e", "-f"),
}
_READERS: Final = {"cat": 0, "md5sum": 0, "sha256sum": 0, "head": 0, "tail": 0, "wc": 0, "grep": 1}
_TASKS: Final = {"warm": "warm", "release": "release", "archive": "archive", "restore": "restore"}
_SHELL: Final = frozenset("|&;<>()")
KNOWN: Final = (*_ATTRIBUTES, "cp", "mv", "rm", "rmdir", *_READERS, *_TASKS)


def parse(command: str, inside: Question, is_directory: Question) -> Sequence[Step]:
    """Raises ExitError(USAGE) for what is no command whose cost is known. `inside`: is a path in a mount?"""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ExitError(ExitCode.USAGE, f"{command!r} is no command: {error}") from None
    if words[:1] == ["tierctl"]:
        words = words[1:]
    program, *rest = words or [""]
    program = program.rpartition("/")[2]
    if program not in KNOWN:
        raise ExitError(ExitCode.USAGE, f"what {program or 'nothing'!r} costs is not known; known: {', '.join(KNOWN)}")
    if any(_SHELL & set(word) == set(word) for word in rest if word):
        raise ExitError(ExitCode.USAGE, "one command at a time, without pipes and redirections")
    options, paths = _sorted(program, rest)
    return _steps(program, options, paths, inside, is_directory)


def _sorted(program: str, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options with their values, and the other words."""
    options, others, valued = {}, [], _WITH_VALUE.get(program, ())
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            others += left
            break
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            others.append(word)
        elif name in valued and not equals:
            options[name] = left.pop(0) if left else ""
        else:
            options[name] = value
    return options, others


def _steps(
    program: str, options: dict[str, str], words: list[str], inside: Question, is_directory: Question
) -> Sequence[Step]:
    before = {**_ATTRIBUTES, **_READERS}.get(program, 0)
    if program in _ATTRIBUTES and "--reference" in options:
        before = 0
    paths = words[before:]
    least = 2 if program in ("mv", "cp") else 1
    if len(paths) < least:
        raise ExitError(ExitCode.USAGE, f"{program}: {'two paths are' if least == 2 else 'a path is'} missing")
    if program in ("mv", "cp"):
        above = paths[-1] if is_directory(paths[-1]) else _above(paths[-1])
        return _transfer(program, paths[:-1], above, _is_recursive(options), inside)
    for path in paths:
        _require(inside, path)
    if program in _TASKS:
        storage_class = options.get("--class", "GLACIER") if program == "archive" else ""
        speed = options.get("--speed", "bulk") if program == "restore" else ""
        return [Step(_TASKS[program], path, True, storage_class, speed) for path in paths]
    if program in ("rm", "rmdir"):
        return [*(Step("remove", path, _is_recursive(options)) for path in paths), *_touched(map(_above, paths))]
    if program in _READERS:
        return [Step("read", path, program == "grep" and _is_recursive(options)) for path in paths]
    return [Step("attributes", path, _is_recursive(options)) for path in paths]


def _transfer(program: str, sources: list[str], target: str, recursive: bool, inside: Question) -> list[Step]:
    """`target`: the directory that they go to."""
    for path in sources:
        _require(inside, path)
    if program == "mv" and inside(target):
        return [*(Step("move", path) for path in sources), *_touched([*map(_above, sources), target])]
    if program == "mv":
        steps = [Step(deed, path) for path in sources for deed in ("read", "remove")]
        return [*steps, *_touched(map(_above, sources))]
    if inside(target):
        return [*(Step("copy", path, recursive) for path in sources), *_touched([target])]
    return [Step("read", path, recursive) for path in sources]


def _touched(directories: Iterable[str]) -> list[Step]:
    """The times of the directories change in which names come or go."""
    return [Step("attributes", path, False) for path in dict.fromkeys(directories)]


def _above(path: str) -> str:
    return str(Path(path).absolute().parent)


def _is_recursive(options: dict[str, str]) -> bool:
    return any(
        name in ("--recursive", "--archive") or (not name.startswith("--") and not set(name).isdisjoint("rRa"))
        for name in options
    )


def _require(inside: Question, path: str) -> None:
    if not inside(path):
        raise ExitError(ExitCode.USAGE, f"{path} is in no mount: what comes from elsewhere is not counted")
