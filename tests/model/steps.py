"""What happens to a shared bucket, as data: who does what, what fails, and how long nothing happens.

A history is a list of steps, so a failing one is printed, shrunk, and can be pasted into a list of regressions. Every
step is possible in every state: what cannot be done then (a file that is not there) is refused, as a program would see.
"""

import itertools
from typing import TypeAlias

from attrs import frozen
from hypothesis import strategies as st

A, B = "A", "B"
"""The mounts."""
OUTSIDE = "outside"
"""A client of the bucket that knows nothing of tierfs."""

FILES = ("f", "g", "d/f", "d/g", "d/e/f", "h/f")
DIRECTORIES = ("d", "d/e", "h")
MODES = (0o600, 0o640, 0o644)
REQUESTS = ("list", "head", "get", "get_whole", "put", "copy", "delete", "begin_upload", "put_part", "complete")
WRITES = ("put", "copy", "delete", "complete")
READS = ("get", "get_whole")


@frozen
class Write:
    """All of a file anew: made if it is not there, else read and written over, or cut to nothing by open."""

    by: str
    path: str
    tags: int = 1
    truncates: bool = False


@frozen
class Append:
    """Reads a file, and writes at its end."""

    by: str
    path: str
    tags: int = 1


@frozen
class Cut:
    """Reads a file, cuts it to its first `tags`, and makes it longer by zeros."""

    by: str
    path: str
    tags: int = 0


@frozen
class Remove:
    """unlink(2)."""

    by: str
    path: str


@frozen
class Rename:
    """rename(2); `mode`: "replace", "noreplace", "exchange". From outside a copy and a deletion."""

    by: str
    path: str
    to: str
    mode: str = "replace"


@frozen
class Link:
    """link(2). From outside a copy."""

    by: str
    path: str
    to: str


@frozen
class MakeDirectory:
    """mkdir(2). From outside a marker."""

    by: str
    path: str


@frozen
class RemoveDirectory:
    """rmdir(2). From outside the deletion of a marker."""

    by: str
    path: str


@frozen
class Chmod:
    """chmod(2). From outside other metadata under the same ETag."""

    by: str
    path: str
    mode: int


@frozen
class Hold:
    """A program opens a file and keeps it open."""

    by: str
    path: str
    writes: bool = False


@frozen
class HeldWrite:
    """The program that opened its file last, of those for writing, appends to it."""

    by: str


@frozen
class Close:
    """The program that opened its file first reads it once more and closes it."""

    by: str


@frozen
class Evict:
    """The hot tier has no room for a file."""

    by: str
    path: str


@frozen
class Sync:
    """All that waits is to be uploaded now."""

    by: str


@frozen
class Poll:
    """Every directory in use is compared with the bucket."""

    by: str


@frozen
class Deliver:
    """An event that waits reaches a mount, the one at this place of them; with `twice` it goes on waiting."""

    by: str
    at: int
    twice: bool = False


@frozen
class Wait:
    """Time passes; with 0 s all happens that takes none."""

    seconds: float


@frozen
class Slow:
    """Each request takes so long from now on: half of it before its effect and half after it."""

    seconds: float


@frozen
class Fail:
    """The next requests of a method fail: "refused" (503), "throttled", "timeout": before they have any effect;
    "lost": the answer gets lost after they had it; "late": they have it some seconds after the client gave up;
    "cut": a body ends too early."""

    method: str
    how: str
    times: int = 1


@frozen
class Kill:
    """SIGKILL for a mount's daemon; it starts again with the next step that needs it."""

    by: str


Step: TypeAlias = (
    Write | Append | Cut | Remove | Rename | Link | MakeDirectory | RemoveDirectory | Chmod | Hold | HeldWrite | Close
    | Evict | Sync | Poll | Deliver | Wait | Slow | Fail | Kill
)  # fmt: skip


BEFORE: tuple[Step, ...] = (
    *(MakeDirectory(A, path) for path in DIRECTORIES),
    Write(A, "f"),
    Write(A, "d/f"),
    Write(OUTSIDE, "g"),
    Sync(A),
    Poll(B),
    Append(B, "d/f"),
    Append(B, "g"),
    Sync(B),
)
"""What every history begins with, so that the steps find something."""


@frozen
class Setup:
    """How the mounts are set."""

    revalidate_s: float = 0.0
    quiet_s: float = 1.0
    reads_ahead: bool = False


