# SPDX-License-Identifier: Apache-2.0
"""``intent-events drain``: store what dead processes left in the spool."""

import asyncio
import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from intent_events.cli.formats import count, printable, size
from intent_events.cli.options import Dsn, Exit, Shown, SpoolDir, address, named_spool, seconds_of
from intent_events.errors import IntentEventsError, SettingsError
from intent_events.review.windows import age
from intent_events.settings import DeliverySettings
from intent_events.store.connect import check, named_place_of

if TYPE_CHECKING:
    from pathlib import Path

    from intent_events_exporter.salvage import Estate, Salvage, Waiting


def drain(
    *,
    spool_dir: SpoolDir = None,
    output_format: Annotated[
        Shown,
        typer.Option(
            "--format", envvar="INTENT_EVENTS_DRAIN_FORMAT", metavar="FORMAT", help="How to print: table or json."
        ),
    ] = Shown.TABLE,
    timeout: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_DRAIN_TIMEOUT",
            metavar="TIME",
            help="How long storing may take. What is not stored by then goes on waiting.",
        ),
    ] = "10m",
    any_database: Annotated[
        bool,
        typer.Option(
            "--any-database",
            envvar="INTENT_EVENTS_DRAIN_ANY_DATABASE",
            help="Store here also what was recorded for another database: one that has moved, or has another name now.",
        ),
    ] = False,
    dsn: Dsn = "",
) -> None:
    """Store what dead processes left in the spool of this host; what belongs to living ones is left to them.

    What was recorded for another database is left to the processes that use it.

    Safe to run at any time, by many at once, and to interrupt. Exit codes: 0 nothing of the dead waits any more,
    1 something of theirs still waits, 2 wrong use, 3 could not ask (no database, not migrated, no permission).
    """
    salvage: Salvage | None = None
    try:
        timeout_s = seconds_of(timeout, name="--timeout (INTENT_EVENTS_DRAIN_TIMEOUT)")
        place = address(dsn)
        check(place)
        from intent_events_exporter.salvage import Salvage as Mover  # noqa: PLC0415 - another distribution, may be absent
        from intent_events_exporter.salvage import estate_in  # noqa: PLC0415 - may be absent

        folder = named_spool(spool_dir) or DeliverySettings.from_environment().spool_folder()
        database = None if any_database else named_place_of(place)
        salvage = Mover(folder, place, timeout_s=timeout_s, database=database)
        with suppress(KeyboardInterrupt):  # whoever waits here has had enough: what is done is done, the rest waits
            asyncio.run(salvage.run())
        left = estate_in(folder, database)
    except ModuleNotFoundError as error:  # the core alone, as on the machine of whoever reviews
        if error.name is None or error.name.partition(".")[0] != "intent_events_exporter":
            raise
        typer.echo("intent-events drain needs the exporter: pip install intent-events-exporter", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except SettingsError as error:  # a flag, a file, a folder or the address of the database cannot be used
        typer.echo(f"intent-events drain: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except IntentEventsError as error:  # no connection, not migrated, no permission, too slow
        typer.echo(f"intent-events drain: could not store: {error}{_before(salvage)}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    except OSError as error:  # another user's folder, no permission, or a disk that fails
        why = f"the spool cannot be read ({type(error).__name__}): run this as the service's user, or check the disk"
        if error.errno is None:  # the spool's own word, which names the folder and the remedy
            why = str(error)
        typer.echo(f"intent-events drain: {printable(why)}{_before(salvage)}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    if output_format is Shown.JSON:
        typer.echo(json.dumps(_as_json(salvage, left)))
    else:
        _show(folder, salvage, left)
    if left.dead.bytes:
        raise typer.Exit(Exit.FOUND)


def _before(salvage: "Salvage | None") -> str:
    """What was stored before it failed; nothing when nothing was."""
    stored = 0 if salvage is None else salvage.tally.stored
    return f". {_n(stored, 'record')} were stored before that" if stored else ""


def _show(folder: "Path", salvage: "Salvage", left: "Estate") -> None:
    console = Console(highlight=False, soft_wrap=True)
    for style, line in _lines(salvage, left):
        console.print(Text(line, style))
    console.print(Text(printable(f"spool: {folder}"), "dim"))


def _lines(salvage: "Salvage", left: "Estate") -> Iterator[tuple[str, str]]:
    tally = salvage.tally
    if salvage.adopted:
        left_by = f"that {_n(salvage.adopted, 'dead process', 'es')} left"
        yield "green", f"Stored {_n(tally.stored, 'record')} {left_by}; {count(tally.duplicates)} were stored already."
    else:
        yield "", "No dead process left anything that can be stored."
    if tally.dead:
        yield "yellow", f"{_n(tally.dead, 'record')} could not become rows: agent.dead_letters says why."
    if tally.torn:
        yield "yellow", f"{_n(tally.torn, 'damaged stretch', 'es')} set aside in the folder aside of the spool."
    if tally.unreadable:
        yield "red", f"{_n(tally.unreadable, 'record')} could not be read and are given up."
    if left.living.bytes:
        yield "", f"Left to {_n(left.living.processes, 'living process', 'es')}: {_waiting(left.living)}."
    if left.elsewhere.bytes:
        whose = f"{_n(left.elsewhere.processes, 'dead process', 'es')} that recorded for {_listed(left.databases)}"
        yield "yellow", f"Left alone, of {whose}: {_waiting(left.elsewhere)}."
        yield "", "Name that one by --dsn; or, has it moved here, add --any-database."
    if not salvage.in_time:
        yield "yellow", "Stopped, for the time was up: allow more with --timeout."
    for problem in dict.fromkeys(salvage.problems):
        yield "red", f"{problem}."
    if left.dead.bytes:
        yield "bold red", f"Still waiting of {_n(left.dead.processes, 'dead process', 'es')}: {_waiting(left.dead)}."
        yield "", "Run this again; what then stays is of a newer version of the exporter, or cannot be read."


def _as_json(salvage: "Salvage", left: "Estate") -> dict[str, Any]:
    tally = salvage.tally
    return {
        "adopted": salvage.adopted,
        "stored": tally.stored,
        "duplicates": tally.duplicates,
        "dead_letters": tally.dead,
        "unreadable": tally.unreadable,
        "set_aside": tally.torn,
        "in_time": salvage.in_time,
        "left": {
            "dead": left.dead._asdict(),
            "living": left.living._asdict(),
            "elsewhere": {**left.elsewhere._asdict(), "databases": sorted(left.databases)},
        },
    }


def _waiting(waiting: "Waiting") -> str:
    return f"{size(waiting.bytes)}, the oldest from {age(waiting.oldest_age_s or 0)} ago"


def _listed(databases: "Collection[str]") -> str:
    return " and ".join(map(printable, sorted(databases)))


def _n(n: int, what: str, plural: str = "s") -> str:
    return f"{count(n)} {what}{'' if n == 1 else plural}"
