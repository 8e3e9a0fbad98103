# SPDX-License-Identifier: Apache-2.0
"""``intent-events migrate``: bring the database to the schema of this version."""

import asyncio
from typing import Annotated, Final

import typer

from intent_events.cli.options import Dsn, Exit, address
from intent_events.errors import IntentEventsError, SettingsError
from intent_events.store import migrate as migrations

_EXIT: Final = {
    migrations.CheckState.HEAD: 0,
    migrations.CheckState.BEHIND: Exit.FOUND,
    migrations.CheckState.AHEAD: Exit.FOUND,
    migrations.CheckState.MISSING: Exit.FOUND,
    migrations.CheckState.UNAVAILABLE: Exit.COULD_NOT_ASK,
}


def migrate(
    dsn: Dsn = "",
    *,
    sql: Annotated[
        bool,
        typer.Option(
            "--sql",
            envvar="INTENT_EVENTS_MIGRATE_SQL",
            help="Print the whole migration as SQL for a database administrator; connects to nothing.",
        ),
    ] = False,
    since: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_MIGRATE_SINCE",
            metavar="REVISION",
            show_default=False,
            help="With --sql: the revision that the database is at, so that only the rest is printed.",
        ),
    ] = "",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            envvar="INTENT_EVENTS_MIGRATE_CHECK",
            help="Change nothing, only tell whether the database is up to date: exit code 1 when it is not.",
        ),
    ] = False,
) -> None:
    """Bring the database to the schema of this version, and make the partitions of the coming months.

    Safe to run at every start, by many at once. Exit codes: 0 fine, 1 --check found the database out of date,
    2 wrong use, 3 could not ask or could not migrate.
    """
    if sql and check:
        raise typer.BadParameter("--sql and --check exclude each other: the first asks no database")
    if since and not sql:
        raise typer.BadParameter("--since goes with --sql: otherwise the database itself says where it is")
    try:
        if sql:
            typer.echo(migrations.migration_sql(since or None), nl=False)
            return
        if check:
            answer = asyncio.run(migrations.check(address(dsn)))
            typer.echo(answer.detail, err=answer.state is migrations.CheckState.UNAVAILABLE)
            raise typer.Exit(_EXIT[answer.state])
        _report(asyncio.run(migrations.migrate(address(dsn))))
    except SettingsError as error:  # an address that is none, or a file that cannot be read
        typer.echo(f"intent-events migrate: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except IntentEventsError as error:  # no connection, no permission, or a schema that is not ours
        typer.echo(f"intent-events migrate: {error}", err=True)
        raise typer.Exit(Exit.COULD_NOT_ASK) from None


def _report(result: migrations.MigrateResult) -> None:
    if result.before == result.after:
        typer.echo(f"at revision {result.after} already")
    else:
        typer.echo(f"migrated from {result.before or 'nothing'} to revision {result.after}")
    if result.partitions:
        typer.echo(f"made {len(result.partitions)} partitions: {', '.join(result.partitions)}")
    for notice in result.notices:
        typer.echo(notice, err=True)
