# SPDX-License-Identifier: Apache-2.0
import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from support.postgres import Database
from support.stored import EPOCH, EVENT, add_event, insert, key_at

TABLES = ("intent_events", "chat_events", "intent_outcomes")
REQUIRED = {
    "intent_events": {**EVENT},
    "chat_events": {},
    "intent_outcomes": {"kind": "executed"},
}

# Keys of random moments of the years 1970 to 9999 with their exact ts, moved by $2 microseconds.
RANDOM_ROWS = """
INSERT INTO agent.intent_outcomes (event_id, ts, kind)
SELECT
    (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,
    timestamptz '1970-01-01 00:00:00+00'
        + ms / 86400000 * interval '24 hours' + ms % 86400000 * interval '1 millisecond'
        + $2 * interval '1 microsecond',
    'executed'
FROM (SELECT n, (random() * 253402300799999)::bigint AS ms FROM generate_series(1, $1::bigint) AS n) AS moments
"""


def month(moment: datetime, later: int = 0) -> datetime:
    """The first moment of the month that many months later."""
    months = moment.year * 12 + moment.month - 1 + later
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


async def table_of(pg: Database, table: str = "intent_events") -> set[str]:
    """Names of the partitions that hold rows."""
    return {row[0] for row in await pg.fetch(f"SELECT DISTINCT tableoid::regclass::text FROM agent.{table}")}


@pytest.mark.parametrize("table", TABLES)
async def test_a_row_of_this_month_goes_to_its_partition(pg: Database, table: str) -> None:
    """A row of now lands in the partition named after its UTC month, in each of the three tables."""
    now = await pg.fetchval("SELECT now()")
    event_id, ts = key_at(now)
    statement, values = insert(table, {**REQUIRED[table], "event_id": event_id, "ts": ts})
    await pg.execute(statement, *values)
    assert await table_of(pg, table) == {f"agent.{table}_{ts.astimezone(UTC):%Y_%m}"}


@pytest.mark.parametrize("year", [1970, 2500, 9999])
async def test_a_row_of_a_strange_year_goes_to_the_default(pg: Database, year: int) -> None:
    """A clock that is far off does not lose the row."""
    await add_event(pg, datetime(year, 1, 1, tzinfo=UTC))
    assert await table_of(pg) == {"agent.intent_events_default"}


@pytest.mark.parametrize("days", [0, 1])
async def test_months_are_utc_and_have_no_gap(pg: Database, days: int) -> None:
    """The last millisecond of a month and the first of the next are in neighbouring partitions."""
    border = month(await pg.fetchval("SELECT now()"), 1)
    await add_event(pg, border - timedelta(milliseconds=1 - days))
    assert await table_of(pg) == {f"agent.intent_events_{month(border, days - 1):%Y_%m}"}


async def test_the_check_takes_every_exact_moment(pg: Database) -> None:
    """Random moments of the years 1970 to 9999 pass when ts is exactly the millisecond of the key."""
    assert await pg.execute(RANDOM_ROWS, 20_000, 0) == "INSERT 0 20000"


@pytest.mark.parametrize("microseconds", [-1, 1, 499, 1000, -1000, 3_600_000_000])
async def test_the_check_refuses_any_other_moment(pg: Database, microseconds: int) -> None:
    """A ts that is off by a microsecond or more is refused by the constraint of that name, not by another."""
    with pytest.raises(asyncpg.CheckViolationError, match="_ts_is_event_id"):
        await pg.execute(RANDOM_ROWS, 1, microseconds)


@pytest.mark.parametrize("table", TABLES)
async def test_each_table_has_the_check(pg: Database, table: str) -> None:
    """In each table, partitioned or not, ts and event_id cannot disagree, and ts has no default."""
    event_id, ts = key_at(datetime(2026, 1, 1, tzinfo=UTC))
    statement, values = insert(table, {**REQUIRED[table], "event_id": event_id, "ts": ts + timedelta(microseconds=1)})
    with pytest.raises(asyncpg.CheckViolationError, match=f"{table}_ts_is_event_id"):
        await pg.execute(statement, *values)
    statement, values = insert(table, {**REQUIRED[table], "event_id": event_id})
    with pytest.raises(asyncpg.NotNullViolationError, match=r'"ts"|no partition'):
        await pg.execute(statement, *values)


async def test_a_key_is_there_once(pg: Database) -> None:
    """The same event twice is one row, in a partition as in the default."""
    for moment in (await pg.fetchval("SELECT now()"), EPOCH):
        event_id, ts = key_at(moment)
        statement, values = insert("intent_events", {**EVENT, "event_id": event_id, "ts": ts})
        assert await pg.execute(f"{statement} ON CONFLICT DO NOTHING", *values) == "INSERT 0 1"
        assert await pg.execute(f"{statement} ON CONFLICT DO NOTHING", *values) == "INSERT 0 0"


