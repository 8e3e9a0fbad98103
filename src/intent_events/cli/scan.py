# SPDX-License-Identifier: Apache-2.0
"""``intent-events scan``: does anything that is kept look like personal data, or hold a canary."""

import asyncio
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from intent_events.cli.formats import Format, as_csv, as_markdown, as_table, printable
from intent_events.cli.options import Dsn, Exit, SpoolDir, address, seconds_of
from intent_events.cli.scan_sheets import CSV_HEADER, caveats, sheets_of, tidy_rows, verdict, window_line
from intent_events.cli.scan_spool import look_at_spool
from intent_events.errors import SettingsError, UnavailableError
from intent_events.privacy.canaries import Canaries, canaries_in
from intent_events.privacy.patterns import PersonalKind, kinds_in
from intent_events.review.scan import Inspector
from intent_events.review.scan import scan as look_through
from intent_events.review.scan_model import Scan
from intent_events.review.windows import NOW, parse_instant
from intent_events.settings import DeliverySettings, ScanSettings, read_secret, variable_of
from intent_events.store.scan import TextQuery

KINDS: Final = tuple(kind.value for kind in PersonalKind if kind is not PersonalKind.UUID)
"""What is looked for; UUIDs are keys of ours."""

ALL: Final = "all"
"""A window without a beginning."""

_LOOKED_FOR: Final = frozenset(KINDS)
_WIDTH: Final = 110
_SAMPLE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")
_CANARIES_FILE: Final = "INTENT_EVENTS_SCAN_CANARIES_FILE"


