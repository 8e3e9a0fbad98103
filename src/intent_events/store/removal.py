# SPDX-License-Identifier: Apache-2.0
"""The only two ways in which rows go: by age and by subject. Each is one transaction that leaves an audit row.

The statements that remove are functions of the schema (``0002_roles_and_removal.sql``): the tables refuse every
other DELETE, and the role ``intent_owner`` may call them without having any right to remove rows by itself.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from intent_events.errors import UnavailableError
from intent_events.store.connect import UNASKABLE, connect, disconnect, unavailable
from intent_events.store.read import milliseconds

ERASED: Final = "erased"
"""Reason in ``agent.dead_letters`` of a number whose record was erased: nothing else is left of it."""

_PLAN: Final = "SELECT relation, part, step, since, until, n FROM agent.retention_plan($1)"
_RETAIN: Final = "SELECT relation, part, step, since, until, n FROM agent.retain($1)"
_ERASE: Final = "SELECT * FROM agent.erase_subject($1, $2, $3, $4, $5::text::jsonb)"
_EVENTS: Final = """
SELECT event_id FROM agent.intent_events
WHERE event_id = ANY ($3) AND (actor_id = ANY ($1) OR session_id = ANY ($2))
"""
_LIMIT: Final = "SELECT set_config('statement_timeout', $1, true)"
_AT_ONCE: Final = 10_000


class Step(NamedTuple):
    """What retention does with one partition or table.

    Attributes:
        relation: the table.
        part: its partition; the table itself when it has none.
        step: ``drop`` the partition, ``delete`` its old rows, or ``keep`` it, because it holds newer rows too.
        since: first moment that the partition holds; None when it has no lower bound.
        until: first moment after it; for ``delete`` the moment before which rows go. None when it has no upper bound.
        n: rows that go; for ``keep``, old rows that stay.
    """

    relation: str
    part: str
    step: str
    since: datetime | None
    until: datetime | None
    n: int


class Subject(NamedTuple):
    """Whose rows.

    Attributes:
        actors: every form in which the actor's id may be stored.
        sessions: sessions, as ``session_id`` has them.
    """

    actors: tuple[str, ...] = ()
    sessions: tuple[UUID, ...] = ()


class Mark(NamedTuple):
    """What tells the subject in the audit, to whoever has the key and the id.

    Attributes:
        mark: keyed fingerprint of the id.
        key_id: public name of the key.
    """

    mark: str
    key_id: str | None


class Erased(NamedTuple):
    """Rows of a subject that went.

    Attributes:
        audit: the row of ``agent.admin_audit`` that says so.
        intent_events: utterances.
        chat_events: replies.
        intent_outcomes: follow-ups.
        dead_letters: dead letters of traces that were the subject's alone.
    """

    audit: UUID
    intent_events: int
    chat_events: int
    intent_outcomes: int
    dead_letters: int


class Number(NamedTuple):
    """The number of a record that was erased before it was stored, for the loss ledger.

    Attributes:
        emitter_id: the process that recorded it.
        emitter_seq: its number there.
        ts: when it began; of this the hour is kept.
    """

    emitter_id: UUID
    emitter_seq: int
    ts: datetime


async def retain(dsn: str, older_than: timedelta, *, act: bool, timeout_s: float) -> list[Step]:
    """Remove everything before the month (UTC) in which that time ago lies.

    Args:
        dsn: address of Postgres, for a role that has ``intent_owner``, or the owner of the schema.
        older_than: how long ago.
        act: False only tells what would be done, and changes nothing.
        timeout_s: seconds that connecting, and then the whole of it, may take.

    Returns:
        What was done, or would be.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: it could not be done, and nothing was; the text names the remedy.
    """
    async with _transaction(dsn, commit=act, timeout_s=timeout_s) as connection:
        return [Step(*record) for record in await connection.fetch(_RETAIN if act else _PLAN, older_than)]


async def erase(
    dsn: str, subject: Subject, *, mark: Mark | None, unstored: Iterable[Number] = (), act: bool, timeout_s: float
) -> Erased:
    """Remove the rows of one subject from all tables, in one transaction.

    Args:
        dsn: address of Postgres, for a role that has ``intent_owner``, or the owner of the schema.
        subject: whose rows.
        mark: tells the subject in the audit; None leaves it out.
        unstored: records of the subject that were erased from a spool.
        act: False removes, counts, and takes everything back.
        timeout_s: seconds that connecting, and then the whole of it, may take.

    Returns:
        How many rows went, or would.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: it could not be done, and nothing was; the text names the remedy.
    """
    numbers = msgspec.json.encode(list(unstored)).decode()
    told = mark or (None, None)
    async with _transaction(dsn, commit=act, timeout_s=timeout_s) as connection:
        record = await connection.fetchrow(_ERASE, subject.actors, subject.sessions, *told, numbers)
        assert record is not None  # noqa: S101 - the function returns one row or raises
        return Erased(*record)


async def events_of(dsn: str, subject: Subject, event_ids: Sequence[UUID], *, timeout_s: float) -> set[UUID]:
    """Which of these utterances are stored, and are the subject's.

    Args:
        dsn: address of Postgres, as for :func:`erase`.
        subject: whose.
        event_ids: keys of utterances.
        timeout_s: seconds that connecting, and then asking, may take.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: it could not be asked.
    """
    found: set[UUID] = set()
    async with _transaction(dsn, commit=False, timeout_s=timeout_s) as connection:
        for start in range(0, len(event_ids), _AT_ONCE):
            some = event_ids[start : start + _AT_ONCE]
            found.update(record["event_id"] for record in await connection.fetch(_EVENTS, *subject, some))
    return found


@asynccontextmanager
async def _transaction(dsn: str, *, commit: bool, timeout_s: float) -> AsyncGenerator[asyncpg.Connection]:
    """All or nothing; nothing without ``commit``."""
    connection = await connect(dsn, timeout_s=timeout_s)
    committing = False
    try:
        async with asyncio.timeout(timeout_s):
            # No transaction block of the driver's: its exit would wait for a server that has stopped answering.
            await connection.execute("BEGIN")
            await connection.execute(_LIMIT, milliseconds(timeout_s))
            yield connection
            committing = commit
            await connection.execute("COMMIT" if commit else "ROLLBACK")
            return
    except UNASKABLE as error:  # not migrated, no permission, a lock, too slow, or the connection broke
        problem = unavailable(error, dsn, timeout_s=timeout_s)
    finally:
        await disconnect(connection)
    end = "it may have been done all the same: look at agent.admin_audit" if committing else "nothing was changed"
    raise UnavailableError(f"{problem}. {end[0].upper()}{end[1:]}")
