"""What a side-by-side run says in the end: a table for people, JSON for programs, a plot for the eye."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from tests.bench.rows import MODES, NATIVE, STORE, Row, Verdict

COLUMNS: Final = (NATIVE, *MODES, STORE)
_SHOWN_RATIOS: Final = (0.008, 4)
_TICKS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3)
_COLORS: Final = {"passthrough": "tab:blue", "holder": "tab:orange", "pyfuse3": "tab:gray"}


@frozen
class Result:
    """One row as it was measured: every sample by column, the medians, and how its goals stand."""

    row: Row
    samples: Mapping[str, Sequence[float]]
    medians: Mapping[str, float]
    verdicts: Sequence[Verdict]
    load: float  # of the machine when the last sample was taken, average of the last minute

    @property
    def is_met(self) -> bool:
        return all(verdict.is_met for verdict in self.verdicts)

    def ratios(self) -> Mapping[str, float]:
        """Each mode by the column that the row compares with: native, else the store."""
        reference = self.medians.get(NATIVE) or self.medians.get(STORE)
        return {mode: self.medians[mode] / reference for mode in MODES if reference and mode in self.medians}


def table(results: Sequence[Result]) -> str:
    """A Markdown table, aligned. A ratio is that of the mode that the goals judge: the fullest one that ran."""
    heading = ["work", "unit", *COLUMNS, "ratio", "goal", "load"]
    lines = [heading]
    for result in results:
        ratio = next(iter(result.ratios().values()), None)
        lines.append(
            [
                result.row.text,
                result.row.unit,
                *(_number(result.medians.get(column)) for column in COLUMNS),
                f"{ratio:.2f}" if ratio is not None else "-",
                "; ".join(map(str, result.verdicts)) or "-",
                f"{result.load:.1f}",
            ]
        )
    widths = [max(len(line[index]) for line in lines) for index in range(len(heading))]
    is_text = {0, 1, len(heading) - 2}
    rule = [
        ("-" if index in is_text else "-" * (width - 1) + ":").ljust(width, "-") for index, width in enumerate(widths)
    ]
    rows = [
        [
            cell.ljust(width) if index in is_text else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [rows[0], rule, *rows[1:]])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def as_json(results: Sequence[Result], absent: Mapping[str, str], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the table says, and every sample behind it."""
    return {
        "machine": dict(machine),
        "absent": dict(absent),
        "rows": [
            {
                "key": result.row.key,
                "work": result.row.text,
                "unit": result.row.unit,
                "medians": dict(result.medians),
                "samples": {column: list(values) for column, values in result.samples.items()},
                "goals": [
                    {
                        "of": verdict.goal.of,
                        "factor": verdict.goal.factor,
                        "is_ceiling": verdict.goal.is_ceiling,
                        "ratio": verdict.ratio,
                        "is_met": verdict.is_met,
                    }
                    for verdict in result.verdicts
                ],
                "load": result.load,
            }
            for result in results
        ],
    }


def plot(results: Sequence[Result], path: Path) -> None:
    """A PNG: a bar for each mode and row, as a ratio to native or to the store; the goal is a line across it.

    ImportError without matplotlib, which is in the extra `bench`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [result for result in results if result.ratios()]
    modes = [mode for mode in MODES if any(mode in result.ratios() for result in shown)]
    figure = Figure(figsize=(10, 1.5 + 0.2 * (1 + len(modes)) * max(1, len(shown))))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    height = 0.8 / max(1, len(modes))
    for number, mode in enumerate(modes):
        places = [place + number * height for place, result in enumerate(shown) if mode in result.ratios()]
        values = [result.ratios()[mode] for result in shown if mode in result.ratios()]
        axes.barh(places, values, height, label=mode, color=_COLORS[mode], align="edge")
    for place, result in enumerate(shown):
        for goal in result.row.goals:
            if goal.of in (NATIVE, STORE):
                axes.plot([goal.factor, goal.factor], [place, place + 0.8], color="tab:red", linewidth=2)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(*_SHOWN_RATIOS)
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.set_yticks([place + 0.4 for place in range(len(shown))], [_label(result) for result in shown])
    axes.invert_yaxis()
    axes.set_xlabel("times native, or the store's own limit; red: the goal (a ceiling where less is better)")
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _label(result: Result) -> str:
    beside = NATIVE if NATIVE in result.medians else STORE
    return f"{result.row.text} [{beside}{', less is better' if result.row.lower_is_better else ''}]"
