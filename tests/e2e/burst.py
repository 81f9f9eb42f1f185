"""A stream of file operations that can be replayed, and a writer that logs which of them were acknowledged.

    python -m tests.e2e.burst DIRECTORY LOG SEED

applies the operations of SEED one after the other below DIRECTORY and appends a byte to LOG after each one that
returned, until one fails. The same seed gives the same operations, so a replay of as many as LOG has bytes, in a native
directory, is what must be there afterwards. One operation more may or may not have happened. Each is one system call
that changes something, so there is nothing in between, but for a write: SIGKILL ends write(2) at a page (see `pieces`).
"""

import errno
import itertools
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve, frozen

# at most one FUSE request
WRITE_LIMIT_BYTES = 60_000
PAGE_BYTES = 4096


@frozen
class Step:
    """One operation: its verb, the path, and what else the verb needs."""

    verb: str
    path: str
    other: str = ""
    number: int = 0
    data: bytes = b""


def steps(seed: int) -> Iterator[Step]:
    """The endless stream of operations of a seed; each is possible after those before it."""
    chooser = random.Random(seed)
    files: list[str] = []
    directories = [""]
    for number in itertools.count():
        new = os.path.join(chooser.choice(directories), f"n{number:06}")
        verb = chooser.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if verb in _OF_A_FILE and not files:
            verb = "create"
        path = chooser.choice(files) if verb in _OF_A_FILE else new
        if verb in ("create", "mkdir"):
            (files if verb == "create" else directories).append(path)
            yield Step(verb, path)
        elif verb == "symlink":
            yield Step(verb, path, other="a/target")
        elif verb in ("rename", "link"):
            if verb == "rename":
                files.remove(path)
            files.append(new)
            yield Step(verb, path, other=new)
        elif verb == "replace":
            target = chooser.choice(files)
            if target != path:
                files.remove(path)
                yield Step("rename", path, other=target)
        elif verb == "move_directory":
            old = chooser.choice(directories)
            if old and not f"{new}/".startswith(f"{old}/"):
                for names in (files, directories):
                    names[:] = [new + n[len(old) :] if f"{n}/".startswith(f"{old}/") else n for n in names]
                yield Step("rename", old, other=new)
        elif verb == "unlink":
            files.remove(path)
            yield Step(verb, path)
        else:
            size = chooser.randrange(1, WRITE_LIMIT_BYTES)
            yield Step(verb, path, number=chooser.randrange(100_000), data=chooser.randbytes(size))


_WEIGHTS = {
    "create": 20,
    "write": 25,
    "append": 10,
    "truncate": 4,
    "mkdir": 5,
    "symlink": 3,
    "link": 3,
    "rename": 10,
    "replace": 5,
    "move_directory": 2,
    "unlink": 6,
    "chmod": 4,
    "utime": 4,
    "setxattr": 3,
    "fsync": 2,
}
_OF_A_FILE = {
    "write",
    "append",
    "truncate",
    "link",
    "rename",
    "replace",
    "unlink",
    "chmod",
    "utime",
    "setxattr",
    "fsync",
}


def apply(root: Path, step: Step) -> None:
    """Carries one operation out below `root`; raises what the operating system raises."""
    path, other = root / step.path, root / step.other
    match step.verb:
        case "create":
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        case "write" | "append" | "fsync":
            _with_descriptor(path, step)
        case "truncate":
            os.truncate(path, step.number)
        case "mkdir":
            path.mkdir()
        case "symlink":
            path.symlink_to(step.other)
        case "link":
            os.link(path, other)
        case "rename":
            os.rename(path, other)
        case "unlink":
            path.unlink()
        case "chmod":
            path.chmod(0o600 | step.number % 0o200)
        case "utime":
            os.utime(path, ns=(step.number, step.number * 1_000_000_007))
        case "setxattr":
            os.setxattr(path, "user.burst", step.data[:50])
        case verb:
            raise ValueError(verb)


def _with_descriptor(path: Path, step: Step) -> None:
    fd = os.open(path, os.O_WRONLY | (os.O_APPEND if step.verb == "append" else 0))
    try:
        if step.verb == "fsync":
            os.fsync(fd)
        elif step.verb == "append":
            written = os.write(fd, step.data)
            assert written == len(step.data)
        else:
            written = os.pwrite(fd, step.data, step.number)
            assert written == len(step.data)
    finally:
        os.close(fd)


def pieces(root: Path, step: Step) -> Iterator[Step]:
    """A write or an append in steps between which a kill can end it; nothing for other operations."""
    if step.verb not in ("write", "append"):
        return
    start = step.number if step.verb == "write" else (root / step.path).stat().st_size
    at = 0
    while at < len(step.data):
        stop = min(len(step.data), at + PAGE_BYTES - (start + at) % PAGE_BYTES)
        yield evolve(step, number=step.number + at, data=step.data[at:stop])
        at = stop


def nth(seed: int, number: int) -> Step:
    """The step after `number` others."""
    return next(itertools.islice(steps(seed), number, None))


def replay(root: Path, seed: int, count: int) -> None:
    """The first `count` operations of a seed, below the new directory `root`."""
    root.mkdir(parents=True)
    for step in itertools.islice(steps(seed), count):
        apply(root, step)


def main() -> int:
    """Writes until the mount goes away; any other error is told and makes the exit code 1."""
    root, log_path, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    step = None
    try:
        for step in steps(seed):
            apply(root, step)
            os.write(log, b".")
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED):
            print(f"{step and (step.verb, step.path, step.other)}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
