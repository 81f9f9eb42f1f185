"""Reading settings: defaults, then the file, then the command line; every error names its place."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tierfs.config.kinds import Kind, TableError, nearest
from tierfs.config.sections import SECTIONS, Settings, attribute_of, changed
from tierfs.errors import ConfigError
from tierfs.units import MIB

DEFAULT_CONFIG_PATH: Final = Path("/etc/tierfs/tierfs.toml")
CONFIG_LIMIT_BYTES: Final = 1 * MIB
_HEADER: Final = re.compile(r"\s*\[{1,2}\s*([\w.\"-]+)\s*\]")


def load(
    path: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    *,
    default_path: Path = DEFAULT_CONFIG_PATH,
) -> Settings:
    """Defaults, then the file, then `overrides` ("section.key" or a key of [mount] -> text).

    Without `path`, `default_path` is read if it exists. Raises ConfigError.
    """
    source = TomlSource.open(path) if path is not None else TomlSource.open_if_there(default_path)
    return _layered(source, overrides or {})


def load_text(name: str, data: bytes) -> Settings:
    """Defaults, then the bytes of a file that is called `name` in messages. Raises ConfigError."""
    if len(data) > CONFIG_LIMIT_BYTES:
        raise ConfigError(f"{name}: larger than {CONFIG_LIMIT_BYTES} bytes, this is no tierfs configuration")
    return _layered(TomlSource(Path(name), data), {})


def _layered(source: "TomlSource | None", overrides: Mapping[str, str]) -> Settings:
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    places: dict[tuple[str, str], str] = {}
    for section, key, raw in source.items() if source else ():
        places[section, key] = source.where(section, key) if source else ""
        try:
            values[section][key] = _parsed(section, key, raw, places[section, key])
        except TableError as error:
            where = source.where_in_table(f"{section}.{key}", error.number, error.key) if source else ""
            raise ConfigError(f"{where}[[{section}.{key}]] {error}") from None
    for name, text in overrides.items():
        section, key = _resolve_option(name)
        places[section, key] = f"option {name}: "
        values[section][key] = _parsed(section, key, _kind(section, key).text(text), places[section, key])
    return _build(values, places)


def with_option(settings: Settings, name: str, text: str) -> tuple[Settings, str]:
    """The settings with one value as the command line gives it, and which that is, as "section.key". ConfigError."""
    section, key = _resolve_option(name)
    where = f"option {name}: "
    value = _parsed(section, key, _kind(section, key).text(text), where)
    try:
        return changed(settings, f"{section}.{key}", value), f"{section}.{key}"
    except ValueError as error:
        raise ConfigError(f"{where}[{section}] {error}") from None


def _build(values: Mapping[str, Mapping[str, Any]], places: Mapping[tuple[str, str], str]) -> Settings:
    sections: dict[str, Any] = {}
    for section, cls in SECTIONS.items():
        try:
            sections[attribute_of(section)] = cls(**values[section])
        except ValueError as error:
            # validators begin their message with the key
            key = str(error).split(" ", 1)[0]
            raise ConfigError(f"{places.get((section, key), '')}[{section}] {error}") from None
    return Settings(**sections)


def _kind(section: str, key: str) -> Kind[Any]:
    kind: Kind[Any] = attrs.fields_dict(SECTIONS[section])[key].metadata["kind"]
    return kind


def _parsed(section: str, key: str, raw: object, where: str) -> Any:
    auto = attrs.fields_dict(SECTIONS[section])[key].metadata["auto"]
    if auto is not None and raw == "auto":
        return auto()
    try:
        return _kind(section, key).parse(raw)
    except TableError:
        raise  # only the source knows the place
    except ValueError as error:
        raise ConfigError(f"{where}[{section}] {key}: {error}") from None


def _resolve_option(name: str) -> tuple[str, str]:
    section, dot, key = name.partition(".")
    if not dot:
        section, key = "mount", name
    _check_known(section, key, f"option {name}: ")
    return section, key


def _check_known(section: str, key: str, where: str) -> None:
    """Raises ConfigError that names the nearest known section or key; `key` "" asks for the section only."""
    cls = SECTIONS.get(section)
    if cls is None:
        raise ConfigError(f"{where}unknown section [{section}]{nearest(section, list(SECTIONS))}")
    keys = [field.name for field in attrs.fields(cls)]
    if not key or key in keys:
        return
    raise ConfigError(f"{where}unknown key {key!r} in [{section}]{_home_of(key) or nearest(key, keys)}")


def _home_of(key: str) -> str:
    homes = [section for section, cls in SECTIONS.items() if key in attrs.fields_dict(cls)]
    return f"; it belongs to [{homes[0]}]" if homes else ""


class TomlSource:
    """A file and where in it each key stands (the TOML reader of Python does not say)."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        try:
            self._text = data.decode("utf-8")
            self.tables: dict[str, Any] = tomllib.loads(self._text)
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ConfigError(f"{path}:{line}: not UTF-8") from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            found = re.search(r"\(at line (\d+)", str(error))
            # "at end of document", as of a file that was written halfway: its last line
            line = int(found[1]) if found else len(self._text.splitlines())
            raise ConfigError(f"{path}:{line}: {error}") from None

    @classmethod
    def open(cls, path: Path) -> "TomlSource":
        """Reads and parses it. ConfigError."""
        try:
            with path.open("rb") as file:
                data = file.read(CONFIG_LIMIT_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
        if len(data) > CONFIG_LIMIT_BYTES:
            raise ConfigError(f"{path}: larger than {CONFIG_LIMIT_BYTES} bytes, this is no tierfs configuration")
        return cls(path, data)

    @classmethod
    def open_if_there(cls, path: Path) -> "TomlSource | None":
        """None when there is no such file; one that cannot be read is an error, not "no settings"."""
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            pass  # open says why
        return cls.open(path)

    def items(self) -> Iterator[tuple[str, str, object]]:
        """(section, key, raw value) of every key; raises ConfigError at the first unknown one."""
        for section, table in self.tables.items():
            where = self.where(section, "")
            if section not in SECTIONS and not isinstance(table, dict):
                home = _home_of(section) or nearest(section, list(SECTIONS))
                raise ConfigError(f"{where}{section!r} stands outside of all sections{home}")
            _check_known(section, "", where)
            if not isinstance(table, dict):
                raise ConfigError(f"{where}{section!r} is a section; write [{section}]")
            for key, raw in table.items():
                _check_known(section, key, self.where(section, key))
                yield section, key, raw

    def where(self, section: str, key: str) -> str:
        """ "file:line: " of a key (or of its section where the key is not found), else "file: "."""
        wanted = f"{section}.{key}".strip(".")
        current, section_line = "", 0
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := _HEADER.match(line):
                current = header[1].replace('"', "")
                section_line = number if current == section else section_line
            elif pair := re.match(r"\s*([\w.\"-]+?)\s*=", line):
                name = f"{current}.{pair[1]}".lstrip(".").replace('"', "")
                if name == wanted:
                    return f"{self._path}:{number}: "
        return f"{self._path}:{section_line}: " if section_line else f"{self._path}: "

    def where_in_table(self, name: str, number: int, key: str) -> str:
        """The same of a key of the table `number` under the headers [[name]], or of its header; else of the list."""
        met, at_line = -1, 0
        for line_number, line in enumerate(self._text.splitlines(), 1):
            if header := _HEADER.match(line):
                is_one = header[1].replace('"', "") == name
                met += is_one
                at_line = line_number if is_one and met == number else at_line
                is_within = is_one and met == number
            elif at_line and is_within and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return f"{self._path}:{line_number}: "
        return f"{self._path}:{at_line}: " if at_line else self.where(*name.split("."))
