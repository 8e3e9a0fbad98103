# SPDX-License-Identifier: Apache-2.0
"""``intent-events lookup``: whether something was said, by its fingerprint under every live key."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from intent_events.cli.formats import Column, Kind, Sheet, as_table, can_draw, count, fit, printable
from intent_events.cli.options import Dsn, Exit, Shown, address, seconds_of
from intent_events.errors import SettingsError, UnavailableError
from intent_events.instrument.current import make_privacy
from intent_events.privacy import Privacy, read_ring
from intent_events.review.lookup import Lookup
from intent_events.review.lookup import lookup as find
from intent_events.review.windows import parse_instant
from intent_events.settings import RecordSettings

_WIDTH: Final = 120
_NARROW: Final = 100
_NAMED: Final = "--since (INTENT_EVENTS_LOOKUP_SINCE)"


def lookup(
    *,
    template: Annotated[
        bool,
        typer.Option(
            "--template",
            envvar="INTENT_EVENTS_LOOKUP_TEMPLATE",
            help="Find utterances of the same template: those that differ in values only, this one among them.",
        ),
    ] = False,
    since: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_LOOKUP_SINCE",
            metavar="WHEN",
            help="First moment to look at: a duration back from now (12h, 7d, 2w), a date, or a time.",
        ),
    ] = "90d",
    limit: Annotated[
        int,
        typer.Option(
            envvar="INTENT_EVENTS_LOOKUP_LIMIT", min=1, max=1000, help="Utterances to show of each key, the latest."
        ),
    ] = 20,
    output_format: Annotated[
        Shown,
        typer.Option(
            "--format", envvar="INTENT_EVENTS_LOOKUP_FORMAT", metavar="FORMAT", help="How to print: table or json."
        ),
    ] = Shown.TABLE,
    timeout: Annotated[
        str,
        typer.Option(envvar="INTENT_EVENTS_LOOKUP_TIMEOUT", metavar="TIME", help="How long asking may take."),
    ] = "30s",
    dsn: Dsn = "",
) -> None:
    """Was this said? Reads the text from standard input, so that it is in no list of processes and no history.

    Run it with the keys (INTENT_EVENTS_HASH_KEY_FILE, INTENT_EVENTS_HASH_KEYRING) of the service. Exit codes: 0 found,
    1 not found, 2 wrong use, 3 could not ask (no database, not migrated, no permission, too slow).
    """
    try:
        first = parse_instant(since, datetime.now(UTC), name=_NAMED)
        timeout_s = seconds_of(timeout, name="--timeout (INTENT_EVENTS_LOOKUP_TIMEOUT)")
        privacy = _rules()
        found = asyncio.run(
            find(
                address(dsn),
                _text_given(),
                privacy,
                since=first,
                template=template,
                limit=limit,
                timeout_s=timeout_s,
            )
        )
    except SettingsError as error:  # a flag, a variable, a key or the address of the database cannot be used
        typer.echo(f"intent-events lookup: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except UnavailableError as error:  # no connection, not migrated, no permission, too slow
        typer.echo(f"intent-events lookup: could not ask: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    if output_format is Shown.JSON:
        typer.echo(found.model_dump_json(indent=2))
    else:
        show_table(found, Console(highlight=False))
    if not found.n:
        raise typer.Exit(Exit.FOUND)


def _rules() -> Privacy:
    settings = RecordSettings.from_environment()
    if settings.hash == "keyed" and read_ring(settings) is None:
        raise SettingsError("no key to look with: set INTENT_EVENTS_HASH_KEY_FILE or INTENT_EVENTS_HASH_KEYRING")
    return make_privacy(settings)


def _text_given() -> str:
    if sys.stdin.isatty():
        typer.echo("Type what was said, then Ctrl-D:", err=True)
    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").strip()
    if not text:
        raise SettingsError("there is no text on standard input: pipe it in, as in `intent-events lookup < text`")
    return text


def show_table(found: Lookup, console: Console) -> None:
    """Print what was found to a terminal.

    Args:
        found: what was found.
        console: where to; wider terminals are used up to 120 columns.
    """
    fit(console, _WIDTH)
    console.print(Text(_headline(found), "bold"))
    keys = ", ".join(f"{printable(_key(each.hash_key_id))} {count(each.n)}" for each in found.keys)
    console.print(Text(f"by key: {keys}", "dim"))
    if not found.events:
        return
    # Beside an id, which is never folded, a narrow terminal has room for whole words of a short form alone.
    moment = "%m-%d %H:%M" if console.width < _NARROW else "%Y-%m-%d %H:%M:%S"
    titles = ("when (UTC)", "event", "key", "outcome", "verb", "preview")
    rows = tuple(
        (
            f"{event.ts.astimezone(UTC):{moment}}",
            event.event_id,
            printable(_key(event.hash_key_id)),
            printable(event.outcome),
            printable(event.chosen_verb_fqn or "—"),
            printable(event.utterance_preview or "—"),
        )
        for event in found.events
    )
    columns = tuple(Column(title, Kind.TEXT) for title in titles)
    sheet = Sheet(title="Latest", of=f"{count(found.n)} utterances", columns=columns, rows=rows)
    console.print()
    console.print(as_table(sheet, bars=can_draw(console)))


def _headline(found: Lookup) -> str:
    what = "of this template" if found.by == "template" else "of this text"
    many = {0: "No utterance", 1: "1 utterance"}.get(found.n, f"{count(found.n)} utterances")
    return f"{many} {what} since {found.since:%Y-%m-%d %H:%M} UTC."


def _key(key_id: str | None) -> str:
    return "plain" if key_id is None else key_id
