# SPDX-License-Identifier: Apache-2.0
"""The only writer of the telemetry tables: COPY; once a row is there already, COPY into a stage and INSERT the rest.

A row that is there already is passed over, so any number of retries, replays and parallel doors give one row. The
statements need INSERT and nothing else: the types of the stage come from the catalogue, and the conflict is not tied
to named columns, which would need SELECT. A transaction that needs the stage makes it if it is missing, so that a
pooler may hand out another server connection each time.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from intent_events.errors import PermanentError, RetryableError, UnavailableError
from intent_events.identity import event_id_of, milliseconds_in
from intent_events.rows import (
    ChatEventRow,
    IntentEventRow,
    IntentOutcomeRow,
    Rejection,
    RejectReason,
    Row,
)
from intent_events.store.connect import UNASKABLE, connect, disconnect, place_of, unavailable
from intent_events.store.copy_format import SIGNATURE, TRAILER, Sealed, columns_of, seal, type_of
from intent_events.store.heartbeats import Heartbeat, write_heartbeat

BATCH_ROWS: Final = 2000
"""Rows that one transaction takes at most; more gain nothing."""

REFUSED: Final = "row_refused"
"""Reason in ``agent.dead_letters`` of a row that Postgres itself refused."""

_PERMANENT: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
_TIMELESS: Final = frozenset({RejectReason.TIME_OUT_OF_RANGE, RejectReason.UNDECODABLE})
_STAGE_FOR: Final = 50
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_by_key: Final = attrgetter("key")
_AT_ONCE: Final = 128


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch; the three counts add up to its rows and rejections.

    Attributes:
        stored: rows that are new in Postgres.
        duplicates: rows that were there already.
        dead: records kept in ``agent.dead_letters`` instead.
        refused: keys of the rows among those.
    """

    stored: int = 0
    duplicates: int = 0
    dead: int = 0
    refused: frozenset[int] = field(default=frozenset(), compare=False)

    def plus(self, other: "Written") -> "Written":
        """Both together."""
        stored, duplicates, dead = self.stored, self.duplicates, self.dead
        return Written(
            stored + other.stored, duplicates + other.duplicates, dead + other.dead, self.refused | other.refused
        )


class _Table(NamedTuple):
    """Statements of one table, for the columns of one kind of row."""

    name: str
    stage: str
    columns: tuple[str, ...]
    make_stage: str
    insert: str


_TABLES: Final[dict[type[Row], str]] = {
    IntentEventRow: "intent_events",
    ChatEventRow: "chat_events",
    IntentOutcomeRow: "intent_outcomes",
}


