# SPDX-License-Identifier: Apache-2.0
"""Bring a database to the schema of this version: forward only, all or nothing, safe when many start at once."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from typing import Final

import asyncpg
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from intent_events.errors import PermanentError, RetryableError, SettingsError, StoreError, UnavailableError
from intent_events.store.connect import UNASKABLE, connect, disconnect, place_of, unavailable
from intent_events.store.revisions import alembic_config, all_revisions

CONNECT_S: Final = 10.0
"""Seconds that connecting may take."""

# One migration at a time in a database: the others wait and then find nothing to do. The schema holds the version
# table, so it comes before the first revision; where an administrator made it, the right to make one is not needed.
_PRELUDE: Final = (
    # Whatever the database's default is: the revision has to be read as it is after the wait.
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET LOCAL lock_timeout = '60s'",
    "SELECT pg_advisory_xact_lock(7597120008731240)",
    "DO $$ BEGIN IF to_regnamespace('agent') IS NULL THEN CREATE SCHEMA agent; END IF; END $$",
)
_EPILOGUE: Final = "SELECT agent.make_partitions()"
_VERSION_TABLE_EXISTS: Final = "SELECT to_regclass('agent.schema_version') IS NOT NULL"
_CURRENT: Final = "SELECT version_num FROM agent.schema_version"
_MISSING_ROLES: Final = """
SELECT name FROM unnest(ARRAY['intent_writer', 'intent_reviewer', 'intent_tuner', 'intent_owner'])
    WITH ORDINALITY AS roles (name, place)
WHERE to_regrole(name) IS NULL ORDER BY place
"""
_LET: Final = "let an administrator run: "

# Alembic keeps the migration that is under way in module globals: one at a time in a process, whatever the database.
_alembic: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class MigrateResult:
    """What a migration did.

    Attributes:
        before: revision found; None when the database had never been migrated.
        after: revision now, the head of this version.
        partitions: names of the partitions that were made.
        notices: what an administrator still has to do, as long as it is not done; and what else the server had to say.
    """

    before: str | None
    after: str
    partitions: tuple[str, ...]
    notices: tuple[str, ...]


class CheckState(StrEnum):
    """How a database stands to this version of the schema."""

    HEAD = "at head"
    BEHIND = "behind"
    AHEAD = "ahead"
    """Migrated by a newer version of intent-events."""
    MISSING = "never migrated"
    UNAVAILABLE = "could not ask"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Answer of :func:`check`.

    Attributes:
        state: how the database stands.
        current: revision found; None when there is none or it could not be asked for.
        head: revision of this version of intent-events.
        detail: one line for people: what is the matter and what to do about it.
    """

    state: CheckState
    current: str | None
    head: str
    detail: str


async def migrate(dsn: str) -> MigrateResult:
    """Bring a database to the newest revision and make the partitions of the coming months.

    Everything happens in one transaction. Migrations that start at the same time wait for each other, at most a minute.

    Args:
        dsn: address of the database, as for :func:`intent_events.store.connect.connect`; the user must be allowed to
            make tables in it.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: no connection.
        RetryableError: a permission or a lock was missing; nothing was changed.
        PermanentError: the database holds something that does not go together with this version; nothing was changed.
    """
    # A thread of its own: Alembic reads files and keeps global state, both of which an event loop should not see.
    return await asyncio.to_thread(_migrate_here, dsn)


async def check(dsn: str) -> CheckResult:
    """How a database stands to this version of the schema; changes nothing.

    Raises:
        SettingsError: the address cannot be used.
    """
    known = await asyncio.to_thread(all_revisions)
    head = known[0]
    try:
        connection = await connect(dsn, timeout_s=CONNECT_S)
    except UnavailableError as error:  # no connection
        return CheckResult(CheckState.UNAVAILABLE, None, head, str(error))
    try:
        found = await connection.fetchval(_VERSION_TABLE_EXISTS, timeout=CONNECT_S)
        current = await connection.fetchval(_CURRENT, timeout=CONNECT_S) if found else None
    except UNASKABLE as error:  # the connection broke, or this role may not read the version
        return CheckResult(CheckState.UNAVAILABLE, None, head, str(unavailable(error, dsn, timeout_s=CONNECT_S)))
    finally:
        await disconnect(connection)
    place = place_of(dsn)
    if current is None:
        return CheckResult(CheckState.MISSING, None, head, f"{place} was never migrated: run `intent-events migrate`")
    if current == head:
        return CheckResult(CheckState.HEAD, current, head, f"{place} is at revision {head}, the newest")
    if current not in known:
        return CheckResult(CheckState.AHEAD, current, head, _ahead(place, current))
    detail = f"{place} is at revision {current}, the newest is {head}: run `intent-events migrate`"
    return CheckResult(CheckState.BEHIND, current, head, detail)


