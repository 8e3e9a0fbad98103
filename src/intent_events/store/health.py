# SPDX-License-Identifier: Apache-2.0
"""What a database says of the stream of records and of the role that asks: the facts that ``doctor`` judges.

The role that writes may read nothing. So what can be known of rights and partitions comes from the catalogue, which any
role may ask, and what this role may not read is None: not known, rather than nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import asyncpg
import msgspec

from intent_events.store.connect import UNASKABLE, connect, disconnect, unavailable
from intent_events.store.read import LIMITS, SNAPSHOT, milliseconds, sql
from intent_events.store.removal import ERASED

PARTITIONED: Final = ("intent_events", "chat_events", "intent_outcomes")
"""Tables in schema ``agent`` that have a partition a month."""

WRITTEN: Final = (*PARTITIONED, "dead_letters", "emitters")
"""Tables that the writer's role must be able to INSERT into."""

_VERSION: Final = "schema_version"
_NEWEST_ROW: Final = """
SELECT extract(epoch FROM now() - max(ts))::double precision FROM agent.intent_events
WHERE ts <= now() + interval '1 hour'  -- a clock that is wrong by years must not look like life
"""
_NEWEST_BEAT: Final = """
SELECT extract(epoch FROM now() - max(received_at))::double precision FROM agent.emitters
WHERE at >= now() - make_interval(secs => $1) - interval '1 hour'
"""
_WHO: Final = """
SELECT rolname, rolsuper, pg_is_in_recovery() AS standby,
  current_setting('default_transaction_read_only')::boolean AS only_reads
FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
_DEAD: Final = """
SELECT reason, count(*) AS n FROM agent.dead_letters
WHERE received_at >= now() - make_interval(secs => $1) AND reason <> $2
GROUP BY reason ORDER BY n DESC, reason
"""


class Rights(NamedTuple):
    """What the role may do with one table.

    Attributes:
        there: whether there is such a table.
        may: of SELECT, INSERT, UPDATE, DELETE and TRUNCATE.
    """

    there: bool
    may: frozenset[str]


class Role(NamedTuple):
    """Who asks.

    Attributes:
        name: of the role.
        superuser: whether it may do everything.
        may_use: whether it may use schema ``agent`` at all.
        may_create: whether it may make objects in it.
        tables: its rights by table, of :data:`WRITTEN`.
        standby: whether the server follows another one, and takes no writes.
        only_reads: whether every transaction of the role is read-only unless it says otherwise.
    """

    name: str
    superuser: bool
    may_use: bool
    may_create: bool
    tables: Mapping[str, Rights]
    standby: bool = False
    only_reads: bool = False


class Emitter(NamedTuple):
    """What the last heartbeat of a process says.

    Attributes:
        service_name: its service.
        host: its host.
        pid: its process id.
        age_s: seconds since that heartbeat was stored.
        spooled: records that waited in its spool then.
        dropped: records that it dropped within the window, by reason.
    """

    service_name: str | None
    host: str | None
    pid: int | None
    age_s: float
    spooled: int
    dropped: Mapping[str, int]


class Health(NamedTuple):
    """What a database says. None is what this role may not read.

    Attributes:
        role: who asks.
        reads_version: whether the role may read the revision of the schema.
        reads_rows: whether it may read utterances and heartbeats.
        missing_partitions: partitions of this month and the next that are not there.
        row_age_s: seconds since the newest utterance; None when there is none.
        beat_age_s: seconds since the newest heartbeat of the window; None when there is none.
        emitters: processes that dropped records within the window, or that left some in their spool lately.
        dead_letters: dead letters of the window, by reason, those of erased records left out.
    """

    role: Role
    reads_version: bool
    reads_rows: bool
    missing_partitions: tuple[str, ...] | None
    row_age_s: float | None = None
    beat_age_s: float | None = None
    emitters: tuple[Emitter, ...] | None = None
    dead_letters: Mapping[str, int] | None = None


async def examine(dsn: str, *, since_s: float, silent_s: float, timeout_s: float = 30.0) -> Health:
    """Ask a database how it is.

    Args:
        dsn: address of Postgres.
        since_s: seconds back from now that count.
        silent_s: seconds back from now in which a process must have been heard of, to be told of when it fell silent.
        timeout_s: seconds that connecting, and then asking, may take.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    connection = await connect(dsn, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            # No transaction block: its exit would wait for a server that has stopped answering.
            await connection.execute(SNAPSHOT)
            await connection.execute(LIMITS, milliseconds(timeout_s))
            return await _examine(connection, since_s, max(since_s, silent_s))
    except UNASKABLE as error:  # too slow, or the connection broke
        problem = unavailable(error, dsn, timeout_s=timeout_s)
    finally:
        await disconnect(connection)
    raise problem


async def _examine(connection: asyncpg.Connection, since_s: float, silent_s: float) -> Health:
    role, reads = await _role(connection)
    there = all(rights.there for rights in role.tables.values())
    missing = await connection.fetch(sql("doctor_partitions"), PARTITIONED) if there else None
    health = Health(
        role=role,
        reads_version=_VERSION in reads,
        reads_rows={"intent_events", "emitters"} <= reads,
        missing_partitions=None if missing is None else tuple(record["name"] for record in missing),
    )
    if health.reads_rows:
        emitters = await connection.fetch(sql("doctor_emitters"), since_s, silent_s)
        health = health._replace(
            row_age_s=await connection.fetchval(_NEWEST_ROW),
            beat_age_s=await connection.fetchval(_NEWEST_BEAT, since_s),
            emitters=tuple(map(_emitter_of, emitters)),
        )
    if "dead_letters" in reads:
        dead = await connection.fetch(_DEAD, since_s, ERASED)
        health = health._replace(dead_letters={record["reason"]: record["n"] for record in dead})
    return health


async def _role(connection: asyncpg.Connection) -> tuple[Role, set[str]]:
    """Who asks, and which tables it may read."""
    found = await connection.fetch(sql("doctor_rights"), [*WRITTEN, _VERSION])
    who = await connection.fetchrow(_WHO)
    rights = {record["name"]: Rights(record["there"], frozenset(record["rights"])) for record in found}
    may_use = found[0]["may_use"]
    reads = {name for name, right in rights.items() if may_use and "SELECT" in right.may}
    del rights[_VERSION]
    assert who is not None  # noqa: S101 - whoever is connected has a role
    role = Role(
        name=who["rolname"],
        superuser=who["rolsuper"],
        may_use=may_use,
        may_create=found[0]["may_create"],
        tables=rights,
        standby=who["standby"],
        only_reads=who["only_reads"],
    )
    return role, reads


def _emitter_of(record: asyncpg.Record) -> Emitter:
    before = msgspec.json.decode(record["dropped_before"], type=dict[str, int])
    dropped = msgspec.json.decode(record["dropped"], type=dict[str, int])
    counts = {reason: n - before.get(reason, 0) for reason, n in dropped.items()}
    return Emitter(
        record["service_name"],
        record["host"],
        record["pid"],
        record["age_s"],
        record["spooled"],
        {reason: n for reason, n in counts.items() if n > 0},
    )