class Writer:
    """Writes rows over one connection, which it opens at first use and again after a failure.

    Belongs to one event loop; two tasks that write at once take turns.
    """

    def __init__(self, dsn: str, *, door: str, timeout_s: float = 30.0) -> None:
        """Write to this database.

        Args:
            dsn: address of Postgres.
            door: who writes, as ``agent.dead_letters`` names it: ``exporter`` or ``sink``.
            timeout_s: seconds that connecting, and each statement, may take.
        """
        self._dsn = dsn
        self._door = door
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection | None = None
        self._tables: dict[type[Row], _Table] = {}
        self._turn = asyncio.Lock()
        self._stage_for = 0

    async def write(self, rows: Sequence[Row | Sealed], rejections: Sequence[Rejection] = ()) -> Written:
        """Store a batch in one transaction; when Postgres refuses one of its rows, the others are stored without it.

        Args:
            rows: at most :data:`BATCH_ROWS`; more are allowed and make a larger transaction. Those that are not sealed
                yet are sealed now.
            rejections: records that could not become rows; they become dead letters.

        Returns:
            What became of them, once they are committed.

        Raises:
            RetryableError: nothing more of the batch is stored; the same call may succeed later.
            PermanentError: Postgres refuses even the dead letters of the batch.
            SettingsError: the address cannot be used.
        """
        sealed = [row if isinstance(row, Sealed) else seal(row) for row in rows]
        async with self._turn:
            return await self._write(sealed, rejections)

    async def _write(self, rows: Sequence[Sealed], rejections: Sequence[Rejection]) -> Written:
        try:
            return await self._write_or_split(rows, rejections)
        except asyncio.CancelledError:  # in the middle of a statement: the connection is of no use to the next write
            self.abort()
            raise
        except UnavailableError as error:  # no connection: said with its remedy already
            problem = RetryableError(str(error))
        except UNASKABLE as error:  # the connection broke, a table or a permission is missing, the server is full
            problem = RetryableError(str(unavailable(error, self._dsn, timeout_s=self._timeout_s)))
            if isinstance(error, TimeoutError):  # whoever does not answer is not waited for with a goodbye either
                self.abort()
        await self.close()
        raise problem

    async def heartbeat(self, beat: Heartbeat) -> None:
        """Write down what this process did so far.

        Raises:
            RetryableError: it is not written; the next one holds all that it says.
            SettingsError: the address cannot be used.
        """
        async with self._turn:
            try:
                await write_heartbeat(await self._connected(), beat, timeout_s=self._timeout_s)
            except UnavailableError as error:  # no connection: said with its remedy already
                problem = RetryableError(str(error))
            except UNASKABLE as error:  # the connection broke, or the table or the permission is missing
                problem = RetryableError(str(unavailable(error, self._dsn, timeout_s=self._timeout_s)))
            else:
                return
            self.abort()
        raise problem

    async def ready(self) -> None:
        """Connect, if need be, and see that the tables are there; returns when a write can be tried.

        Raises:
            RetryableError: it cannot; the same call may succeed later.
            SettingsError: the address cannot be used.
        """
        async with self._turn:
            await self._write((), ())

    async def close(self) -> None:
        """Close the connection; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await disconnect(connection)

    def abort(self) -> None:
        """Cut the connection at once, for a caller that cannot wait; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _write_or_split(self, rows: Sequence[Sealed], rejections: Sequence[Rejection]) -> Written:
        """Find a row that Postgres refuses by halving, so that it costs its neighbours nothing."""
        unsendable = [row for row in rows if not row.data]
        if unsendable:
            dead = [self._refused(row, "a value is none of its column's type") for row in unsendable]
            await self._bury(dead)
            sendable = [row for row in rows if row.data]
            keys = frozenset(row.key for row in unsendable)
            return Written(dead=len(dead), refused=keys).plus(await self._write_or_split(sendable, rejections))
        try:
            return await self._write_once(rows, rejections)
        except _PERMANENT as error:  # a value that the column or a constraint refuses
            if isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None:
                # No CHECK of ours: a partition was attached while the row was on its way to the default one.
                raise RetryableError(
                    f"{place_of(self._dsn)} is changing its partitions: the rows are tried again"
                ) from None
            if len(rows) > 1:
                middle = len(rows) // 2
                first = await self._write_or_split(rows[:middle], rejections)
                return first.plus(await self._write_or_split(rows[middle:], ()))
            if not rows:
                raise PermanentError(
                    f"{place_of(self._dsn)} refuses dead letters: run `intent-events migrate`"
                ) from None
            refused = self._refused(rows[0], _detail_of(error))
        await self._bury([refused, *map(self._letter, rejections)])
        return Written(dead=1 + len(rejections), refused=frozenset({rows[0].key}))

    async def _write_once(self, rows: Sequence[Sealed], rejections: Sequence[Rejection]) -> Written:
        """COPY straight into the tables as long as nothing is there already; after a duplicate, through the stage.

        The stage costs the server a quarter more, a COPY that fails all that it did until then. Duplicates come in
        runs, after a broken connection or where two doors are open, so the stage is kept for a while.
        """
        if self._stage_for == 0:
            try:
                return await self._write_together(rows, rejections, direct=True)
            except asyncpg.UniqueViolationError:  # one of the rows is there already, or twice in this batch
                self._stage_for = _STAGE_FOR
        else:
            self._stage_for -= 1
        return await self._write_together(rows, rejections, direct=False)

    async def _write_together(
        self, rows: Sequence[Sealed], rejections: Sequence[Rejection], *, direct: bool
    ) -> Written:
        stored = 0
        async with self._transaction() as connection:
            for kind, table in self._tables.items():
                # In order of their keys: two doors that store the same rows must not wait for each other in a circle.
                of_kind = sorted((row for row in rows if row.kind is kind), key=_by_key)
                if of_kind:
                    stored += await self._copy(connection, table, of_kind, direct=direct)
            if rejections:
                await self._insert_dead(connection, map(self._letter, rejections))
        return Written(stored, len(rows) - stored, len(rejections))

    async def _copy(
        self, connection: asyncpg.Connection, table: _Table, rows: Sequence[Sealed], *, direct: bool
    ) -> int:
        if not direct:
            await connection.execute(table.make_stage, timeout=self._timeout_s)
        async with asyncio.timeout(self._timeout_s):  # the driver's own does not cover what is waited for in between
            await connection.copy_to_table(
                table.name if direct else table.stage,
                schema_name="agent" if direct else None,
                source=_data(rows),
                columns=table.columns,
                format="binary",
            )
        if direct:
            return len(rows)
        status = await connection.execute(table.insert, timeout=self._timeout_s)
        return int(status.rpartition(" ")[2])

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[asyncpg.Connection]:
        """All or nothing. The driver's own would wait without bound for a server that does not answer."""
        connection = await self._connected()
        await connection.execute(_BEGIN, timeout=self._timeout_s)
        try:
            yield connection
        except _PERMANENT:  # the connection is sound; after any other error it is closed, which rolls back too
            await connection.execute("ROLLBACK", timeout=self._timeout_s)
            raise
        await connection.execute("COMMIT", timeout=self._timeout_s)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await connect(self._dsn, timeout_s=self._timeout_s)
            try:
                self._tables = {
                    kind: await _describe(connection, name, kind._fields, self._timeout_s)
                    for kind, name in _TABLES.items()
                }
            except (
                BaseException
            ):  # a table is missing, or the time is up: without its statements it could write nothing
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    async def _bury(self, letters: Iterable[tuple[Any, ...]]) -> None:
        async with self._transaction() as connection:
            await self._insert_dead(connection, letters)

    def _refused(self, row: Sealed, detail: str) -> tuple[Any, ...]:
        """Letter of a row that Postgres refuses; what it says of it is read back from what was sent."""
        if row.row is not None:
            trace_id, span_id, service = row.row.trace_id, row.row.span_id, row.row.service_name
            emitter_id, emitter_seq = row.row.emitter_id, row.row.emitter_seq
        else:
            sent = columns_of(row)
            trace_id, span_id, service = (_text(sent[name]) for name in ("trace_id", "span_id", "service_name"))
            emitter, number = sent["emitter_id"], sent["emitter_seq"]
            emitter_id = None if emitter is None else UUID(bytes=emitter)
            emitter_seq = None if number is None else int.from_bytes(number, "big", signed=True)
        key = UUID(int=row.key)
        ts = _EPOCH + timedelta(milliseconds=milliseconds_in(key))
        return key, ts, self._door, REFUSED, detail, trace_id, span_id, service, emitter_id, emitter_seq, None

    def _letter(self, rejection: Rejection) -> tuple[Any, ...]:
        trace_id, span_id, payload = rejection.trace_id, rejection.span_id, rejection.payload
        if payload is None:
            key = event_id_of(int(trace_id, 16), int(span_id, 16), rejection.start_ns)
        else:  # its ids are not to be trusted: the bytes themselves say whether it is the same one again
            digest = blake2b(payload, digest_size=24).digest()
            key = event_id_of(
                int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:], "big"), rejection.start_ns
            )
        ts = None if rejection.reason in _TIMELESS else _instant(rejection.start_ns)
        reason, record = rejection.reason.value, rejection.record and rejection.record.value
        emitter = rejection.emitter_id, rejection.emitter_seq
        return key, ts, self._door, reason, record, trace_id, span_id, rejection.service_name, *emitter, payload

    async def _insert_dead(self, connection: asyncpg.Connection, letters: Iterable[tuple[Any, ...]]) -> None:
        await connection.executemany(_DEAD_LETTER, letters, timeout=self._timeout_s)