async def test_rows_move_out_of_the_default(any_server_version_migrated: Database) -> None:
    """A new partition takes its month's rows from the default, leaves the others, and is a full partition."""
    pg = any_server_version_migrated
    now = await pg.fetchval("SELECT now()")
    early = [await add_event(pg, month(now, later), chosen_verb_fqn="a.b") for later in (5, 6)]
    strange = await add_event(pg, EPOCH)
    assert await table_of(pg) == {"agent.intent_events_default"}
    made = {row[0] for row in await pg.fetch("SELECT * FROM agent.make_partitions(5)")}
    assert made == {f"{table}_{month(now, later):%Y_%m}" for table in TABLES for later in (4, 5)}
    places = dict(map(tuple, await pg.fetch("SELECT event_id, tableoid::regclass::text FROM agent.intent_events")))
    assert places == {
        early[0]: f"agent.intent_events_{month(now, 5):%Y_%m}",
        early[1]: "agent.intent_events_default",
        strange: "agent.intent_events_default",
    }
    indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'agent' AND tablename = $1"
    assert await pg.fetchval(indexes, f"intent_events_{month(now, 5):%Y_%m}") == 5
    event_id, ts = key_at(month(now, 5))
    statement, values = insert("intent_events", {**EVENT, "event_id": event_id, "ts": ts + timedelta(microseconds=1)})
    with pytest.raises(asyncpg.CheckViolationError, match="intent_events_ts_is_event_id"):
        await pg.execute(statement, *values)


async def test_a_second_call_makes_nothing(pg: Database) -> None:
    """Partitions that are there are left as they are."""
    assert await pg.fetch("SELECT agent.make_partitions()") == []
    assert len(await pg.fetch("SELECT agent.make_partitions(4)")) == len(TABLES)
    assert await pg.fetch("SELECT agent.make_partitions(4)") == []


async def test_the_zone_of_the_session_does_not_matter(pg: Database) -> None:
    """Months are UTC, whatever the time zone and date style of whoever makes the partitions."""
    await pg.execute(
        "SET timezone = 'Pacific/Kiritimati'; SET datestyle = 'SQL, DMY'; SELECT agent.make_partitions(12)"
    )
    bounds = await pg.fetch(
        "SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class "
        "WHERE relispartition AND relkind = 'r' AND relname LIKE 'intent_events_2%'"
    )
    assert len(bounds) == 14
    for row in bounds:
        assert row["bound"].count("-01 00:00:00+00'") == 2


async def test_several_at_once_while_rows_come_in(pg: Database) -> None:
    """Callers that make the same partitions at once, while a writer fills that month, lose and double nothing."""
    moment = month(await pg.fetchval("SELECT now()"), 7)
    writing = asyncio.Event()

    async def write() -> int:
        connection = await asyncpg.connect(pg.dsn)
        try:
            for place in range(200):
                event_id, ts = key_at(moment)
                statement, values = insert("intent_events", {**EVENT, "event_id": event_id, "ts": ts})
                await connection.execute(statement, *values)
                if place == 20:
                    writing.set()
        finally:
            await connection.close()
        return 200

    async def make() -> int:
        await writing.wait()
        return len(await pg.fetch("SELECT agent.make_partitions(8)"))

    written, *made = await asyncio.gather(write(), *(make() for _ in range(4)))
    assert sorted(made) == [0, 0, 0, 5 * len(TABLES)]
    assert await table_of(pg) == {f"agent.intent_events_{moment:%Y_%m}"}
    assert await pg.fetchval("SELECT count(*) FROM agent.intent_events") == written


@pytest.mark.parametrize("months", ["-1", "121", "NULL"])
async def test_an_absurd_number_of_months_is_refused(pg: Database, months: str) -> None:
    """A mistyped number makes no thousand partitions."""
    with pytest.raises(asyncpg.InvalidParameterValueError, match="between 0 and 120"):
        await pg.execute(f"SELECT agent.make_partitions({months})")


async def test_a_window_reads_its_months_only(pg: Database) -> None:
    """A condition on ts leaves the partitions of other months out of the plan."""
    start = month(await pg.fetchval("SELECT now()"))
    window = f"ts >= '{start.isoformat()}' AND ts < '{month(start, 1).isoformat()}'"
    plan = await pg.fetch(f"EXPLAIN SELECT * FROM agent.intent_events WHERE {window}")
    text = "\n".join(row[0] for row in plan)
    assert f"intent_events_{start:%Y_%m}" in text
    assert f"intent_events_{month(start, 1):%Y_%m}" not in text
