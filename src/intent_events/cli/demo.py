# SPDX-License-Identifier: Apache-2.0
"""``intent-events demo``: the whole way of an utterance, on real parts, in under a minute."""

import asyncio
import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from intent_events.cli.options import Exit
from intent_events.cli.report import show_table
from intent_events.errors import IntentEventsError, SettingsError
from intent_events.review.report import report
from intent_events.review.windows import Window
from intent_events.semconv import Outcome
from intent_events.store.connect import place_of, shown

if TYPE_CHECKING:
    from intent_events.demo.run import Tally

CLARIFY: Final = (Outcome.CLARIFY_VERB, Outcome.CLARIFY_ARGS)
"""Outcomes that ask back."""


class DemoFormat(StrEnum):
    """How the demo prints."""

    TABLE = "table"
    JSON = "json"


def demo(
    *,
    registry: Annotated[
        Path | None,
        typer.Option(
            envvar="INTENT_EVENTS_DEMO_REGISTRY",
            metavar="FILE",
            help="Verbs to use instead of the bundled ones: JSONL of verb, domain, phrases.",
        ),
    ] = None,
    utterances: Annotated[
        Path | None,
        typer.Option(
            envvar="INTENT_EVENTS_DEMO_UTTERANCES",
            metavar="FILE",
            help="What to say instead of the bundled sessions: JSONL of utterance and expected_verb.",
        ),
    ] = None,
    output_format: Annotated[
        DemoFormat,
        typer.Option(
            "--format", envvar="INTENT_EVENTS_DEMO_FORMAT", metavar="FORMAT", help="How to print: table or json."
        ),
    ] = DemoFormat.TABLE,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
            metavar="URL",
            help="OTLP/HTTP backend for the traces. The demo starts a receiver of its own if not set.",
        ),
    ] = None,
    dsn: Annotated[
        str | None,
        typer.Option(
            envvar="INTENT_EVENTS_DSN",
            metavar="DSN",
            help="Postgres to use: it is migrated, and the demo's rows stay there, marked synthetic. Without it the "
            "demo starts one of its own, and stops it again.",
        ),
    ] = None,
) -> None:
    """Run a small orchestrator on bundled utterances and show that each became one row and one span.

    Traces go to OTEL_EXPORTER_OTLP_ENDPOINT over OTLP/HTTP, or to a receiver of the demo's own when that is not set.
    Exit codes: 0 every utterance arrived once at both places, 1 one did not, 2 wrong use, 3 could not ask Postgres.
    """
    err = Console(stderr=True)
    try:
        with _database(dsn, err) as address:
            tally = _run(address, registry, utterances, otlp_endpoint, err)
            if output_format is DemoFormat.JSON:
                typer.echo(json.dumps(_as_json(tally, address)))
            else:
                _show(tally, address, own=not dsn)
    except ModuleNotFoundError as error:  # installed without what the demo runs on
        err.print(f"intent-events demo needs {error.name}: pip install 'intent-events[demo]'", markup=False)
        raise typer.Exit(Exit.WRONG_USE) from None
    except SettingsError as error:  # a file or an address that cannot be used
        err.print(f"intent-events demo: {error}", markup=False)
        raise typer.Exit(Exit.WRONG_USE) from None
    except IntentEventsError as error:  # no Postgres to be had
        err.print(f"intent-events demo: {error}", markup=False)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    if not tally.agrees:
        raise typer.Exit(Exit.FOUND)


def _run(address: str, registry: Path | None, utterances: Path | None, endpoint: str | None, err: Console) -> "Tally":
    from intent_events.demo.registry import load_registry  # noqa: PLC0415 - the extra may be missing
    from intent_events.demo.run import run  # noqa: PLC0415 - the same
    from intent_events.demo.traffic import load_traffic  # noqa: PLC0415 - the same

    verbs = load_registry(registry)
    turns = load_traffic(utterances)
    columns = (TextColumn("handling utterances"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("utterances", total=len(turns))
        return run(address, verbs, turns, endpoint=endpoint, advance=lambda: bar.advance(task))


@contextmanager
def _database(dsn: str | None, err: Console) -> Generator[str]:
    if dsn:
        err.print(f"using {place_of(dsn)}: it is migrated, and the demo's rows stay there", style="dim", markup=False)
        yield dsn
        return
    from intent_events.demo.postgres import EmbeddedPostgres  # noqa: PLC0415 - its wheel may be missing

    with err.status("starting Postgres …"):
        server = EmbeddedPostgres()
        server.start()
    try:
        yield server.dsn()
    finally:
        server.stop()


def _as_json(tally: "Tally", address: str) -> dict[str, object]:
    return {
        "utterances": tally.utterances,
        "rows": tally.rows,
        "otlp_intent_spans": tally.otlp_intent_spans,
        "outcomes": dict(tally.outcomes.most_common()),
        "dsn": shown(address),
        "distinct_event_ids": tally.event_ids,
        "top1_accuracy": tally.accuracy,
        "clarify_rate": tally.rate(*CLARIFY),
        "no_match_rate": tally.rate(Outcome.NO_MATCH),
    }


def _show(tally: "Tally", address: str, *, own: bool) -> None:
    console = Console(highlight=False)
    ledger = Table(title="Ledger", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    ledger.add_column("utterances handled", justify="right")
    ledger.add_column("rows in Postgres", justify="right")
    ledger.add_column("intent spans at the OTLP backend", justify="right")
    ledger.add_row(*(f"{n:,}" for n in (tally.utterances, tally.rows, tally.otlp_intent_spans)))
    console.print(ledger)
    if tally.agrees:
        console.print("[green]Each utterance is one row and one span.[/green]")
    else:
        console.print("[red]The three differ: something was lost or doubled.[/red]")
    console.print(
        f"Best candidate is the verb meant: {tally.hit:,} of {tally.meant:,} ({tally.accuracy:.1%})"
        f" · asked back: {tally.rate(*CLARIFY):.1%} · no match: {tally.rate(Outcome.NO_MATCH):.1%}\n"
    )
    now = datetime.now(UTC)
    window = Window(since=now - timedelta(hours=1), until=now + timedelta(seconds=1))
    show_table(asyncio.run(report(address, window, synthetic=True, top=5)), console)
    console.print("\n[bold]What to try next[/bold]")
    for command, why in _NEXT if own else _NEXT_OWN_DATABASE:
        console.print(f"  {command}", style="cyan", markup=False, soft_wrap=True)
        console.print(f"      {why}", style="dim", markup=False)


_NEXT: Final = (
    ("intent-events demo --format json", "the same, for a program"),
    ("INTENT_EVENTS_DSN=postgresql://… intent-events demo", "in a database of yours, where the rows stay"),
    ("INTENT_EVENTS_DSN=postgresql://… intent-events report --since 1h --synthetic", "this report, from there"),
    ("INTENT_EVENTS_TARGETS=pkg.mod:Class.method opentelemetry-instrument python app.py", "your own orchestrator"),
)
_NEXT_OWN_DATABASE: Final = (
    ("intent-events report --since 1h --synthetic", "this report again; --format json|csv|markdown"),
    ("psql -c 'SELECT * FROM agent.v_intent_failure_modes ORDER BY n DESC'", "the views, in your database"),
    ("INTENT_EVENTS_TARGETS=pkg.mod:Class.method opentelemetry-instrument python app.py", "your own orchestrator"),
)