def scan(
    *,
    since: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_SCAN_SINCE",
            metavar="WHEN",
            help="First moment of the window: a duration back from now (12h, 7d), a date, a time, or all.",
        ),
    ] = ALL,
    until: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_SCAN_UNTIL",
            metavar="WHEN",
            help="First moment after the window. Dates and times without a zone are UTC.",
        ),
    ] = NOW,
    sample: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_SCAN_SAMPLE",
            metavar="SHARE",
            help="Share of the pages of each table to read, at random: 5%, 0.1%.",
        ),
    ] = "100%",
    canaries: Annotated[
        Path | None,
        typer.Option(
            envvar=_CANARIES_FILE,
            metavar="FILE",
            show_default=False,
            help="Values that may be found nowhere, one a line. INTENT_EVENTS_SCAN_CANARIES holds them itself.",
        ),
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            envvar="INTENT_EVENTS_SCAN_FORMAT",
            metavar="FORMAT",
            help="How to print: table, json, csv or markdown.",
        ),
    ] = Format.TABLE,
    spool_dir: SpoolDir = None,
    timeout: Annotated[
        str,
        typer.Option(envvar="INTENT_EVENTS_SCAN_TIMEOUT", metavar="TIME", help="How long reading the tables may take."),
    ] = "1h",
    dsn: Dsn = "",
) -> None:
    """Does anything that is kept look like personal data, or hold a canary: in every table, and in the spool.

    It reads every text of every table in schema agent, so it needs a role that may SELECT them all: their owner.
    It shows where and how often, never what.
    Exit codes: 0 nothing found, 1 something found, 2 wrong use, 3 could not ask (no database, not migrated,
    no permission, too slow): then only the reason is printed, on stderr.
    """
    try:
        query = _query(since, until, sample, timeout)
        looked_for = _canaries(canaries)
        inspector = Inspector(detect, looked_for)
        place = address(dsn)
        folder = spool_dir or DeliverySettings.from_environment().spool_folder()
        looked_through = look_at_spool(inspector, folder, named=spool_dir is not None)
        spool = None if looked_through is None else (str(folder), looked_through)
        found = asyncio.run(look_through(place, query, inspector, kinds=KINDS, canaries=len(looked_for), spool=spool))
    except SettingsError as error:  # a flag, a variable or a file cannot be used
        typer.echo(f"intent-events scan: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except UnavailableError as error:  # no connection, not migrated, no permission, too slow; or the spool is closed
        typer.echo(f"intent-events scan: could not ask: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    show(found, output_format)
    if found.findings:
        raise typer.Exit(Exit.FOUND)


def show(found: Scan, output_format: Format) -> None:
    """Print a scan to stdout.

    Args:
        found: what was found.
        output_format: how to print it.
    """
    match output_format:
        case Format.TABLE:
            reconfigure = getattr(sys.stdout, "reconfigure", None)
            if reconfigure is not None:  # a folder may have letters that the terminal's encoding has not
                reconfigure(errors="backslashreplace")
            show_table(found, Console(highlight=False))
        case Format.JSON:
            _write(found.model_dump_json(indent=2) + "\n")
        case Format.CSV:
            _write(as_csv(CSV_HEADER, tidy_rows(found)))
        case Format.MARKDOWN:
            _write(markdown_of(found))


def show_table(found: Scan, console: Console) -> None:
    """Print a scan as terminal tables: the answer first.

    Args:
        found: what was found.
        console: where to; wider ones are used up to 110 columns.
    """
    console.width = min(console.width, _WIDTH)
    console.print(Text.assemble(("Privacy scan", "bold"), "  ", (window_line(found), "dim")))
    console.print()
    console.print(Text(verdict(found), "bold red" if found.findings else "bold"))
    for line in caveats(found):
        console.print(Text(printable(line), "dim"))
    for sheet in sheets_of(found):
        if sheet.rows:
            console.print()
            console.print(as_table(sheet))


def markdown_of(found: Scan) -> str:
    """A scan as Markdown that can be pasted into an issue."""
    head = [
        "## Privacy scan",
        window_line(found),
        f"**{verdict(found)}**",
        "\n".join(f"- {printable(line)}" for line in caveats(found)),
    ]
    return "\n\n".join(head) + "\n\n" + "\n".join(as_markdown(sheet) for sheet in sheets_of(found) if sheet.rows)


def _query(since: str, until: str, sample: str, timeout: str) -> TextQuery:
    now = datetime.now(UTC)
    start = (
        None if since.strip().lower() == ALL else parse_instant(since, now, name="--since (INTENT_EVENTS_SCAN_SINCE)")
    )
    end = None if until.strip().lower() == NOW else parse_instant(until, now, name="--until (INTENT_EVENTS_SCAN_UNTIL)")
    if start is not None and start >= (end or now):
        raise SettingsError("--since (INTENT_EVENTS_SCAN_SINCE) is not before --until (INTENT_EVENTS_SCAN_UNTIL)")
    return TextQuery(
        since=start,
        until=end,
        sample=_share(sample),
        timeout_s=seconds_of(timeout, name="--timeout (INTENT_EVENTS_SCAN_TIMEOUT)"),
    )


def _share(text: str) -> float:
    match = _SAMPLE.fullmatch(text.strip())
    value = float(match[1]) / 100 if match else 0.0
    if not 0 < value <= 1:
        raise SettingsError(f"--sample (INTENT_EVENTS_SCAN_SAMPLE): {text!r} is no share; write 5% or 0.1%")
    return value


def _canaries(path: Path | None) -> Canaries:
    if path is not None:
        source = f"--canaries ({_CANARIES_FILE})"
        return canaries_in(read_secret(path, source), source=f"{source}: {path}")
    given = ScanSettings.from_environment().canaries
    if given is None:
        return Canaries()
    return canaries_in(given.get_secret_value(), source=variable_of(ScanSettings, "canaries"))


def detect(text: str) -> set[str]:
    """Kinds of personal data that a text seems to hold.

    Raises:
        SettingsError: the extra ``patterns`` is not installed.
    """
    return {kind.value for kind in kinds_in(text)} & _LOOKED_FOR


def _write(text: str) -> None:
    typer.echo(text.encode(), nl=False)  # UTF-8 in every locale: these are for programs
