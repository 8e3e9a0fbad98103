# SPDX-License-Identifier: Apache-2.0
"""``intent-events erase``: remove one subject's rows, and what of theirs waits in the spool."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from intent_events.cli.formats import count
from intent_events.cli.options import Dsn, Exit, Shown, SpoolDir, address, named_spool, seconds_of
from intent_events.cli.removal_sheets import counts_of, erased_lines
from intent_events.cli.subjects import mark_of, subject_of
from intent_events.errors import IntentEventsError, SettingsError
from intent_events.settings import DeliverySettings, RecordSettings
from intent_events.store.connect import check
from intent_events.store.removal import Erased, Mark, Subject, events_of
from intent_events.store.removal import erase as remove_rows

if TYPE_CHECKING:
    from intent_events_exporter.erasure import SpoolErasure

_NO_KEYS: Final = (
    "No keys are set here (INTENT_EVENTS_HASH_KEY_FILE): rows with a pseudonym of theirs, as "
    "INTENT_EVENTS_ACTOR=pseudonymous makes them, were not looked for."
)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done."""

    dsn: str
    subject: Subject
    mark: Mark | None
    folder: Path
    act: bool
    timeout_s: float


def erase(
    *,
    actor: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_ERASE_ACTOR",
            metavar="ID",
            show_default=False,
            help="Whose rows: the actor's id as the orchestrator knows it. Better the variable: ps shows arguments.",
        ),
    ] = "",
    session: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_ERASE_SESSION",
            metavar="ID",
            show_default=False,
            help="Or of which session: its id as the orchestrator knows it, or as session_id has it.",
        ),
    ] = "",
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", envvar="INTENT_EVENTS_ERASE_YES", help="Do it. Without it, only what would be done is told."
        ),
    ] = False,
    spool_dir: SpoolDir = None,
    output_format: Annotated[
        Shown,
        typer.Option(
            "--format", envvar="INTENT_EVENTS_ERASE_FORMAT", metavar="FORMAT", help="How to print: table or json."
        ),
    ] = Shown.TABLE,
    timeout: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_ERASE_TIMEOUT",
            metavar="TIME",
            help="How long Postgres may take, and how long to wait until living processes have stored their records.",
        ),
    ] = "10m",
    dsn: Dsn = "",
) -> None:
    """Remove every row of one actor or session from all tables, in one transaction, and from the spool of this host.

    Dry run without --yes. Leaves a row in agent.admin_audit, with counts and without the id. Exit codes: 0 done, or
    would be; 1 something of theirs may still be stored later: run it again; 2 wrong use; 3 could not do it.
    """
    try:
        timeout_s = seconds_of(timeout, name="--timeout (INTENT_EVENTS_ERASE_TIMEOUT)")
        place = address(dsn)
        check(place)
        record = RecordSettings.from_environment()
        work = _Work(
            dsn=place,
            subject=subject_of(record, actor=actor, session=session),
            mark=mark_of(record, actor=actor, session=session),
            folder=_spool(spool_dir, DeliverySettings.from_environment()),
            act=yes,
            timeout_s=timeout_s,
        )
        erased, spooled = asyncio.run(_erase(work))
    except SettingsError as error:  # a flag, a file or the address of the database cannot be used
        typer.echo(f"intent-events erase: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except IntentEventsError as error:  # no connection, not migrated, no permission, a lock, too slow
        typer.echo(f"intent-events erase: could not do it: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    except OSError as error:  # another user's folder, no permission, or a disk that fails
        why = f"the spool cannot be changed ({type(error).__name__}): run this as the service's user, or check the disk"
        if error.errno is None:  # a refusal of ours says all by itself
            why = str(error)
        typer.echo(f"intent-events erase: {why}. No row was erased", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None
    if output_format is Shown.JSON:
        typer.echo(json.dumps(_as_json(work, erased, spooled)))
    else:
        _show(work, erased, spooled)
    if yes and spooled is not None and (spooled.living or spooled.newer):
        raise typer.Exit(Exit.FOUND)


def _spool(named: Path | None, delivery: DeliverySettings) -> Path:
    """The spool of this host; that of a service which has recorded nothing yet may be missing, another one may not."""
    return (named if named == delivery.spool_dir else named_spool(named)) or delivery.spool_folder()


async def _erase(work: _Work) -> tuple[Erased, "SpoolErasure | None"]:
    if not work.folder.exists():
        mark = work.mark if work.act else None
        erased = await remove_rows(work.dsn, work.subject, mark=mark, act=work.act, timeout_s=work.timeout_s)
        return erased, None
    try:
        from intent_events_exporter.erasure import SubjectSpool  # noqa: PLC0415 - another distribution, may be absent
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "intent_events_exporter":
            raise
        raise SettingsError(
            "the spool of this host can be read with the exporter only: pip install intent-events-exporter"
        ) from None

    async def stored(event_ids: Any) -> set[Any]:
        return await events_of(work.dsn, work.subject, event_ids, timeout_s=work.timeout_s)

    # First of all as a trial: what Postgres refuses must not be found out when the spool is changed already.
    trial = await remove_rows(work.dsn, work.subject, mark=None, act=False, timeout_s=work.timeout_s)
    spool = SubjectSpool(work.folder, work.subject, stored)
    spooled = await spool.erase(act=work.act, timeout_s=work.timeout_s)
    if not work.act:
        return trial, spooled
    # Postgres last: what living processes stored until now is erased with the rest.
    erased = await remove_rows(
        work.dsn, work.subject, mark=work.mark, unstored=spooled.numbers, act=True, timeout_s=work.timeout_s
    )
    spool.scrub()
    return erased, spooled


def _show(work: _Work, erased: Erased, spooled: "SpoolErasure | None") -> None:
    console = Console(highlight=False, soft_wrap=True)
    removed = None if spooled is None else spooled.removed + (0 if work.act else spooled.living)
    for style, line in erased_lines(erased, removed, act=work.act):
        console.print(Text(line, style))
    if not sum(counts_of(erased).values()) and not removed:
        console.print(Text("Nothing of theirs was found: check the id.", "yellow"))
    if work.subject.actors and work.mark is None:
        console.print(Text(_NO_KEYS, "yellow"))
    if not work.act:
        console.print(Text("Run it with --yes to do this.", "bold"))
        return
    console.print(Text(f"agent.admin_audit: {erased.audit}", "dim"))
    if spooled is not None and spooled.living:
        waiting = (
            f"{count(spooled.living)} of their records still waiting for living processes of this host to store them"
        )
        console.print(Text(f"Left: {waiting}. Run this again when they have.", "bold red"))
    if spooled is not None and spooled.newer:
        newer = f"{count(spooled.newer)} of the spool's segments, written by a newer version of the exporter"
        console.print(Text(f"Left: {newer}. Run this again with that one.", "bold red"))
    console.print(Text("Run it on every host with a spool of its own.", "dim"))


def _as_json(work: _Work, erased: Erased, spooled: "SpoolErasure | None") -> dict[str, Any]:
    found = None
    if spooled is not None:
        found = {"removed": spooled.removed, "living": spooled.living, "newer_segments": spooled.newer}
    audit = str(erased.audit) if work.act else None
    return {"done": work.act, "audit": audit, "rows": counts_of(erased), "spool": found}
