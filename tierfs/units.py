"""Byte sizes and durations as people write them in the configuration and on the command line."""

import re
from typing import Final, NamedTuple

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40
NS_PER_S: Final = 1_000_000_000


class Level(NamedTuple):
    """How full something is: a share of it from 0 to 1, or so many bytes where `share` is None."""

    share: float | None = None
    size_bytes: int = 0

    def bytes_of(self, whole_bytes: int) -> int:
        """Of something of that size; never more than it has."""
        return min(whole_bytes, self.size_bytes if self.share is None else int(whole_bytes * self.share))


_SIZE_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kib": KIB,
    "kb": 1_000,
    "m": MIB,
    "mib": MIB,
    "mb": 1_000_000,
    "g": GIB,
    "gib": GIB,
    "gb": 1_000_000_000,
    "t": TIB,
    "tib": TIB,
    "tb": 1_000_000_000_000,
}
_DURATION_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def _parse(text: str, scales: dict[str, int] | dict[str, float], what: str) -> float:
    match = _QUANTITY.fullmatch(text)
    scale = scales.get(match[2].lower()) if match else None
    if match is None or scale is None:
        known = ", ".join(unit for unit in scales if unit)
        raise ValueError(f"{text!r} is not a {what}; write a number and one of: {known}")
    return float(match[1]) * scale


def parse_size_bytes(text: str | int) -> int:
    """Turns "10GiB", "512k" or a plain number into bytes; K, M, G and T alone are binary.

    Raises ValueError with the known units when the text is no size.
    """
    if isinstance(text, int):
        return text
    return int(_parse(text, _SIZE_UNITS, "size"))


def parse_duration_s(text: str | int | float) -> float:
    """Turns "5s", "250ms", "2min", "1d" or a plain number into seconds; raises ValueError."""
    if isinstance(text, (int, float)):
        return float(text)
    return _parse(text, _DURATION_UNITS, "duration")


def format_size(size_bytes: int) -> str:
    """Binary units with one decimal, as `ls -h` and `df -h` show them: 0 B, 1.5 KiB, 2.0 TiB."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
