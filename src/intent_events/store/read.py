# SPDX-License-Identifier: Apache-2.0
"""Questions to the tables. Everything one report needs is read in one snapshot, so that its figures agree."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from intent_events.errors import UnavailableError
from intent_events.identity import MAX_MS
from intent_events.store.connect import UNASKABLE, connect, disconnect, unavailable

Keys = tuple[str | None, ...]
"""What a figure is of: an outcome, or a verb and a reason …; None where a row has no such value."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TIMEOUT_MS: Final = (1 << 31) - 1
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Begins a transaction whose questions all see the same rows."""

LIMITS: Final = """
SELECT
    set_config('statement_timeout', $1, true),
    set_config('jit', 'off', true),        -- compiling takes longer than reading
    set_config('work_mem', '64MB', true)   -- groups by hash: the planner would sort on disk with the default 4MB
"""
"""Sets what one statement may take, :func:`milliseconds` of it, for this transaction."""


class Figure(NamedTuple):
    """How many utterances have these values."""

    keys: Keys
    n: int


@dataclass(frozen=True, slots=True)
class Figures:
    """A section of a report: its leading figures, most frequent first, and how much there is beyond them."""

    rows: tuple[Figure, ...] = ()
    all_rows: int = 0
    all_n: int = 0


SEEN: Final = "reader_scopes"
"""Section that names the scopes which alone the reader may see; missing when those are all."""

_SEEN: Final = "SELECT every_scope, scopes FROM agent.v_reader_scopes"

NONE: Final = Figures()
"""A section of which the window holds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """What a report is asked for.

    Attributes:
        since: first moment of the window.
        until: first moment after it.
        scope: tenant or book of business; None for all.
        synthetic: whether synthetic rows count.
        top: rows that a section may have.
        fine: outcomes that are no failure.
        timeout_s: seconds that the whole of reading may take, and each statement on the server.
    """

    since: datetime
    until: datetime
    scope: str | None = None
    synthetic: bool = False
    top: int = 10
    fine: Sequence[str] = field(default=())
    timeout_s: float = 30.0


async def read_report(dsn: str, query: ReportQuery) -> Mapping[str, Figures]:
    """Count everything that a report says, by section.

    Sections that begin with ``of_`` hold one figure without keys: how many utterances a section is about, or how many
    were left out. Sections of which there is nothing may be missing.

    Raises:
        SettingsError: the address of the database cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    connection = await connect(dsn, timeout_s=query.timeout_s)
    try:
        async with asyncio.timeout(query.timeout_s):
            return await _read(connection, query)
    except UNASKABLE as error:  # not migrated, no permission, too slow, or the connection broke
        problem = unavailable(error, dsn, timeout_s=query.timeout_s)
    finally:
        await disconnect(connection)
    raise problem


async def _read(connection: asyncpg.Connection, query: ReportQuery) -> dict[str, Figures]:
    same = (query.since, query.until, query.scope, query.synthetic, query.top)
    # No transaction block: its exit would wait for a server that has stopped answering. Closing ends the snapshot.
    await connection.execute(SNAPSHOT)
    await connection.execute(LIMITS, milliseconds(query.timeout_s))
    seen = await connection.fetchrow(_SEEN)
    assert seen is not None  # noqa: S101 - an aggregate without GROUP BY always gives a row
    if not (seen["every_scope"] or seen["scopes"]):
        raise UnavailableError(
            "this role may see no scope, so that every figure would be 0; grant it one in agent.scope_grants"
        )
    records = [
        *await connection.fetch(sql("report_utterances"), *same, query.fine),
        *await connection.fetch(sql("report_lists"), *same),
        *await connection.fetch(sql("report_follow_ups"), *same, _first_key(query.since), _first_key(query.until)),
    ]
    sections = _sections(records)
    if not seen["every_scope"]:
        sections[SEEN] = Figures(tuple(Figure((scope,), 0) for scope in seen["scopes"]))
    return sections


def _sections(records: Sequence[asyncpg.Record]) -> dict[str, Figures]:
    rows: dict[str, list[Figure]] = {}
    beyond: dict[str, tuple[int, int]] = {}
    for section, keys, n, section_rows, section_n in records:
        rows.setdefault(section, []).append(Figure(tuple(keys), n))
        beyond[section] = (section_rows, section_n)
    return {section: Figures(tuple(figures), *beyond[section]) for section, figures in rows.items()}


def _first_key(moment: datetime) -> UUID:
    """The smallest key that a row of this millisecond can have."""
    past = moment - _EPOCH
    ms = past.days * 86_400_000 + past.seconds * 1000 + past.microseconds // 1000
    return UUID(int=min(max(ms, 0), MAX_MS) << 80)


def milliseconds(timeout_s: float) -> str:
    """A time-out as the server reads it: whole milliseconds, at most what it can count."""
    return str(min(int(timeout_s * 1000), _MAX_TIMEOUT_MS))


def sql(name: str) -> str:
    """Text of a statement of ``store/sql``."""
    return files("intent_events.store").joinpath("sql", f"{name}.sql").read_text("utf-8")
