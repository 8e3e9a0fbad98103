# SPDX-License-Identifier: Apache-2.0
"""``intent-events report``: what happened to the utterances of a window."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from intent_events.cli.formats import Format, as_csv, as_markdown, as_table, can_draw, count, fit, printable, stacked
from intent_events.cli.options import Dsn, Exit, address
from intent_events.cli.report_sheets import CSV_HEADER, caveats, rates_of, sheets_of, tidy_rows, window_line
from intent_events.errors import SettingsError, UnavailableError
from intent_events.review.report import report as read
from intent_events.review.report_model import Report
from intent_events.review.windows import parse_duration, window_of

_WIDTH: Final = 100
_STYLES: Final = {
    "matched": "green",
    "clarify": "yellow",
    "no_match": "magenta",
    "denied": "blue",
    "error": "red",
    "other": "bright_black",
}


def report(
    *,
    since: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_REPORT_SINCE",
            metavar="WHEN",
            help="First moment of the window: a duration back from now (30s, 15m, 12h, 7d, 2w), a date, or a time.",
        ),
    ] = "7d",
    until: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_REPORT_UNTIL",
            metavar="WHEN",
            help="First moment after the window. Dates and times without a zone are UTC.",
        ),
    ] = "now",
    top: Annotated[
        int,
        typer.Option(
            envvar="INTENT_EVENTS_REPORT_TOP", metavar="N", min=1, max=10_000, help="Rows that a section may have."
        ),
    ] = 10,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            envvar="INTENT_EVENTS_REPORT_FORMAT",
            metavar="FORMAT",
            help="How to print: table, json, csv or markdown.",
        ),
    ] = Format.TABLE,
    synthetic: Annotated[
        bool,
        typer.Option(
            "--synthetic",
            envvar="INTENT_EVENTS_REPORT_SYNTHETIC",
            show_default=False,
            help="Count test, demo and canary traffic too.",
        ),
    ] = False,
    scope: Annotated[
        str | None,
        typer.Option(
            envvar="INTENT_EVENTS_REPORT_SCOPE",
            metavar="ID",
            help="Only utterances of this scope. Every one if not set.",
        ),
    ] = None,
    timeout: Annotated[
        str,
        typer.Option(envvar="INTENT_EVENTS_REPORT_TIMEOUT", metavar="TIME", help="How long reading may take."),
    ] = "30s",
    dsn: Dsn = "",
) -> None:
    """What happened to the utterances of a window: outcomes, failure modes, verbs, policy, prompt versions.

    Exit codes: 0 fine, 2 wrong use, 3 could not ask (no database, not migrated,
    no permission, too slow): then only the reason is printed, on stderr.
    """
    try:
        window = window_of(
            since,
            until,
            datetime.now(UTC),
            since_name="--since (INTENT_EVENTS_REPORT_SINCE)",
            until_name="--until (INTENT_EVENTS_REPORT_UNTIL)",
        )
        timeout_s = _seconds(timeout)
        figures = asyncio.run(
            read(address(dsn), window, scope=scope, synthetic=synthetic, top=top, timeout_s=timeout_s)
        )
    except SettingsError as error:  # a flag, a file or the address of the database cannot be used
        typer.echo(f"intent-events report: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except UnavailableError as error:  # no connection, not migrated, no permission, too slow
        typer.echo(f"intent-events report: could not ask: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    show(figures, output_format)


def show(figures: Report, output_format: Format) -> None:
    """Print a report to stdout.

    Args:
        figures: the report.
        output_format: how to print it.
    """
    match output_format:
        case Format.TABLE:
            reconfigure = getattr(sys.stdout, "reconfigure", None)
            if reconfigure is not None:  # a verb may have letters that the terminal's encoding has not
                reconfigure(errors="backslashreplace")
            show_table(figures, Console(highlight=False))
        case Format.JSON:
            _write(figures.model_dump_json(indent=2) + "\n")
        case Format.CSV:
            _write(as_csv(CSV_HEADER, tidy_rows(figures)))
        case Format.MARKDOWN:
            _write(markdown_of(figures))


def show_table(figures: Report, console: Console) -> None:
    """Print a report as terminal tables: the headline first.

    Args:
        figures: the report.
        console: where to; wider terminals are used up to 100 columns.
    """
    fit(console, _WIDTH)
    bars = can_draw(console)
    console.print(Text.assemble(("Intent report", "bold"), "  ", (printable(window_line(figures)), "dim")))
    console.print()
    if bars and console.color_system and figures.n:
        console.print(stacked([(rate, _STYLES[name]) for name, rate in figures.rates], console.width))
    console.print(_headline(figures))
    console.print()
    for line in caveats(figures):
        console.print(Text(line, "dim"))
    spaced = True
    for sheet in sheets_of(figures):
        if spaced or sheet.rows:  # empty sections are one line each and stand together
            console.print()
        spaced = bool(sheet.rows)
        console.print(as_table(sheet, bars=bars))


def markdown_of(figures: Report) -> str:
    """A report as Markdown that can be pasted into an issue or a pull request."""
    rates = " · ".join(f"{rate} {name}" for name, rate in rates_of(figures.rates).items())
    head = [
        "## Intent report",
        printable(window_line(figures)),
        f"**{count(figures.n)} utterances**: {rates}",
        "\n".join(f"- {line}" for line in caveats(figures)),
    ]
    return "\n\n".join(head) + "\n\n" + "\n".join(as_markdown(sheet) for sheet in sheets_of(figures))


def _write(text: str) -> None:
    typer.echo(text.encode(), nl=False)  # UTF-8 in every locale: these are for programs


def _headline(figures: Report) -> Table:
    headline = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    headline.add_column("utterances", justify="right", style="bold")
    for name, style in zip(rates_of(figures.rates), _STYLES.values(), strict=True):
        headline.add_column(name, justify="right", style=f"bold {style}", header_style=style)
    headline.add_row(count(figures.n), *rates_of(figures.rates).values())
    return headline


def _seconds(timeout: str) -> float:
    duration = parse_duration(timeout)
    if duration is None:
        raise SettingsError(f"--timeout (INTENT_EVENTS_REPORT_TIMEOUT): {timeout!r} is no duration; write 30s or 2m")
    return duration.total_seconds()
