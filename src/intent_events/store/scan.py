# SPDX-License-Identifier: Apache-2.0
"""Reads every text that the tables of schema ``agent`` hold, a batch at a time: memory does not grow with the tables.

The owner of the tables may ask, or a role that may SELECT all of them. Row-level policies are switched off, so that the
server refuses to answer rather than leaves rows out.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, cast

import asyncpg

from intent_events.errors import UnavailableError
from intent_events.store.connect import UNASKABLE, connect, disconnect, place_of, unavailable
from intent_events.store.read import LIMITS, SNAPSHOT, milliseconds, sql

BATCH: Final = 500
"""Rows that are in memory at once."""

_ALL: Final = "SELECT set_config('row_security', 'off', true)"


class Holds(StrEnum):
    """What a column holds."""

    TEXT = "text"
    TEXTS = "texts"
    JSON = "json"
    BYTES = "bytes"


class TextColumn(NamedTuple):
    """A column that can hold texts.

    Attributes:
        name: of the column.
        holds: in which form.
    """

    name: str
    holds: Holds


class TextTable(NamedTuple):
    """A table with the columns that can hold texts.

    Attributes:
        name: of the table, with its schema.
        columns: of it.
        windowed: whether its rows have a time, so that a window applies.
    """

    name: str
    columns: tuple[TextColumn, ...]
    windowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuery:
    """What is read.

    Attributes:
        since: first moment of the window; None for all that there is.
        until: first moment after it; None likewise.
        sample: share of the pages of each table that are read, up to 1 for all.
        timeout_s: seconds that the whole of reading may take.
    """

    since: datetime | None = None
    until: datetime | None = None
    sample: float = 1.0
    timeout_s: float = 3600.0


Look = Callable[[TextTable, Sequence[Sequence[object]]], None]
"""Takes some rows of a table: a value for each of its columns. JSON comes as text, null as None."""


async def read_texts(dsn: str, query: TextQuery, look: Look) -> tuple[TextTable, ...]:
    """Hand over every row of every table, each table as it is at one moment.

    Args:
        dsn: address of Postgres.
        query: what is read.
        look: gets the rows, at most :data:`BATCH` at a time, and at least once for each table.

    Returns:
        The tables that were read.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: not migrated, no permission on one of the tables, too slow, or the connection broke.
    """
    connection = await connect(dsn, timeout_s=query.timeout_s)
    try:
        async with asyncio.timeout(query.timeout_s):
            found = await connection.fetch(sql("scan_columns"))
            for record in found:
                await _read(connection, query, record, look)
            if found:
                return tuple(_table_of(record) for record in found)
            problem = UnavailableError(
                f"{place_of(dsn)} is not migrated: it has no tables in schema agent; run `intent-events migrate`"
            )
    except UNASKABLE as error:  # no permission, too slow, or the connection broke
        problem = unavailable(error, dsn, timeout_s=query.timeout_s)
    finally:
        await disconnect(connection)
    raise problem


def _table_of(record: asyncpg.Record) -> TextTable:
    columns = zip(record["columns"], record["holds"], strict=True)
    name = f"agent.{record['name']}"
    return TextTable(name, tuple(TextColumn(name, Holds(holds)) for name, holds in columns), record["time"] is not None)


async def _read(connection: asyncpg.Connection, query: TextQuery, record: asyncpg.Record, look: Look) -> None:
    table = _table_of(record)
    statement, values = _statement(query, record)
    # No transaction block: its exit would wait for a server that has stopped answering.
    await connection.execute(SNAPSHOT)
    await connection.execute(LIMITS, milliseconds(query.timeout_s))
    await connection.execute(_ALL)
    cursor = await connection.cursor(statement, *values)
    while True:
        rows = await cursor.fetch(BATCH)
        look(table, cast("list[Sequence[object]]", rows))
        if len(rows) < BATCH:
            break
    await connection.execute("COMMIT")


def _statement(query: TextQuery, record: asyncpg.Record) -> tuple[str, list[object]]:
    """What reads one table; its identifiers come quoted from the catalogue."""
    values: list[object] = []

    def place(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    sample = f" TABLESAMPLE SYSTEM ({place(query.sample * 100)})" if query.sample < 1 else ""
    time = record["time"]
    conditions = [
        f"{time} {operator} {place(moment)}"
        for operator, moment in ((">=", query.since), ("<", query.until))
        if time is not None and moment is not None
    ]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(record['expressions'])} FROM {record['quoted']}{sample}{where}", values  # noqa: S608 - identifiers that the server quoted
