# SPDX-License-Identifier: Apache-2.0
"""What of each process has arrived in Postgres, and what its heartbeats say: the questions of ``reconcile``.

A process numbers its records from 1, over all tables. Losses are therefore holes among the numbers, counted within a
range of numbers rather than of time; the window of time only says which range.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from intent_events.store.connect import UNASKABLE, connect, disconnect, unavailable
from intent_events.store.drops import read_dropped
from intent_events.store.read import LIMITS, SNAPSHOT, milliseconds, sql

GAPS_SHOWN: Final = 20
"""Ranges of missing numbers that are told of one emitter; there may be more."""

SLACK: Final = timedelta(minutes=15)
"""How far outside of the window the rows of its numbers are looked for at first."""


class Stored(NamedTuple):
    """Rows of one emitter.

    Attributes:
        rows: rows of ``agent.intent_events``.
        event_ids: different keys among them.
    """

    rows: int
    event_ids: int


class Beat(NamedTuple):
    """A heartbeat, as far as reconciling needs it; counts are since the process began.

    Attributes:
        beat: its number.
        at: when it was written, by the clock of the process.
        started_at: when the process began to record, by the same clock.
        received_at: when it was stored, by the clock of the server.
        service_name: ``service.name`` of the process.
        host: its host.
        pid: its process id.
        version: version of its exporter.
        emitted: highest number given.
        spooled: records waiting in its spool.
        dropped: records dropped, by reason.
        dropped_numbers: which ones, by reason: ranges, first and last. Those of some may be unknown, and of all in
            heartbeats of earlier versions.
    """

    beat: int
    at: datetime
    started_at: datetime
    received_at: datetime
    service_name: str | None
    host: str | None
    pid: int | None
    version: str | None
    emitted: int
    spooled: int
    dropped: Mapping[str, int]
    dropped_numbers: Mapping[str, Sequence[tuple[int, int]]] = {}


class Signs(NamedTuple):
    """What is known of one emitter around a window.

    Attributes:
        emitter_id: the process.
        first: lowest number of its rows and dead letters of the window; None without any numbered one.
        last: the highest.
        newest: latest time among them; None without any.
        from_start: whether its heartbeats go back to its beginning, and that is within the window.
        before: its last heartbeat before the window; None when there is none.
        inside: its last two heartbeats of the window, at most.
        after: its first two heartbeats after the window, at most.
        latest: its last heartbeat of all.
    """

    emitter_id: UUID
    first: int | None = None
    last: int | None = None
    newest: datetime | None = None
    from_start: bool = False
    before: Beat | None = None
    inside: tuple[Beat, ...] = ()
    after: tuple[Beat, ...] = ()
    latest: Beat | None = None


class Claim(NamedTuple):
    """Which numbers of an emitter to look for.

    Attributes:
        emitter_id: the process.
        base: the number before the first one.
        top: the last one that it is known to have given.
        due: the last one that must be somewhere by now; later ones may be on their way.
        spooled: ranges of numbers, first and last, that wait in a spool that was looked at.
        dropped: ranges of numbers that it says it dropped; in order, apart from each other.
    """

    emitter_id: UUID
    base: int
    top: int
    due: int
    spooled: Sequence[tuple[int, int]] = ()
    dropped: Sequence[tuple[int, int]] = ()


class Tally(NamedTuple):
    """Where the numbers of a claim are. ``top - base`` is ``stored + dead + spooled + open``, and those in ``dropped``.

    Attributes:
        stored: numbers of rows.
        dead: numbers of dead letters that have no row.
        spooled: numbers that are in a spool only.
        open: numbers that are nowhere, and were not dropped.
        overdue: how many of those are due.
        unnumbered: rows and dead letters of the emitter without a number.
        gap_ranges: into how many ranges the overdue numbers fall.
        gaps: the lowest of these ranges, first and last number; at most :data:`GAPS_SHOWN`.
        dropped: numbers that were dropped and are nowhere, as ranges, first and last.
    """

    stored: int = 0
    dead: int = 0
    spooled: int = 0
    open: int = 0
    overdue: int = 0
    unnumbered: int = 0
    gap_ranges: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    dropped: tuple[tuple[int, int], ...] = ()


class Ledger:
    """One snapshot of the tables; everything that is asked of it agrees. Made by :func:`open_ledger`."""

    def __init__(self, connection: asyncpg.Connection, now: datetime) -> None:
        """Ask over this connection, which is in a transaction that began ``now`` by the clock of the server."""
        self._connection = connection
        self.now: Final = now

    async def signs(self, since: datetime, until: datetime, also: Sequence[UUID] = ()) -> list[Signs]:
        """What is known of each emitter that has rows, dead letters or heartbeats in the window.

        Args:
            since: first moment of the window.
            until: first moment after it.
            also: emitters to tell of even if they have none.
        """
        records = await self._connection.fetch(sql("ledger_signs"), since, until, list(also))
        by_emitter = groupby(records, itemgetter("emitter_id"))
        return [_signs_of(emitter_id, list(group), since) for emitter_id, group in by_emitter]

    async def tallies(
        self, claims: Sequence[Claim], since: datetime | None = None, until: datetime | None = None
    ) -> dict[UUID, Tally]:
        """Where the numbers of each claim are.

        Args:
            claims: what to look for.
            since: rows before this moment are not looked at; None looks at all, which reads the tables as a whole.
            until: rows of this moment and after it are not looked at.
        """
        columns = zip(*(claim[:4] for claim in claims), strict=True) if claims else ((), (), (), ())
        spooled = [_multirange(claim.spooled) for claim in claims]
        dropped = [_multirange(claim.dropped) for claim in claims]
        edges = (since - SLACK if since else None, until + SLACK if until else None)
        records = await self._connection.fetch(sql("ledger_tallies"), *columns, spooled, dropped, *edges, GAPS_SHOWN)
        return {
            record["emitter_id"]: Tally(
                stored=record["stored"],
                dead=record["dead"],
                spooled=record["spooled"],
                open=record["open"],
                overdue=record["overdue"],
                unnumbered=record["unnumbered"],
                gap_ranges=record["gap_ranges"],
                gaps=tuple(zip(record["gaps_from"], record["gaps_to"], strict=True)),
                dropped=tuple(zip(record["dropped_from"], record["dropped_to"], strict=True)),
            )
            for record in records
        }


@asynccontextmanager
async def open_ledger(dsn: str, *, timeout_s: float = 30.0) -> AsyncGenerator[Ledger]:
    """Take a snapshot to ask.

    Args:
        dsn: address of Postgres.
        timeout_s: seconds that all questions together may take.

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
            yield Ledger(connection, await connection.fetchval("SELECT now()"))
    except UNASKABLE as error:  # not migrated, no permission, too slow, or the connection broke
        problem = unavailable(error, dsn, timeout_s=timeout_s)
    else:
        return
    finally:
        await disconnect(connection)
    raise problem


