# SPDX-License-Identifier: Apache-2.0
"""``intent-events doctor``: is everything between an utterance and its row as it should be."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from time import time_ns
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from intent_events.cli.doctor_facts import probed, ring_seen, settings_seen, spool_seen
from intent_events.cli.formats import can_draw, printable
from intent_events.cli.options import Dsn, Exit, Shown, SpoolDir, seconds_of
from intent_events.errors import IntentEventsError, SettingsError
from intent_events.review import doctor as judge
from intent_events.review.doctor_model import Check, Diagnosis, Status, Verdict
from intent_events.settings import DeliverySettings
from intent_events.store.connect import named_place_of
from intent_events.store.health import Health, examine
from intent_events.store.migrate import CheckResult, CheckState
from intent_events.store.migrate import check as check_schema

_WIDTH: Final = 110
_SIGNS: Final = {
    Status.OK: ("✓", "green"),
    Status.WARN: ("!", "bold yellow"),
    Status.FAIL: ("✗", "bold red"),
    Status.SKIP: ("-", "dim"),
}
_EXITS: Final = {Verdict.FAIL: Exit.FOUND, Verdict.COULD_NOT_ASK: Exit.COULD_NOT_ASK}
_AS_FAR_AS_SEEN: Final = "Everything that could be looked at is as it should be."
_ENDS: Final = {
    Verdict.OK: ("Everything is as it should be.", "bold green"),
    Verdict.WARN: ("Nothing failed; something is not as it should be.", "bold yellow"),
    Verdict.FAIL: ("Something failed: until it is mended, records may be lost, late or incomplete.", "bold red"),
    Verdict.COULD_NOT_ASK: ("The database could not be asked: what arrived is not known.", "bold red"),
}


def doctor(
    *,
    since: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_DOCTOR_SINCE",
            metavar="TIME",
            help="How far back to look for utterances, heartbeats, drops and dead letters: 15m, 12h, 7d.",
        ),
    ] = "15m",
    output_format: Annotated[
        Shown,
        typer.Option(
            "--format", envvar="INTENT_EVENTS_DOCTOR_FORMAT", metavar="FORMAT", help="How to print: table or json."
        ),
    ] = Shown.TABLE,
    spool_dir: SpoolDir = None,
    timeout: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_DOCTOR_TIMEOUT",
            metavar="TIME",
            help="How long asking Postgres, and trying an application, may take each.",
        ),
    ] = "30s",
    dsn: Dsn = "",
) -> None:
    """Is everything between an utterance and its row as it should be? One line a check, with the remedy.

    Run it as the service's user, in its folder and with its variables. It changes nothing; it imports the targets.
    Exit codes: 0 fine or warnings only, 1 something failed, 2 wrong use, 3 could not ask (no database).
    """
    try:
        since_s = seconds_of(since, name="--since (INTENT_EVENTS_DOCTOR_SINCE)")
        timeout_s = seconds_of(timeout, name="--timeout (INTENT_EVENTS_DOCTOR_TIMEOUT)")
    except SettingsError as error:  # a flag cannot be used
        typer.echo(f"intent-events doctor: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    seen = settings_seen()
    own = _own_address(seen.delivery)
    address = dsn or (own if isinstance(own, str) else "")
    folder = spool_dir or seen.delivery.spool_folder()
    health = str(own) if isinstance(own, SettingsError) and not dsn else _health(address, since_s, timeout_s)
    schema = _schema(address, timeout_s) if isinstance(health, Health) else None
    found, why = probed(address, timeout_s=timeout_s)
    diagnosis = Diagnosis.of(
        [
            judge.check_settings(seen.problems, seen.oddities),
            judge.check_hash_key(seen.record, ring_seen(seen.record), time_ns()),
            *judge.check_application(found, seen.delivery.traces_exporters, stages=seen.stages, why=why),
            *judge.check_spool(spool_seen(folder, seen.delivery.spool_max_bytes, named_place_of(address))),
            judge.check_database(health),
            *_checks_of(health, schema, since_s, of_application=address == own),
        ],
        asked=isinstance(health, Health),
    )
    if output_format is Shown.JSON:
        typer.echo(diagnosis.model_dump_json(indent=2))
    else:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:  # a folder may have letters that the terminal's encoding has not
            reconfigure(errors="backslashreplace")
        show_table(diagnosis, Console(highlight=False))
    if diagnosis.status in _EXITS:
        raise typer.Exit(_EXITS[diagnosis.status])


def show_table(diagnosis: Diagnosis, console: Console) -> None:
    """Print a diagnosis to a terminal: a line a check, and under it what to do.

    Args:
        diagnosis: what was found.
        console: where to; wider ones are used up to 110 columns.
    """
    console.width = min(console.width, _WIDTH)
    drawn = can_draw(console)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for check in diagnosis.checks:
        sign, style = _SIGNS[check.status]
        told = Text(printable(check.detail), "dim" if check.status is Status.SKIP else "")
        if check.remedy and check.status is not Status.OK:
            told.append(f"\n{'→' if drawn else '->'} {printable(check.remedy)}", "cyan")
        shown = f"{sign} {check.status}" if drawn else check.status.value
        table.add_row(Text(shown, style), check.name.replace("_", " "), told)
    console.print(table)
    console.print()
    counts = Counter(check.status for check in diagnosis.checks)
    summed = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    end, style = _ENDS[diagnosis.status]
    if diagnosis.status is Verdict.OK and counts[Status.SKIP]:
        end = _AS_FAR_AS_SEEN
    console.print(Text(end, style))
    console.print(Text(summed, "dim"))


def _own_address(delivery: DeliverySettings) -> str | SettingsError:
    """The address that an application here would use: empty without one, the error where its file cannot be read."""
    try:
        return delivery.read_dsn() or ""
    except SettingsError as error:  # said among the settings too
        return error


def _health(address: str, since_s: float, timeout_s: float) -> Health | str | None:
    if not address.strip():
        return None
    try:
        return asyncio.run(examine(address, since_s=since_s, silent_s=judge.SILENT_S, timeout_s=timeout_s))
    except IntentEventsError as error:  # an address of another form, no connection, too slow
        return str(error)


def _schema(address: str, timeout_s: float) -> CheckResult | str:
    async def ask() -> CheckResult:
        async with asyncio.timeout(timeout_s):
            return await check_schema(address)

    try:
        return asyncio.run(ask())
    except IntentEventsError as error:  # the migrations are not there
        return str(error)
    except TimeoutError:  # it answered a moment ago, and does not any more
        return f"Postgres gave no answer within {timeout_s:g} s"


def _checks_of(
    health: Health | str | None, schema: CheckResult | str | None, since_s: float, *, of_application: bool
) -> Iterator[Check]:
    if not isinstance(health, Health) or schema is None:
        yield Check(
            name="schema", status=Status.SKIP, detail="the database could not be asked, nor what follows from it"
        )
        return
    if isinstance(schema, str):
        yield judge.check_schema(health, schema, at_head=False)
    else:
        yield judge.check_schema(health, schema.detail, at_head=schema.state is CheckState.HEAD)
    yield judge.check_role(health.role, of_application=of_application)
    yield judge.check_partitions(health)
    yield judge.check_stream(health, since_s)
    yield judge.check_emitters(health)
    yield judge.check_dead_letters(health)
