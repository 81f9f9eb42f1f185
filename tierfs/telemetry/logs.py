"""Log lines with stable event codes and without secrets.

Promises: no secret reaches the log, whoever wrote the line (`scrub`); a line is one line. An event code says what
happened and never changes its meaning; the words of a message may. Codes are given as `extra={"event": "TFS7001",
...}`; further fields of `extra` become fields of a JSON line.

| codes | of |
|---|---|
| TFS10.. | the daemon: start, stop, mount, signals |
| TFS20.. | the object store |
| TFS30.. | content and the hot tier |
| TFS40.. | export |
| TFS50.. | import |
| TFS60.. | index and journal |
| TFS70.. | the control socket |
| TFS80.. | the FUSE front |
"""

import json
import logging
import logging.handlers
import re
import sys
import time
from pathlib import Path
from typing import Final

from tierfs.errors import ConfigError

EVENT_CODE: Final = re.compile(r"TFS[1-9][0-9]{3}")
MESSAGE_LIMIT_CHARS: Final = 16 * 1024

# libraries that log requests with their signatures when they are asked to say much
_QUIET_LOGGERS: Final = ("boto3", "botocore", "urllib3", "s3transfer", "asyncio")
_HANDLER_NAME: Final = "tierfs"
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "event"}

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
        for name, value in vars(record).items():
            if name not in _STANDARD_FIELDS and name not in fields:
                fields[name] = value if value is None or isinstance(value, (bool, int, float)) else scrub(str(value))
        return json.dumps(fields, ensure_ascii=True)


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

    `form` is "text" or "json". Replaces what an earlier call set up. Raises ConfigError.
    """
    handler: logging.Handler
    if file:
        try:
            Path(file).touch(mode=0o600)  # names of files are the users' own business
            handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"[log] file: cannot write {file}: {error.strerror}") from None
    else:
        handler = logging.StreamHandler(sys.stderr)
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
