# SPDX-License-Identifier: Apache-2.0
"""``make bench``: every budget as a ratio inside one run, printed as a table and kept in ``docs/benchmarks.md``."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import caller, writer

ROUNDS: Final = 7
REPOSITORY: Final = Path(__file__).parents[2]
PAGE: Final = REPOSITORY / "docs" / "benchmarks.md"


class Figure(NamedTuple):
    """One figure against its budget.

    Attributes:
        name: what is measured, against what.
        ratio: median over the rounds.
        spread: smallest and largest of the rounds.
        budget: what the ratio must reach.
        at_most: whether the budget is an upper bound.
        detail: absolute figures of this run, which do not carry over to other machines.
    """

    name: str
    ratio: float
    spread: tuple[float, float]
    budget: float
    at_most: bool
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the budget is kept."""
        return self.ratio <= self.budget if self.at_most else self.ratio >= self.budget


def _figure(name: str, ratios: list[float], budget: float, detail: str, *, at_most: bool) -> Figure:
    return Figure(name, median(ratios), (min(ratios), max(ratios)), budget, at_most, detail)


def measure() -> list[Figure]:
    """Measure every budget."""
    costs = caller.measure(ROUNDS)
    absolute = (
        f"{median(cost.ours_us for cost in costs):.0f} us against {median(cost.bare_us for cost in costs):.0f} us"
    )
    figures = [
        _figure("caller's cost, median / bare SDK span", [c.p50_ratio for c in costs], 2.0, absolute, at_most=True),
        _figure("caller's cost, p99 / bare SDK span", [c.p99_ratio for c in costs], 5.0, absolute, at_most=True),
    ]
    for kind in writer.SIZES:
        speeds = writer.measure(ROUNDS, kind)
        absolute = (
            f"{median(s.ours_rows_s for s in speeds):,.0f} rows/s against "
            f"{median(s.copy_rows_s for s in speeds):,.0f} rows/s"
        )
        name = f"spans to rows, one connection, exports of {kind:,} / server-side COPY BINARY"
        figures.append(_figure(name, [s.ratio for s in speeds], 0.55, absolute, at_most=False))
    return figures


def _page(figures: list[Figure]) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Figures are ratios inside one run, medians of",
        f"{ROUNDS} rounds in which the two sides take turns; absolute figures do not carry over to other machines.",
        "",
        "| what | ratio | range | budget | holds | in this run |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for figure in figures:
        sign = "≤" if figure.at_most else "≥"
        lines.append(
            f"| {figure.name} | {figure.ratio:.2f} | {figure.spread[0]:.2f} to {figure.spread[1]:.2f} | "
            f"{sign} {figure.budget} | {'yes' if figure.holds else 'no'} | {figure.detail} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the page and ``benchmarks.json`` beside it; exit 1 when a budget is not kept."""
    figures = measure()
    table = Table(title="Budgets")
    for column in ("what", "ratio", "range", "budget", "holds", "in this run"):
        table.add_column(column)
    for figure in figures:
        sign = "≤" if figure.at_most else "≥"
        table.add_row(
            figure.name,
            f"{figure.ratio:.2f}",
            f"{figure.spread[0]:.2f} to {figure.spread[1]:.2f}",
            f"{sign} {figure.budget}",
            "yes" if figure.holds else "no",
            figure.detail,
        )
    Console().print(table)
    kept: dict[str, Any] = {
        "measured": datetime.now(UTC).date().isoformat(),
        "rounds": ROUNDS,
        "figures": [{**figure._asdict(), "holds": figure.holds} for figure in figures],
    }
    PAGE.write_text(_page(figures), "utf-8")
    PAGE.with_suffix(".json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    sys.exit(not all(figure.holds for figure in figures))


if __name__ == "__main__":
    main()
