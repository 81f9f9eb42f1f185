"""Log lines with stable event codes and without secrets.

Promises: no secret reaches the log, whoever wrote the line (`scrub`); a line is one line. An event code says what
happened and never changes its meaning; the words of a message may. Codes are given as `extra={"event": "TFS7001",
...}`; further fields of `extra` become fields of a JSON line. `events` has the catalogue.
"""

import json
import logging
import logging.handlers
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tierfs.errors import ConfigError

EVENT_CODE: Final = re.compile(r"TFS[1-9][0-9]{3}")
MESSAGE_LIMIT_CHARS: Final = 16 * 1024

# libraries that log requests with their signatures when they are asked to say much
_QUIET_LOGGERS: Final = ("boto3", "botocore", "urllib3", "s3transfer", "asyncio")
_HANDLER_NAME: Final = "tierfs"
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "event"}

# of syslog(3)
_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

_SECRETS: Final = (
    # https://user:password@host
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), "***"),
    # presigned URLs and signed headers
    (
        re.compile(r"(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature)=)[^&\s'\"]+"),
        r"\1***",
    ),
    (re.compile(r"(?i)(\b(?:authorization|x-amz-security-token)['\"]?\s*[:=]\s*['\"]?)[^'\"\r\n}]+"), r"\1***"),
    # key = value, "key": "value" of configuration files and reprs
    (
        re.compile(
            r"(?i)((?:secret_?access_?key|session_?token|secret_?key|password)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}&]+"
        ),
        r"\1***",
    ),
    # ids of access keys: not secret by themselves, but what a leaked log is searched for
    (re.compile(r"\b((?:AKIA|ASIA)[A-Z0-9]{4})[A-Z0-9]{12}\b"), r"\1***"),
)


def scrub(text: str) -> str:
    """The text without passwords, signatures, tokens and key ids."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class TextFormatter(logging.Formatter):
    """`2025-01-31T12:00:00.123Z INFO  TFS1001 message`; further lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", "-")
        text = f"{_time_of(record)} {record.levelname:<7} {event:<7} {_message_of(record)}"
        return text.replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, event, logger, message, traceback, and the fields of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", ""),
            "logger": record.name,
            "message": _message_of(record),
        }
        for name, value in further_fields(record):
            if name not in fields:
                fields[name] = value
        return json.dumps(fields, ensure_ascii=True)


class JournalHandler(logging.Handler):
    """To systemd's journal, by its native protocol: the fields of `extra` can be searched for (TIERFS_EVENT=TFS8001).

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: one datagram for each record. A journal that is not there, or takes
    nothing, holds nobody up: the record is lost.
    """

    def __init__(self, address: str = "/run/systemd/journal/socket") -> None:
        """Raises ConfigError."""
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise ConfigError(f'[log] format = "journald": no journal at {address}: {error.strerror}') from None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.send(self._datagram(record))
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    @staticmethod
    def _datagram(record: logging.LogRecord) -> bytes:
        fields = {
            "MESSAGE": _message_of(record),
            "PRIORITY": str(_PRIORITIES.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "tierfs",
            "TIERFS_EVENT": getattr(record, "event", ""),
            "TIERFS_LOGGER": record.name,
            **{f"TIERFS_{name.upper()}": str(value) for name, value in further_fields(record)},
        }
        return b"".join(
            _journal_field(name, value.encode("utf-8", "backslashreplace")) for name, value in fields.items()
        )


def _journal_field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def further_fields(record: logging.LogRecord) -> Iterator[tuple[str, bool | int | float | str | None]]:
    """What `extra` has beside the event code, without secrets."""
    for name, value in vars(record).items():
        if name not in _STANDARD_FIELDS:
            yield name, value if value is None or isinstance(value, (bool, int, float)) else scrub(str(value))


def _time_of(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _message_of(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    # names of files come from anybody: no control character may forge a line or move a cursor
    text = "".join(c if c >= " " or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
    if not record.exc_info:
        text = text.replace("\n", "\\n")
    scrubbed = scrub(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return scrubbed if len(scrubbed) <= MESSAGE_LIMIT_CHARS else scrubbed[:MESSAGE_LIMIT_CHARS] + "..."


def set_up_logging(level: str, file: str, form: str) -> None:
    """Sends all logging to a file (reopened when logrotate moves it), or to standard error for "".

    `form` is "text", "json" or "journald", which goes to the journal, whatever `file` is. Replaces what an earlier call
    set up. Raises ConfigError.
    """
    handler: logging.Handler
    if form == "journald":
        handler = JournalHandler()
    elif file:
        try:
            Path(file).touch(mode=0o600)  # names of files are the users' own business
            handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"[log] file: cannot write {file}: {error.strerror}") from None
    else:
        handler = logging.StreamHandler(sys.stderr)
    if form != "journald":
        handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        if old.name == _HANDLER_NAME:
            root.removeHandler(old)
            old.close()
    handler.name = _HANDLER_NAME
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # a full log disk is no reason to fill standard error, too
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