_STORED: Final = (
    "SELECT count(*) AS rows, count(DISTINCT event_id) AS event_ids FROM agent.intent_events WHERE emitter_id = $1"
)


async def stored_by(dsn: str, emitter_id: str, *, timeout_s: float = 30.0) -> Stored:
    """Count what one process has stored.

    Args:
        dsn: address of Postgres.
        emitter_id: UUID of the process.
        timeout_s: seconds that connecting and counting may take.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: the question could not be asked.
    """
    connection = await connect(dsn, timeout_s=timeout_s, readonly=True)
    try:
        row = await connection.fetchrow(_STORED, emitter_id, timeout=timeout_s)
    except UNASKABLE as error:  # not migrated, no permission, or the connection broke
        problem = unavailable(error, dsn, timeout_s=timeout_s)
    else:
        assert row is not None  # noqa: S101 - an aggregate without GROUP BY always gives a row
        return Stored(row["rows"], row["event_ids"])
    finally:
        await disconnect(connection)
    raise problem


def _signs_of(emitter_id: UUID, records: Sequence[asyncpg.Record], since: datetime) -> Signs:
    beats: dict[str, list[Beat]] = {}
    for record in records:
        if record["place"] is not None:
            beats.setdefault(record["place"], []).append(_beat_of(record))
    head = records[0]
    return Signs(
        emitter_id=emitter_id,
        first=head["first"],
        last=head["last"],
        newest=head["newest"],
        from_start="before" not in beats
        and "latest" in beats
        and (head["opening"] == 1 or head["started_at"] >= since),
        before=next(iter(beats.get("before", ())), None),
        inside=tuple(beats.get("inside", ())),
        after=tuple(beats.get("after", ())),
        latest=next(iter(beats.get("latest", ())), None),
    )


def _beat_of(record: asyncpg.Record) -> Beat:
    values: dict[str, Any] = {name: record[name] for name in Beat._fields if name != "dropped_numbers"}
    values["dropped"], values["dropped_numbers"] = read_dropped(record["dropped"])
    return Beat(**values)


def _multirange(ranges: Sequence[tuple[int, int]]) -> str:
    return "{" + ",".join(f"[{first},{last}]" for first, last in ranges) + "}"
