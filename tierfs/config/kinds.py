"""The kinds of values that settings have: how each is read from TOML or the command line, and shown as TOML."""

import difflib
import re
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import attrs
from attrs import frozen

from tierfs.units import GIB, KIB, MIB, TIB, Level, parse_duration_s, parse_size_bytes

T = TypeVar("T")


@frozen
class Kind(Generic[T]):
    """How one kind of value is read and shown.

    `parse` takes what TOML gave and raises ValueError; `text` turns a word of the command line into
    what TOML would have given; `show` writes the value as TOML.
    """

    what: str
    parse: Callable[[object], T]
    show: Callable[[T], str]
    text: Callable[[str], object] = str
    table: type[Any] | None = None  # what each of a list of tables is


def _expect(value: object, kind: type[T], what: str) -> T:
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise ValueError(f"{value!r} is not {what}")


def _parse_size(value: object) -> int:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return parse_size_bytes(value)
    raise ValueError(f'{value!r} is not a size; write "16MiB" or a number of bytes')


def _parse_duration(value: object) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return parse_duration_s(value)
    raise ValueError(f'{value!r} is not a duration; write "5s" or a number of seconds')


def _parse_share(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{value!r} is not a number")


def _parse_level(value: object) -> Level:
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", value)):
        if float(match[1]) <= 100:
            return Level(share=float(match[1]) / 100)
        raise ValueError(f"{value!r} is more than 100 %")
    try:
        return Level(size_bytes=_parse_size(value))
    except ValueError:
        raise ValueError(f'{value!r} is neither a share nor a size; write "90%" or "800GiB"') from None


def _show_level(level: Level) -> str:
    return _show_size(level.size_bytes) if level.share is None else f'"{level.share * 100:g}%"'


def _parse_mode(value: object) -> int:
    """Only text: TOML's plain 600 would be decimal and give away a file."""
    if isinstance(value, str) and re.fullmatch(r"(0o?)?[0-7]{1,4}", value):
        return int(value.replace("o", ""), 8)
    raise ValueError(f'{value!r} is not a mode; write octal digits in quotes: "0640"')


def _parse_path(value: object) -> str:
    """Absolute: a daemon in the background has no directory of the user's to start from."""
    text = _expect(value, str, "a path in quotes")
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute path")
    return text


def _parse_glob(value: object) -> str:
    text = _expect(value, str, "a path in quotes")
    if text.startswith("/") or not {"", ".", ".."}.isdisjoint(text.split("/")):
        raise ValueError(f'{text!r} is not a path from the root of the mount; write "a/b", without a slash at the ends')
    return text


def _parse_words(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError(f'{value!r} is not a list of texts; write ["a", "b"]')


def _switch_from_text(text: str) -> object:
    """Anything else stays text, which `parse` then refuses with a message."""
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text.lower(), text)


def _number_from_text(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _show_size(size_bytes: int) -> str:
    for unit, scale in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size_bytes and size_bytes % scale == 0:
            return f'"{size_bytes // scale}{unit}"'
    return str(size_bytes)


def _show_duration(duration_s: float) -> str:
    if duration_s == 0:
        return '"0s"'
    for unit, scale in (("h", 3600), ("min", 60), ("s", 1)):
        if duration_s % scale == 0:
            return f'"{int(duration_s // scale)}{unit}"'
    duration_ms = f"{duration_s * 1000:.6f}".rstrip("0").rstrip(".")
    return f'"{duration_ms}ms"'


def _show_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


SIZE: Final = Kind("size", _parse_size, _show_size)
DURATION: Final = Kind("duration", _parse_duration, _show_duration)
INTEGER: Final = Kind("whole number", lambda v: _expect(v, int, "a whole number"), str, _number_from_text)
LEVEL: Final = Kind("percent or size", _parse_level, _show_level)
SHARE: Final = Kind("share from 0 to 1", _parse_share, lambda v: f"{v:g}", _number_from_text)
NUMBER: Final = Kind("number", _parse_share, lambda v: f"{v:g}", _number_from_text)
SWITCH: Final = Kind(
    "true or false", lambda v: _expect(v, bool, "true or false"), lambda v: str(v).lower(), _switch_from_text
)
TEXT: Final = Kind("text", lambda v: _expect(v, str, "a text in quotes"), _show_text)
PATH: Final = Kind("absolute path", _parse_path, _show_text)
GLOB: Final = Kind("path pattern", _parse_glob, _show_text)
MODE: Final = Kind("octal mode", _parse_mode, lambda v: f'"{v:04o}"')
WORDS: Final = Kind(
    "list of texts", _parse_words, lambda v: f"[{', '.join(map(_show_text, v))}]", lambda text: text.split(":")
)


class TableError(ValueError):
    """What is wrong with one table of a list: its number from 0, and its key ("": with the table itself)."""

    def __init__(self, number: int, key: str, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.key = key


def nearest(word: str, known: list[str]) -> str:
    """What was meant by a word that is not known: the end of a message."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def tables_of(cls: type[T]) -> Kind[tuple[T, ...]]:
    """A list of tables, each with the keys of the fields of `cls`. Its `parse` raises TableError."""

    def parse(value: object) -> tuple[T, ...]:
        if isinstance(value, list) and all(isinstance(table, dict) for table in value):
            return tuple(parse_table(cls, number, table) for number, table in enumerate(value))
        raise ValueError(f"{value!r} is not a list of tables, which are written in the file, each with its own header")

    return Kind("list of tables", parse, lambda rows: f"[{', '.join(map(_show_table, rows))}]", table=cls)


def _show_table(row: Any) -> str:
    pairs = [(field, getattr(row, field.name)) for field in attrs.fields(type(row))]
    shown = (f"{field.name} = {field.metadata['kind'].show(value)}" for field, value in pairs if value is not None)
    return f"{{{', '.join(shown)}}}"


def parse_table(cls: type[T], number: int, table: dict[str, object]) -> T:
    """The table `number` of a list. Raises TableError."""
    fields = attrs.fields_dict(cls)  # type: ignore[arg-type]
    values = {}
    for key, raw in table.items():
        if key not in fields:
            raise TableError(number, key, f"unknown key {key!r}{nearest(key, list(fields))}")
        try:
            values[key] = fields[key].metadata["kind"].parse(raw)
        except ValueError as error:
            raise TableError(number, key, f"{key}: {error}") from None
    try:
        return cls(**values)
    except ValueError as error:
        # validators begin their message with the key
        key = str(error).split(" ", 1)[0]
        raise TableError(number, key if key in values else "", str(error)) from None


def one_of(*choices: str) -> Kind[str]:
    """A word out of a few."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"{value!r} is not one of: {', '.join(choices)}")

    return Kind(" | ".join(choices), parse, _show_text)


def setting(
    default: Any,
    kind: Kind[Any],
    text: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    auto: Callable[[], Any] | None = None,
) -> Any:
    """A field of a section. With `auto`, the word "auto" is also a value, and the default: it means `auto()`."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if value is None or isinstance(value, (str, bool, tuple)):
            return
        # written so that NaN fails too
        if not (at_least is None or value >= at_least) or not (at_most is None or value <= at_most):
            bounds = [f"at least {kind.show(at_least)}"] if at_least is not None else []
            bounds += [f"at most {kind.show(at_most)}"] if at_most is not None else []
            raise ValueError(f"{attribute.name} must be {' and '.join(bounds)}, not {kind.show(value)}")

    metadata = {"kind": kind, "help": " ".join(text.split()), "auto": auto}
    if auto is not None:
        return attrs.field(factory=auto, validator=check, metadata=metadata)
    return attrs.field(default=default, validator=check, metadata=metadata)
