"""Log lines that hold no secret and forge nothing."""

import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from tierfs.errors import ConfigError
from tierfs.telemetry import logs
from tierfs.telemetry.logs import JournalHandler, JsonFormatter, TextFormatter, scrub


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    level, handlers, raising = root.level, list(root.handlers), logging.raiseExceptions
    yield root
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.raiseExceptions = raising


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("tierfs.test", logging.INFO, __file__, 1, message, args, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    vars(made).update(extra)
    return made


def raised() -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        raise ValueError("secret_access_key='verysecret'")
    except ValueError as error:
        return type(error), error, sys.exc_info()[2]


def test_a_text_line_has_time_level_code_and_message() -> None:
    line = TextFormatter().format(record("mounted %s", "/mnt/a", event="TFS1001"))
    assert line == "2023-11-14T22:13:20.250Z INFO    TFS1001 mounted /mnt/a"
    assert TextFormatter().format(record("plain")).endswith(" INFO    -       plain")


def test_a_json_line_has_the_fields_of_extra() -> None:
    line = JsonFormatter().format(record("put failed", event="TFS2001", key="a/b", attempts=3, why=OSError("no")))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "TFS2001",
        "logger": "tierfs.test",
        "message": "put failed",
        "key": "a/b",
        "attempts": 3,
        "why": "no",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_file_name_cannot_forge_a_line_or_send_control_codes(formatter: logging.Formatter) -> None:
    name = b"a\n2023 ERROR forged\x1b[2J\r\xff".decode("utf-8", "surrogateescape")
    line = formatter.format(record("conflict on %s", name))
    assert "\n" not in line and "\x1b" not in line and "\r" not in line
    line.encode("utf-8")  # a lone surrogate would fail here, and in the handler
    assert "\\udcff" in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_is_kept_and_scrubbed(formatter: logging.Formatter) -> None:
    made = record("it failed")
    made.exc_info = raised()
    text = formatter.format(made)
    assert "ValueError" in text and "verysecret" not in text
    if isinstance(formatter, TextFormatter):
        assert all(line.startswith("    ") for line in text.splitlines()[1:])
    else:
        assert "\n" not in text


def test_a_huge_message_is_cut() -> None:
    assert len(TextFormatter().format(record("x" * 100_000))) < logs.MESSAGE_LIMIT_CHARS + 100


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://me:hunter2@host/x", "hunter2"),
        ("https://b.s3.example/k?X-Amz-Credential=AKIAABCDEFGHIJKLMNOP%2F1&X-Amz-Signature=deadbeef&a=1", "deadbeef"),
        ("headers {'Authorization': 'AWS4-HMAC-SHA256 Credential=x, Signature=cafe'}", "cafe"),
        ("X-Amz-Security-Token: FwoGZXIvYXdz", "FwoGZXIvYXdz"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ('{"aws_session_token": "tokentoken"}', "tokentoken"),
        ("SecretAccessKey='abcd'", "abcd"),
        ("client for AKIAIOSFODNN7EXAMPLE", "FODNN7EXAMPLE"),
    ],
)
def test_secrets_are_scrubbed(text: str, secret: str) -> None:
    assert secret not in scrub(text)
    assert "***" in scrub(text)


@pytest.mark.parametrize(
    "text", ["put s3://bucket/a key 'secret/plan.txt' (request id 1)", "https://host:9000/bucket", "no password given"]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


def test_logging_goes_to_a_private_file_at_the_level_asked(tmp_path: Path, root_logger: logging.Logger) -> None:
    file = tmp_path / "tierfs.log"
    logs.set_up_logging("info", str(file), "json")
    logging.getLogger("tierfs.x").debug("unseen")
    logging.getLogger("tierfs.x").info("seen", extra={"event": "TFS1001"})
    logging.getLogger("botocore.auth").info("unseen: signed headers")
    assert [json.loads(line)["message"] for line in file.read_text().splitlines()] == ["seen"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_rotated_file_is_opened_anew_and_a_second_set_up_replaces_the_first(
    tmp_path: Path, root_logger: logging.Logger
) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    logs.set_up_logging("info", str(first), "text")
    logging.getLogger("tierfs").info("before")
    first.rename(tmp_path / "first.log.1")
    logging.getLogger("tierfs").info("after")
    assert first.read_text().endswith("after\n")
    logs.set_up_logging("info", str(second), "text")
    logging.getLogger("tierfs").info("elsewhere")
    assert "elsewhere" not in first.read_text() and second.read_text().count("elsewhere") == 1


def test_a_log_file_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path, root_logger: logging.Logger) -> None:
    with pytest.raises(ConfigError, match=r"\[log\] file: cannot write .*: No such file"):
        logs.set_up_logging("info", str(tmp_path / "absent" / "x.log"), "text")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """In the place of systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        listener.settimeout(30)
        yield listener


def test_a_record_goes_to_the_journal_with_its_fields(tmp_path: Path, journal: socket.socket) -> None:
    handler = JournalHandler(str(tmp_path / "journal"))
    handler.emit(
        record("put %s failed", "a\udcff", event="TFS8001", key="a/b", password="password=hunter2", attempts=3)
    )
    lines = journal.recv(65536).decode().splitlines()
    assert lines == [
        *("MESSAGE=put a\\udcff failed", "PRIORITY=6", "SYSLOG_IDENTIFIER=tierfs", "TIERFS_EVENT=TFS8001"),
        *("TIERFS_LOGGER=tierfs.test", "TIERFS_KEY=a/b", "TIERFS_PASSWORD=password=***", "TIERFS_ATTEMPTS=3"),
    ]
    handler.close()


def test_a_value_of_several_lines_is_sent_with_its_length(tmp_path: Path, journal: socket.socket) -> None:
    handler = JournalHandler(str(tmp_path / "journal"))
    made = record("it failed")
    made.levelno, made.exc_info = logging.ERROR, raised()
    handler.emit(made)
    data = journal.recv(65536)
    name, _, rest = data.partition(b"\n")
    size_bytes = int.from_bytes(rest[:8], "little")
    message, after = rest[8 : 8 + size_bytes].decode(), rest[8 + size_bytes :]
    assert name == b"MESSAGE" and message.startswith("it failed\nTraceback") and "verysecret" not in message
    assert after.startswith(b"\nPRIORITY=3\n")
    handler.close()


def test_a_journal_that_takes_nothing_holds_nobody_up(tmp_path: Path, root_logger: logging.Logger) -> None:
    logging.raiseExceptions = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        handler = JournalHandler(str(tmp_path / "journal"))
        for _ in range(2000):  # more than the socket takes
            handler.emit(record("x" * 10_000))
    handler.emit(record("nobody is there"))
    handler.close()


def test_no_journal_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'\[log\] format = "journald": no journal at .*: No such file'):
        JournalHandler(str(tmp_path / "absent"))
