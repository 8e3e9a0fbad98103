# SPDX-License-Identifier: Apache-2.0
"""``intent-events retain``: remove what is older than it may become."""

import asyncio
import json
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from intent_events.cli.formats import as_table
from intent_events.cli.options import Dsn, Exit, Shown, address, seconds_of
from intent_events.cli.removal_sheets import gone_in, sheet_of, steps_as_json
from intent_events.errors import IntentEventsError, SettingsError
from intent_events.store.connect import check
from intent_events.store.removal import Step
from intent_events.store.removal import retain as remove_old

_OLDER_THAN: Final = "--older-than (INTENT_EVENTS_RETAIN_OLDER_THAN)"
_LEAST: Final = timedelta(days=1)
"""Whoever asks for less means months by 2m, which are minutes."""


def retain(
    *,
    older_than: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_RETAIN_OLDER_THAN",
            metavar="TIME",
            show_default=False,
            help="How old rows may become: 90d, 26w. Whole months go: those that ended before that time ago.",
        ),
    ],
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", envvar="INTENT_EVENTS_RETAIN_YES", help="Do it. Without it, only what would be done is told."
        ),
    ] = False,
    output_format: Annotated[
        Shown,
        typer.Option(
            "--format", envvar="INTENT_EVENTS_RETAIN_FORMAT", metavar="FORMAT", help="How to print: table or json."
        ),
    ] = Shown.TABLE,
    timeout: Annotated[
        str,
        typer.Option(envvar="INTENT_EVENTS_RETAIN_TIMEOUT", metavar="TIME", help="How long all of it may take."),
    ] = "10m",
    dsn: Dsn = "",
) -> None:
    """Remove rows by age: partitions are dropped, and old rows deleted where there is no partition of their month.

    Dry run without --yes. One transaction, with a row in agent.admin_audit; views of figures and rollups stay.
    Exit codes: 0 done, or would be; 2 wrong use; 3 could not do it, and nothing was changed.
    """
    try:
        age = _age_of(older_than)
        timeout_s = seconds_of(timeout, name="--timeout (INTENT_EVENTS_RETAIN_TIMEOUT)")
        place = address(dsn)
        check(place)
        steps = asyncio.run(remove_old(place, age, act=yes, timeout_s=timeout_s))
    except SettingsError as error:  # a flag, a file or the address of the database cannot be used
        typer.echo(f"intent-events retain: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except IntentEventsError as error:  # no connection, not migrated, no permission, a lock, too slow
        typer.echo(f"intent-events retain: could not do it: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    if output_format is Shown.JSON:
        typer.echo(json.dumps(steps_as_json(steps, act=yes)))
    else:
        _show(steps, act=yes)


def _age_of(older_than: str) -> timedelta:
    age = timedelta(seconds=seconds_of(older_than, name=_OLDER_THAN, like="90d or 26w"))
    if age < _LEAST:
        raise SettingsError(f"{_OLDER_THAN}: {older_than!r} is less than a day; write 90d or 26w")
    return age


def _show(steps: list[Step], *, act: bool) -> None:
    console = Console(highlight=False)
    console.print(as_table(sheet_of(steps)))
    console.print()
    if not gone_in(steps) and not any(step.step == "drop" for step in steps):
        console.print(Text("Nothing is that old.", "green"))
    elif act:
        console.print(Text("Done; agent.admin_audit says so.", "green"))
    else:
        console.print(Text("Dry run, nothing was changed. Run it with --yes to do this.", "bold"))
