"""Errors that reach programs: which are logged, once, with key, request id and what to do about them."""

import errno
import logging
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from tierfs.errors import FsError, IndexDamageError, StoreError, StoreErrorKind
from tierfs.fuse.failures import Failures
from tierfs.fuse.repeats import INTERVAL_S

LOUD = [kind for kind in StoreErrorKind if kind not in (StoreErrorKind.NOT_FOUND, StoreErrorKind.UNSUPPORTED)]


def store_error(kind: StoreErrorKind = StoreErrorKind.UNAVAILABLE, *, request_id: str = "R1") -> StoreError:
    return StoreError(kind, "it said no", key="d/f", request_id=request_id)


def of_disk(code: int) -> FsError:
    error = FsError(code, f"cache disk: write: {errno.errorcode[code]}")
    error.__cause__ = OSError(code, "of the disk")
    return error


def tell(*errors: BaseException, path: Callable[[], str] = lambda: "/d/f", pause_s: float = 0.0) -> list[int]:
    """The errnos of one file's failures, one after another."""
    clock = MockClock()

    async def main() -> list[int]:
        failures, codes = Failures(), []
        for error in errors:
            codes.append(failures.errno_of(error, "read", path))
            clock.jump(pause_s)
        return codes

    return trio.run(main, clock=clock)


@pytest.mark.parametrize(
    "code", [errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.ESTALE, errno.ENOTDIR]
)
def test_what_posix_has_a_verb_answer_is_not_logged(caplog: pytest.LogCaptureFixture, code: int) -> None:
    assert tell(FsError(code)) == [code]
    assert not caplog.records


def test_a_key_that_is_not_there_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert tell(store_error(StoreErrorKind.NOT_FOUND)) == [errno.ENOENT]
    assert not caplog.records


def test_a_store_error_has_path_key_request_id_and_advice(caplog: pytest.LogCaptureFixture) -> None:
    assert tell(store_error()) == [errno.EIO]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "read /d/f failed with EIO: unavailable: it said no (key 'd/f') (request id R1). "
        "It works again when the server answers; tierctl status shows how it is."
    )
    fields = vars(record)
    assert [fields[name] for name in ("event", "verb", "path", "key", "request_id")] == [
        *("TFS8001", "read", "/d/f", "d/f", "R1")
    ]


@pytest.mark.parametrize("kind", LOUD)
def test_every_store_error_ends_with_what_to_do(caplog: pytest.LogCaptureFixture, kind: StoreErrorKind) -> None:
    assert tell(store_error(kind)) == [kind.value[1]]
    (line,) = caplog.messages
    _, _, advice = line.partition("(request id R1). ")
    assert advice.endswith(".")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (FsError(errno.EIO, "no object has byte 7"), errno.EIO, "EIO: no object has byte 7."),
        (FsError(errno.ENOSPC, "the hot tier is full"), errno.ENOSPC, "the hot tier is full. Make room on the disk"),
        (FsError(errno.EROFS, "the index is read-only"), errno.EROFS, "the index is read-only. Unmount, repair"),
        (of_disk(errno.EIO), errno.EIO, "cache disk: write: EIO. Look in the kernel's log"),
        (of_disk(errno.EACCES), errno.EACCES, "EACCES: cache disk: write: EACCES."),
        (
            OSError(errno.EDQUOT, "full"),
            errno.EDQUOT,
            "disk failed: [Errno 122] full. Make room in the quota",
        ),
        (IndexDamageError("a record is cut short"), errno.EIO, "EIO: a record is cut short."),
        (ExceptionGroup("of a nursery", [store_error()]), errno.EIO, "it said no"),
    ],
)
def test_what_an_operator_has_to_know(
    caplog: pytest.LogCaptureFixture, error: Exception, code: int, words: str
) -> None:
    assert tell(error) == [code]
    (line,) = caplog.messages
    assert line.startswith("read /d/f failed with ")
    assert words in line


def test_a_fault_of_ours_is_eio_and_leaves_its_trace_once(caplog: pytest.LogCaptureFixture) -> None:
    assert tell(KeyError("a bug"), KeyError("a bug")) == [errno.EIO] * 2
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "KeyError" in caplog.text


def test_a_file_that_fails_again_and_again_is_one_line_a_while(caplog: pytest.LogCaptureFixture) -> None:
    many = [store_error(request_id=f"R{number}") for number in range(131)]
    assert tell(*many, pause_s=INTERVAL_S / 60) == [errno.EIO] * 131
    assert [record.getMessage().partition("how it is.")[2] for record in caplog.records] == [
        "",
        *[" It failed 59 more times since this was last logged."] * 2,
    ]


def test_another_error_of_the_same_file_is_news(caplog: pytest.LogCaptureFixture) -> None:
    tell(store_error(), store_error(StoreErrorKind.ACCESS_DENIED), store_error())
    assert len(caplog.records) == 2


def test_a_path_that_cannot_be_told_is_no_failure_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def unreadable() -> str:
        raise IndexDamageError("a record is cut short")

    assert tell(store_error(), path=unreadable) == [errno.EIO]
    assert caplog.messages[0].startswith("read (a file whose path the index cannot tell) failed")


def test_a_verb_that_is_about_no_file(caplog: pytest.LogCaptureFixture) -> None:
    tell(FsError(errno.EIO, "the journal failed"), path=lambda: "")
    assert caplog.messages == ["read failed with EIO: the journal failed."]
