# SPDX-License-Identifier: Apache-2.0
"""``intent-events reconcile``: whether every record that was emitted is somewhere."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from intent_events.cli.formats import Format, as_csv, as_markdown, as_table, can_draw, fit, printable, stacked
from intent_events.cli.options import Dsn, Exit, address
from intent_events.cli.reconcile_sheets import (
    CSV_HEADER,
    caveats,
    sheets_of,
    sums_of,
    tidy_rows,
    verdict,
    window_line,
)
from intent_events.errors import SettingsError, UnavailableError
from intent_events.review.ledger_model import Reconciliation, Sums
from intent_events.review.reconcile import Spooled, spooled_of
from intent_events.review.reconcile import reconcile as account_for
from intent_events.review.windows import parse_duration, window_of
from intent_events.settings import DeliverySettings
from intent_events.spans import SpanView

_WIDTH: Final = 110
_STYLES: Final = dict(
    zip(Sums.model_fields, ("", "green", "cyan", "yellow", "magenta", "bright_black", "red"), strict=True)
)


def reconcile(
    *,
    since: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_RECONCILE_SINCE",
            metavar="WHEN",
            help="First moment of the window: a duration back from now (30s, 15m, 12h, 7d, 2w), a date, or a time.",
        ),
    ] = "1d",
    until: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_RECONCILE_UNTIL",
            metavar="WHEN",
            help="First moment after the window. Dates and times without a zone are UTC.",
        ),
    ] = "now",
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            envvar="INTENT_EVENTS_RECONCILE_FORMAT",
            metavar="FORMAT",
            help="How to print: table, json, csv or markdown.",
        ),
    ] = Format.TABLE,
    spool_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="INTENT_EVENTS_SPOOL_DIR",
            metavar="FOLDER",
            show_default=False,
            help="Spool of this host to look at: that of the service. Its default if not set.",
        ),
    ] = None,
    timeout: Annotated[
        str,
        typer.Option(envvar="INTENT_EVENTS_RECONCILE_TIMEOUT", metavar="TIME", help="How long reading may take."),
    ] = "30s",
    dsn: Dsn = "",
) -> None:
    """Whether every record that was emitted is somewhere: stored, spooled, dropped for a reason, or dead.

    Exit codes: 0 all accounted for, 1 something is missing, 2 wrong use, 3 could not ask
    (no database, not migrated, no permission, too slow): then only the reason is printed, on stderr.
    """
    try:
        window = window_of(
            since,
            until,
            datetime.now(UTC),
            since_name="--since (INTENT_EVENTS_RECONCILE_SINCE)",
            until_name="--until (INTENT_EVENTS_RECONCILE_UNTIL)",
        )
        timeout_s = _seconds(timeout)
        ledger = asyncio.run(account_for(address(dsn), window, partial(_look, spool_dir), timeout_s=timeout_s))
    except SettingsError as error:  # a flag, a file or the address of the database cannot be used
        typer.echo(f"intent-events reconcile: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except UnavailableError as error:  # no connection, not migrated, no permission, too slow; or the spool is closed
        typer.echo(f"intent-events reconcile: could not ask: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    show(ledger, output_format)
    if ledger.total.missing:
        raise typer.Exit(Exit.FOUND)


def show(ledger: Reconciliation, output_format: Format) -> None:
    """Print a reconciliation to stdout.

    Args:
        ledger: what was found.
        output_format: how to print it.
    """
    match output_format:
        case Format.TABLE:
            reconfigure = getattr(sys.stdout, "reconfigure", None)
            if reconfigure is not None:  # a service may have letters that the terminal's encoding has not
                reconfigure(errors="backslashreplace")
            show_table(ledger, Console(highlight=False))
        case Format.JSON:
            _write(ledger.model_dump_json(indent=2) + "\n")
        case Format.CSV:
            _write(as_csv(CSV_HEADER, tidy_rows(ledger)))
        case Format.MARKDOWN:
            _write(markdown_of(ledger))


def show_table(ledger: Reconciliation, console: Console) -> None:
    """Print a reconciliation as terminal tables: the answer first.

    Args:
        ledger: what was found.
        console: where to; wider terminals are used up to 110 columns.
    """
    fit(console, _WIDTH)
    console.print(Text.assemble(("Loss ledger", "bold"), "  ", (window_line(ledger), "dim")))
    console.print()
    total = ledger.total
    if can_draw(console) and console.color_system and total.emitted:
        parts = [(getattr(total, name) / total.emitted, style) for name, style in _STYLES.items() if style]
        console.print(stacked(parts, console.width))
    console.print(_headline(total))
    console.print()
    console.print(Text(verdict(ledger), "bold red" if total.missing else "bold"))
    for line in caveats(ledger):
        console.print(Text(printable(line), "dim"))
    for sheet in sheets_of(ledger):
        if sheet.rows:
            console.print()
            console.print(as_table(sheet))


def markdown_of(ledger: Reconciliation) -> str:
    """A reconciliation as Markdown that can be pasted into an issue."""
    head = [
        "## Loss ledger",
        window_line(ledger),
        f"**{verdict(ledger)}** " + " · ".join(f"{n} {name}" for name, n in sums_of(ledger.total).items()),
        "\n".join(f"- {printable(line)}" for line in caveats(ledger)),
    ]
    return "\n\n".join(head) + "\n\n" + "\n".join(as_markdown(sheet) for sheet in sheets_of(ledger) if sheet.rows)


def _look(folder: Path | None) -> Spooled:
    """What waits in the spool of this host; nothing when there is none."""
    try:
        from intent_events_exporter.record import decode  # noqa: PLC0415 - another distribution, which may be absent
        from intent_events_exporter.spool import look  # noqa: PLC0415
    except ImportError:  # the core alone, as on the machine of whoever reviews
        if folder is None:
            return Spooled()
        raise SettingsError(
            "--spool-dir (INTENT_EVENTS_SPOOL_DIR): only intent-events-exporter can read a spool; install it here"
        ) from None
    place = folder or DeliverySettings.from_environment().spool_folder()

    def read() -> Iterator[SpanView | None]:
        for waiting in look(place):
            try:
                yield decode(waiting.payload)
            except ValueError:  # of a newer version, or damaged in a way that its checksum does not tell
                yield None

    try:
        if not place.is_dir():
            return Spooled()
        next(place.iterdir(), None)  # a folder that is closed to this user must not look like an empty one
        return spooled_of(read(), socket.gethostname())
    except OSError as error:  # no permission, or a disk that fails
        problem = UnavailableError(f"the spool cannot be read ({type(error).__name__}): run this as the service's user")
    raise problem


def _headline(total: Sums) -> Table:
    headline = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    for name, style in zip(sums_of(total), _STYLES.values(), strict=True):
        headline.add_column(name, justify="right", style=f"bold {style}".strip(), header_style=style)
    headline.add_row(*sums_of(total).values())
    return headline


def _write(text: str) -> None:
    typer.echo(text.encode(), nl=False)  # UTF-8 in every locale: these are for programs


def _seconds(timeout: str) -> float:
    duration = parse_duration(timeout)
    if duration is None:
        raise SettingsError(f"--timeout (INTENT_EVENTS_RECONCILE_TIMEOUT): {timeout!r} is no duration; write 30s or 2m")
    return duration.total_seconds()