_MOUNTS = st.sampled_from([A, B])
_ANYBODY = st.sampled_from([A, A, B, B, OUTSIDE])
_FILE = st.sampled_from([*["f"] * 4, *["d/f"] * 3, *FILES])
_DIRECTORY = st.sampled_from(DIRECTORIES)
_PATH = st.one_of(_FILE, _DIRECTORY)
_TAGS = st.sampled_from([1, 1, 5])
_FAILURES = st.one_of(
    st.builds(Fail, st.sampled_from(REQUESTS), st.sampled_from(["refused", "throttled", "timeout"]), st.integers(1, 3)),
    st.builds(Fail, st.sampled_from(WRITES), st.sampled_from(["lost", "late"]), st.integers(1, 2)),
    st.builds(Fail, st.sampled_from(READS), st.just("cut"), st.integers(1, 2)),
)
_FILE_CHANGES = (
    st.builds(Write, _ANYBODY, _FILE, _TAGS, st.booleans()),
    st.builds(Write, _ANYBODY, _FILE, _TAGS, st.booleans()),
    st.builds(Append, _ANYBODY, _FILE, _TAGS),
    st.builds(Cut, _ANYBODY, _FILE, st.integers(0, 1)),
    st.builds(Remove, _ANYBODY, _FILE),
    st.builds(Rename, _ANYBODY, _FILE, _FILE, st.sampled_from(["replace", "replace", "noreplace", "exchange"])),
    st.builds(Chmod, _ANYBODY, _FILE, st.sampled_from(MODES)),
)
_TREE_CHANGES = (
    st.builds(Link, _ANYBODY, _FILE, _FILE),
    st.builds(MakeDirectory, _ANYBODY, _DIRECTORY),
    st.builds(RemoveDirectory, _ANYBODY, _DIRECTORY),
    # by one mount only: two that move directories into each other's way at the same time may never end
    st.builds(Rename, st.just(A), _DIRECTORY, _DIRECTORY, st.sampled_from(["replace", "exchange"])),
    st.builds(Rename, st.just(A), _PATH, _PATH, st.sampled_from(["replace", "exchange"])),
)
_PROGRAMS = (
    st.builds(Hold, _MOUNTS, _FILE, st.booleans()),
    st.builds(HeldWrite, _MOUNTS),
    st.builds(Close, _MOUNTS),
    st.builds(Evict, _MOUNTS, _FILE),
)
_SYNC = (
    st.builds(Sync, _MOUNTS),
    st.builds(Sync, _MOUNTS),
    st.builds(Poll, _MOUNTS),
    st.builds(Deliver, _MOUNTS, st.integers(0, 7), st.booleans()),
    st.builds(Wait, st.sampled_from([0.0, 0.0, 0.3, 2.0, 10.0])),
    st.builds(Wait, st.sampled_from([0.0, 0.0, 0.3, 2.0, 10.0])),
)
_TROUBLE = (_FAILURES, _FAILURES, st.builds(Slow, st.sampled_from([0.0, 0.2, 3.0])), st.builds(Kill, _MOUNTS))

SETUPS = st.builds(Setup, st.sampled_from([0.0, 5.0, 86_400.0]), st.sampled_from([0.1, 1.0]), st.booleans())
_STEP = st.one_of(*_FILE_CHANGES, *_TREE_CHANGES, *_PROGRAMS, *_SYNC, *_TROUBLE)
# one list would have five steps on average, unless it had to have more, and then it could not shrink
STEPS = st.tuples(*[st.lists(_STEP, max_size=10)] * 6).map(lambda parts: list(itertools.chain(*parts)))
REAL_STEPS = st.tuples(
    *[
        st.lists(
            st.one_of(
                *_FILE_CHANGES,
                st.builds(MakeDirectory, _MOUNTS, _DIRECTORY),
                st.builds(RemoveDirectory, _MOUNTS, _DIRECTORY),
                st.builds(Sync, _MOUNTS),
                st.builds(Poll, _MOUNTS),
                _FAILURES.filter(lambda fault: fault.how != "late"),
            ),
            max_size=6,
        )
    ]
    * 3,
    st.lists(st.builds(Kill, _MOUNTS), max_size=1),
).map(lambda parts: [*parts[0], *parts[1], *parts[3], *parts[2]])
"""For two real mounts, where each step takes its time."""
