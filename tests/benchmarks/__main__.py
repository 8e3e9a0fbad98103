# SPDX-License-Identifier: Apache-2.0
"""``make bench``: every budget as a ratio inside one run, printed as a table and kept in ``docs/benchmarks.md``."""

import argparse
import asyncio
import json
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import backlog, caller, peers, phoenix, sink, soak, stall, writer
from intent_events.demo.postgres import EmbeddedPostgres
from support.stored import tampering

ROUNDS: Final = 7
PEER_ROWS: Final = 2000
PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
SINK: Final = "OTLP bytes to rows, sink"
_MOST_LATE_MS: Final = 5.0
PARTS: Final = ("caller", "stalls", "soak", "writer", "backlogs", "sink", "large")


class Figure(NamedTuple):
    """One figure against its budget.

    Attributes:
        name: what is measured, against what.
        value: median over the rounds.
        spread: smallest and largest of the rounds.
        budget: what the value must reach; None when there is none.
        at_most: whether the budget is an upper bound.
        detail: absolute figures of this run, which do not carry over to other machines.
    """

    name: str
    value: float
    spread: tuple[float, float]
    budget: float | None
    at_most: bool
    detail: str

    @property
    def holds(self) -> bool | None:
        """Whether the budget is kept; None without one."""
        if self.budget is None:
            return None
        return self.value <= self.budget if self.at_most else self.value >= self.budget

    def cells(self) -> tuple[str, ...]:
        """What stands in its row of a table."""
        sign = "≤" if self.at_most else "≥"
        budget = "-" if self.budget is None else f"{sign} {self.budget:g}"
        holds = {None: "-", True: "yes", False: "no"}[self.holds]
        low, high = self.spread
        return self.name, f"{self.value:.2f}", f"{low:.2f} to {high:.2f}", budget, holds, self.detail


COLUMNS: Final = ("what", "value", "range", "budget", "holds", "in this run")


def _figure(name: str, values: list[float], budget: float | None, detail: str, *, at_most: bool = False) -> Figure:
    return Figure(name, median(values), (min(values), max(values)), budget, at_most, detail)


def _caller(server: EmbeddedPostgres) -> Iterator[Figure]:
    states = (("Postgres up", server.dsn()), ("Postgres down", caller.NOBODY))
    paces = ((f"{caller.BURST} in a row every 40 ms", caller.BURST), ("one every 2 ms", 1))
    for (pace, burst), (state, dsn) in product(paces, states):
        costs = caller.measure(caller.ROUNDS, dsn, burst)
        for which, budget, sides in (
            ("median", 2.0, [(cost.ours_us, cost.bare_us) for cost in costs]),
            ("p99", 5.0, [(cost.ours_p99_us, cost.bare_p99_us) for cost in costs]),
        ):
            ours, bare = (median(side) for side in zip(*sides, strict=True))
            detail = f"{ours:.0f} us against {bare:.0f} us"
            name = f"caller's cost, {which} / the SDK's own span, {pace}, {state}"
            yield _figure(name, [ours / bare for ours, bare in sides], budget, detail, at_most=True)


def _writer(server: EmbeddedPostgres) -> Iterator[Figure]:
    speeds = writer.measure(server, ROUNDS)
    budgets = {writer.EXPORT: 0.55, writer.DRAIN: 0.55, writer.DRAIN_TWO: 0.9}
    for way in speeds.ways:
        name = f"spans to rows, {way} / server-side COPY BINARY"
        yield _figure(name, speeds.ratios(way), budgets.get(way), writer.describe(speeds, way))
    # An exporter is compared with one that is given as many spans at a time.
    for way, peer, budget, rows_s in (
        (
            writer.EXPORT,
            "one INSERT and commit a row, awaited",
            8.0,
            peers.measure_awaited(server.dsn(), PEER_ROWS, ROUNDS),
        ),
        (
            writer.EXPORTS,
            "Monocle's PostgresSpanExporter",
            5.0,
            peers.measure_monocle(server.dsn(), PEER_ROWS, ROUNDS),
        ),
    ):
        ours = median(speeds.ways[way])
        detail = f"{ours:,.0f} rows/s against {median(rows_s):,.0f} rows/s"
        yield _figure(f"spans to rows, {way} / {peer}", [ours / each for each in rows_s], budget, detail)
    ours = median(speeds.ways[writer.AT_ONCE])
    batched = peers.measure_batched(server.dsn(), writer.ROWS, ROUNDS)
    lost = [writer.ROWS - rows for rows, _ in batched]
    speed = median(rows / seconds for rows, seconds in batched)
    detail = f"{ours:,.0f} rows/s against {speed:,.0f} rows/s of those that it kept"
    name = f"spans that are lost of {writer.ROWS:,} that end at once, BatchSpanProcessor in front of our exporter"
    yield _figure(name, [float(n) for n in lost], None, detail, at_most=True)