_BEGIN: Final = """
BEGIN;
-- Whoever is told of a COMMIT gives its copy up, so it must outlive the server: many a role for telemetry has this off.
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
"""

_DEAD_LETTER: Final = """
INSERT INTO agent.dead_letters
  (dead_letter_id, ts, door, reason, detail, trace_id, span_id, service_name, emitter_id, emitter_seq, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""

_DESCRIBE: Final = """
SELECT attribute.attname::text AS name, format_type(attribute.atttypid, attribute.atttypmod) AS type
FROM pg_catalog.pg_attribute AS attribute
WHERE attribute.attrelid = $1::text::regclass AND attribute.attnum > 0 AND NOT attribute.attisdropped
"""


async def _describe(connection: asyncpg.Connection, name: str, columns: tuple[str, ...], timeout_s: float) -> _Table:
    """Statements for a table, with the types that its columns have in this database."""
    found = await connection.fetch(_DESCRIBE, f"agent.{name}", timeout=timeout_s)
    types = {column["name"]: column["type"] for column in found}
    missing = [column for column in columns if column not in types]
    if missing:
        raise asyncpg.UndefinedColumnError(f"agent.{name} has no column {', '.join(missing)}")
    strange = [column for column in columns if not _takes(types[column], type_of(column))]
    if strange:
        raise asyncpg.UndefinedColumnError(f"agent.{name} has columns of another type: {', '.join(strange)}")
    stage = f"stage_{name}"
    listed = ", ".join(columns)
    typed = ", ".join(f"{column} {types[column]}" for column in columns)
    return _Table(
        name=name,
        stage=stage,
        columns=columns,
        make_stage=f"CREATE TEMP TABLE IF NOT EXISTS {stage} ({typed}) ON COMMIT DELETE ROWS",
        insert=f"INSERT INTO agent.{name} ({listed}) "  # noqa: S608 - names of ours and of the catalogue, no values
        f"SELECT {listed} FROM pg_temp.{stage} ON CONFLICT DO NOTHING",
    )


def _text(sent: bytes | None) -> str | None:
    return None if sent is None else sent.decode()


def _takes(actual: str, sent: str) -> bool:
    """Whether a column of this type reads what is sent as another; a text may be bounded."""
    return actual == sent or (sent == "text" and actual.startswith("character varying"))


async def _data(rows: Sequence[Sealed]) -> AsyncGenerator[bytes]:
    yield SIGNATURE
    for start in range(0, len(rows), _AT_ONCE):
        yield b"".join([row.data for row in rows[start : start + _AT_ONCE]])
    yield TRAILER


def _detail_of(error: BaseException) -> str:
    """What was at fault, never its value."""
    parts = (type(error).__name__, getattr(error, "constraint_name", None), getattr(error, "column_name", None))
    return " ".join(part for part in parts if part)


def _instant(start_ns: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=max(start_ns, 0) // 1_000_000)