def migration_sql(since: str | None = None) -> str:
    """The migration as one SQL script for a database administrator; needs no database.

    Any client can run it, ``psql`` too: it is one transaction, so that an error leaves the database as it was.

    Args:
        since: revision that the database is at; None for one that was never migrated.

    Raises:
        SettingsError: there is no such revision.
    """
    if since is not None and since not in all_revisions():
        raise SettingsError(f"no revision {since!r}: there are {', '.join(all_revisions())}")
    script = StringIO()
    config = alembic_config()
    config.output_buffer = script
    with _alembic:
        command.upgrade(config, "head" if since is None else f"{since}:head", sql=True)
    statements = (f"{statement};" for statement in _PRELUDE)
    return "\n".join(("BEGIN;", *statements, "", script.getvalue().strip(), "", f"{_EPILOGUE};", "COMMIT;", ""))


def _migrate_here(dsn: str) -> MigrateResult:
    with _alembic:
        return asyncio.run(_migrate(dsn))


async def _migrate(dsn: str) -> MigrateResult:
    driver = await connect(dsn, timeout_s=CONNECT_S)
    notices: list[str] = []
    driver.add_log_listener(lambda _, message: notices.append(str(message.message)))

    async def creator() -> asyncpg.Connection:
        return driver

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            before, partitions, roles = await connection.run_sync(_upgrade, dsn)
        # Each revision tells of its own roles, when it is applied; this tells of all, each time.
        told = [notice for notice in notices if f"{_LET}CREATE ROLE" not in notice]
        return MigrateResult(before, all_revisions()[0], partitions, (*_roles_to_make(roles), *told))
    except DBAPIError as error:  # SQLAlchemy's word for a failure of the driver
        cause = error.orig.__cause__ if error.orig is not None else None
        problem = _problem(cause or error, dsn)
    except UNASKABLE as error:  # the same, from a file that the driver ran itself
        problem = _problem(error, dsn)
    finally:
        await engine.dispose()
        await disconnect(driver)
    raise problem


def _upgrade(connection: Connection, dsn: str) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """The revision before, the partitions that were made, and the roles that are missing."""
    for statement in _PRELUDE:
        connection.execute(text(statement))
    migrated = connection.execute(text(_VERSION_TABLE_EXISTS)).scalar_one()
    before = connection.execute(text(_CURRENT)).scalar() if migrated else None
    if before is not None and before not in all_revisions():
        raise PermanentError(_ahead(place_of(dsn), before))
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    partitions = tuple(connection.execute(text(_EPILOGUE)).scalars())
    return before, partitions, tuple(connection.execute(text(_MISSING_ROLES)).scalars())


def _roles_to_make(missing: tuple[str, ...]) -> Iterator[str]:
    """What an administrator has to run for these roles; nothing when there are none."""
    if missing:
        which = f"role {missing[0]} is" if len(missing) == 1 else f"roles {', '.join(missing)} are"
        statements = "".join(f"CREATE ROLE {name} NOLOGIN; " for name in missing)
        yield f"{which} missing: {_LET}{statements}SELECT agent.grant_roles();"


def _problem(error: BaseException, dsn: str) -> StoreError:
    place = place_of(dsn)
    message = str(error).partition("\n")[0]
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return RetryableError(
            f"{place}: {message}; migrate as a user who owns it, or give an administrator the script that "
            "`intent-events migrate --sql` prints"
        )
    if isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError):
        return RetryableError(f"{place}: another migration or a long query is under way; try again when it has ended")
    if isinstance(error, asyncpg.DuplicateTableError | asyncpg.DuplicateObjectError | asyncpg.DuplicateFunctionError):
        return PermanentError(
            f"{place}: {message}, but no migration of ours made it; rename it, migrate, and copy its rows"
        )
    if isinstance(error, asyncpg.SyntaxOrAccessError | asyncpg.FeatureNotSupportedError):
        return PermanentError(f"{place}: {message}; intent-events needs Postgres 15 or newer and objects of its own")
    return unavailable(error, dsn, timeout_s=CONNECT_S)


def _ahead(place: str, current: str) -> str:
    return f"{place} is at revision {current}, which this version does not know: upgrade intent-events"