def _sink(server: EmbeddedPostgres, minutes: float) -> Iterator[Figure]:
    speeds = sink.measure(server, ROUNDS)
    ratios = [ours / copy for ours, copy in zip(speeds.sink, speeds.copy, strict=True)]
    detail = f"{median(speeds.sink):,.0f} rows/s against {median(speeds.copy):,.0f} rows/s"
    yield _figure(f"{SINK} / server-side COPY BINARY", ratios, 0.35, detail)
    writer.make_database(server, "phoenix")
    peer = phoenix.measure(server.tcp_dsn("phoenix"), PEER_ROWS, 3)
    detail = f"{median(speeds.sink):,.0f} rows/s against {median(peer):,.0f} rows/s"
    yield _figure(f"{SINK} / Phoenix", [median(speeds.sink) / each for each in peer], None, detail)
    detail = f"through gRPC, in requests of {sink.BATCH} without a record"
    yield _figure("us a strange span at the sink", speeds.strange_us, 5.0, detail, at_most=True)
    for rate in (10, 100, 1000):
        asyncio.run(writer.run(server.dsn(), "TRUNCATE agent.intent_events"))
        found = sink.lone(server.dsn(), rate)
        detail = f"p99 {found.p99_ms:.1f} ms, from when it was due to the answer after COMMIT"
        name = f"ms a lone request waits at the sink, median, {rate:,} a second"
        yield _figure(name, [found.p50_ms], None, detail, at_most=True)
    if minutes:
        more_mb, rows = sink.memory(server.dsn(), minutes)
        detail = f"{rows:,.0f} rows stored and as many spans passed over meanwhile"
        yield _figure(f"MB more after {minutes:g} minutes of load at the sink", [more_mb], 20.0, detail, at_most=True)


def _soak(seconds: float) -> Iterator[Figure]:
    found = soak.measure(seconds)
    detail = (
        f"{found['emitted']:,} emitted, {found['stored']:,} stored, {found['duplicate']:,} found stored already, "
        f"{found['dropped']:,} dropped, {found['restarts']} restarts; being recorded cost {found['p50_us']:.0f} us, "
        f"p99 {found['p99_us']:.0f} us"
    )
    wrong = found["emitted"] - found["stored"] + found["doubled"] + found["dropped"] + found["beyond"]
    name = f"utterances lost or doubled in {seconds:g} s of {soak.RATE} a second, Postgres restarted every "
    yield _figure(f"{name}{soak.RESTART_EVERY_S:g} s", [float(wrong)], 0.0, detail, at_most=True)


def _large(server: EmbeddedPostgres, rows: int) -> Iterator[Figure]:
    writer.fill(server, rows)
    with writer.server() as empty:
        speeds = writer.rates(empty, server, ROUNDS)
    for way, found in speeds.items():
        ratios = [full / none for full, none in zip(found.filled, found.empty, strict=True)]
        detail = f"{median(found.filled):,.0f} rows/s against {median(found.empty):,.0f} rows/s"
        yield _figure(f"table of {rows:,} rows / empty table, {way}", ratios, 0.8, detail)
    new = sum(len(found.filled) for found in speeds.values()) * writer.ROWS
    detail = f"right after {new:,} new rows, whose pages have few filters yet; connecting included"
    yield _figure(f"ms to find a fingerprint among {rows:,}", writer.lookups(server, 15), None, detail, at_most=True)


@contextmanager
def _server_that_is_last() -> Generator[EmbeddedPostgres]:
    """One of its own, since those of other parts run as always."""
    with writer.server() as server:
        stall.put_last(server)
        yield server


def _backlogs(most: int) -> Iterator[Figure]:
    with _server_that_is_last() as server:
        yield from _backlogs_of(server, most)


def _backlogs_of(server: EmbeddedPostgres, most: int) -> Iterator[Figure]:
    for waiting in (n for n in (1_000, 10_000, 100_000, 1_000_000) if n <= most):
        asyncio.run(writer.run(server.dsn(), tampering("TRUNCATE agent.intent_events")))
        found = backlog.measure(server.dsn(), waiting)
        records = waiting + found.came + 1
        if found.rows != records:
            raise SystemExit(f"{records} records became {found.rows} rows")
        detail = (
            f"all stored in {found.stored_s:.1f} s, and {found.came:,} new ones meanwhile; "
            f"memory {found.waiting_mb:.1f} MB more while waiting, {found.peak_mb:.1f} MB at its most; "
            f"a tick of the host's loop late by {found.late_ms:.1f} ms (p99.9), at the most {found.worst_ms:.1f} ms, "
            f"by {found.idle_late_ms:.1f} ms (p99.9) without us"
        )
        cost = found.stored_s / (waiting + found.came) * 1e6
        yield _figure(f"us a row, {waiting:,} waiting", [cost], None, detail, at_most=True)
        if waiting == most:
            name = f"MB more than idle with {waiting:,} waiting, draining them included"
            yield _figure(name, [found.peak_mb], 50.0, detail, at_most=True)


