"""The price table: a TOML file, the one in the package or a user's own. A mistake in it is told with its line."""

import datetime
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from attrs import field, frozen

from tierfs.config.kinds import nearest
from tierfs.config.loading import TomlSource
from tierfs.errors import ConfigError
from tierfs.policy.classes import DAY_S, RUNGS, Rung, Speed
from tierfs.policy.cost import STANDARD, PriceTable, Rates, RestorePrice

_T = TypeVar("_T")
_SHIPPED: Final = "aws-us-east-1.toml"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


@frozen
class _Head:
    """The keys before the first header: everything but the classes."""

    name: str
    date: str
    currency: str
    list_1000: float = 0.0
    transfer_out_gib: float = 0.0
    local_gib_month: float = 0.0


@frozen
class _Class:
    """The keys of [classes.NAME]. What is not said of the least that is billed is the ladder's."""

    storage_gib_month: float
    write_1000: float
    read_1000: float
    retrieval_gib: float = 0.0
    upload_gib: float = 0.0
    watch_1000_month: float = 0.0
    minimum_days: float | None = None
    minimum_bytes: float | None = None
    overhead_bytes: float | None = None
    restore: Mapping[str, Any] = field(factory=dict)


def load(path: Path | None = None) -> PriceTable:
    """The table in a file; None: the list prices of the package. Raises ConfigError with line and reason."""
    if path is not None:
        return _Reading(TomlSource.open(path)).table()
    shipped = resources.files("tierfs.tiering").joinpath(_SHIPPED)
    return _Reading(TomlSource(Path(_SHIPPED), shipped.read_bytes())).table()


class _Reading:
    """One file on its way to a table."""

    def __init__(self, source: TomlSource) -> None:
        self._source = source

    def table(self) -> PriceTable:
        tables = dict(self._source.tables)
        classes = tables.pop("classes", {})
        head = self._values(_Head, "", tables)
        self._check_head(head)
        if not isinstance(classes, dict) or STANDARD not in classes:
            raise ConfigError(f"{self._source.where('classes', '')}there is no [classes.{STANDARD}]")
        rates = {}
        for name, raw in classes.items():
            if name not in RUNGS:
                where = self._source.where(f"classes.{name}", "")
                raise ConfigError(f"{where}{name!r} is no storage class; there are {', '.join(RUNGS)}")
            rates[name] = self._rates(name, raw)
        return PriceTable(rates=rates, **attrs.asdict(head))

    def _check_head(self, head: _Head) -> None:
        try:
            is_date = _DATE.fullmatch(head.date) is not None and bool(datetime.date.fromisoformat(head.date))
        except ValueError:
            is_date = False
        if not is_date:
            raise self._error("", "date", f'{head.date!r} is not a date; write "2025-01-31"')
        if not _CURRENCY.fullmatch(head.currency):
            raise self._error("", "currency", f'{head.currency!r} is not a currency; write "USD"')

    def _rates(self, name: str, raw: object) -> Rates:
        section = f"classes.{name}"
        given = self._values(_Class, section, raw)
        ladder = RUNGS[name]
        if set(given.restore) - set(ladder.restore_s):
            unknown = min(set(given.restore) - set(ladder.restore_s))
            known = ", ".join(ladder.restore_s) or "none, it is read at once"
            raise ConfigError(
                f"{self._source.where(f'{section}.restore.{unknown}', '')}"
                f"[{section}.restore] {unknown!r} is no way to restore from it; there is: {known}"
            )
        return Rates(
            rung=Rung(
                name,
                ladder.minimum_s if given.minimum_days is None else int(given.minimum_days * DAY_S),
                ladder.minimum_bytes if given.minimum_bytes is None else int(given.minimum_bytes),
                ladder.overhead_bytes if given.overhead_bytes is None else int(given.overhead_bytes),
                ladder.restore_s,
            ),
            storage_gib_month=given.storage_gib_month,
            write_1000=given.write_1000,
            read_1000=given.read_1000,
            retrieval_gib=given.retrieval_gib,
            upload_gib=given.upload_gib,
            watch_1000_month=given.watch_1000_month,
            restores={
                Speed(speed): self._values(RestorePrice, f"{section}.restore.{speed}", prices)
                for speed, prices in given.restore.items()
            },
        )

    def _values(self, cls: type[_T], section: str, raw: object) -> _T:
        """The keys of one header as a value of `cls`: texts, tables, and numbers that are not negative."""
        if not isinstance(raw, dict):
            above, _dot, key = section.rpartition(".")
            raise self._error(above, key, f"{raw!r} is not a table; write [{section}]")
        fields = attrs.fields_dict(cls)  # type: ignore[arg-type]
        for key, value in raw.items():
            if key not in fields:
                raise self._error(section, key, f"unknown key{nearest(key, list(fields))}")
            wanted = fields[key].type
            if wanted is str and not isinstance(value, str):
                raise self._error(section, key, f"{value!r} is not a text in quotes")
            if wanted == Mapping[str, Any] and not isinstance(value, dict):
                raise self._error(section, key, f"{value!r} is not a table; write [{section}.{key}.bulk]")
            if wanted not in (str, Mapping[str, Any]) and not _is_price(value):
                raise self._error(section, key, f"{value!r} is not a number of at least 0")
        for key, attribute in fields.items():
            if attribute.default is attrs.NOTHING and key not in raw:
                raise ConfigError(f"{self._source.where(section, '')}{_shown(section)}{key} is missing")
        return cls(**raw)

    def _error(self, section: str, key: str, message: str) -> ConfigError:
        return ConfigError(f"{self._source.where(section, key)}{_shown(section)}{key}: {message}")


def _shown(section: str) -> str:
    return f"[{section}] " if section else ""


def _is_price(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