def _stalls() -> Iterator[Figure]:
    beyond: dict[bool, list[bool]] = {False: [], True: []}
    with _server_that_is_last() as server:
        found = stall.measure(server, stall.ROUNDS)
    for name, rounds in found.items():
        worst = [each.worst for each in rounds]
        over = [each > _MOST_LATE_MS for each in worst]
        beyond[name == stall.UNRECORDED] += over
        p999 = median(each.p999 for each in rounds)
        detail = f"p99.9 {p999:.1f} ms; beyond {_MOST_LATE_MS:g} ms in {sum(over)} of {len(over)} rounds"
        budget = None if name == stall.UNRECORDED else _MOST_LATE_MS
        what = f"ms that the loop of a host is late at its worst moment of a round, {name}"
        yield _figure(what, worst, budget, detail, at_most=True)
    for unrecorded, which in ((False, "faults and all"), (True, "nothing is recorded")):
        over = beyond[unrecorded]
        detail = f"{sum(over)} of {len(over)} rounds"
        share = 100 * sum(over) / len(over)
        yield _figure(
            f"% of rounds with a moment beyond {_MOST_LATE_MS:g} ms, {which}", [share], None, detail, at_most=True
        )


def _page(figures: list[Figure], days: str) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench`. Figures are ratios inside one run, medians of {ROUNDS} rounds (of the caller's cost",
        f"{caller.ROUNDS}) in which the sides take turns; of stalls {stall.ROUNDS}. Absolute figures do not carry over",
        "to other machines.",
        f"Measured: {days}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- | ---: | ---: | ---: | --- | --- |",
        *(f"| {' | '.join(figure.cells())} |" for figure in figures),
        "",
        "How near each way comes to one server-side COPY BINARY of the same rows:",
        "",
        "```mermaid",
        "xychart-beta horizontal",
    ]
    charted = [figure for figure in figures if figure.name.endswith("/ server-side COPY BINARY")]
    names = [f'"{figure.name.partition(", ")[2].partition(" / ")[0]}"' for figure in charted]
    lines += [
        f"  x-axis [{', '.join(names)}]",
        '  y-axis "rows a second / COPY" 0 --> 1',
        f"  bar [{', '.join(f'{figure.value:.2f}' for figure in charted)}]",
        "```",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the page and ``benchmarks.json`` beside it; exit 1 when a budget is not kept."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the budgets.")
    parser.add_argument("--large", type=int, default=10_000_000, help="rows of the large table; 0 leaves it out")
    parser.add_argument("--waiting", type=int, default=1_000_000, help="most records that wait for Postgres")
    parser.add_argument("--minutes", type=float, default=10, help="minutes of load on the sink; 0 leaves it out")
    parser.add_argument("--soak", type=float, default=180, help="seconds of load with restarts; 0 leaves it out")
    parser.add_argument(
        "--only",
        choices=PARTS,
        nargs="*",
        default=PARTS,
        help="parts to measure; the others stay on the page as they are",
    )
    given = parser.parse_args()
    figures: dict[str, list[Figure]] = {}
    with writer.server() as server:
        parts = {
            "caller": _caller(server),
            "stalls": _stalls(),
            "soak": _soak(given.soak) if given.soak else (),
            "writer": _writer(server),
            "backlogs": _backlogs(given.waiting),
            "sink": _sink(server, given.minutes),
            "large": _large(server, given.large) if given.large else (),
        }
        for name in given.only:
            figures[name] = list(parts[name])
    table = Table(title="Budgets")
    for column in COLUMNS:
        table.add_column(column)
    measured = [figure for part in figures.values() for figure in part]
    for figure in measured:
        table.add_row(*figure.cells())
    Console().print(table)
    keep(figures)
    sys.exit(any(figure.holds is False for figure in measured))


def keep(figures: dict[str, list[Figure]]) -> None:
    """Put parts on the page and into ``benchmarks.json`` beside it, in place of what these had of them."""
    file = PAGE.with_suffix(".json")
    parts: dict[str, Any] = json.loads(file.read_text("utf-8"))["parts"]
    today = datetime.now(UTC).date().isoformat()
    for name, part in figures.items():
        if part:
            kept = [{**figure._asdict(), "holds": figure.holds} for figure in part]
            rounds = {"caller": caller.ROUNDS, "stalls": stall.ROUNDS}.get(name, ROUNDS)
            parts[name] = {"measured": today, "rounds": rounds, "figures": kept}
    parts = {name: parts[name] for name in PARTS if name in parts}
    file.write_text(json.dumps({"parts": parts}, indent=2) + "\n", "utf-8")
    fields = Figure._fields
    every = [Figure(*(kept[field] for field in fields)) for part in parts.values() for kept in part["figures"]]
    days = ", ".join(f"{name} on {part['measured']}" for name, part in parts.items())
    PAGE.write_text(_page(every, days), "utf-8")


if __name__ == "__main__":
    main()
