# SPDX-License-Identifier: Apache-2.0
"""``intent-events retain`` as it is typed: whole months go, by a role that could not remove them by itself."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from typer.testing import Result

from integration.test_roles import login
from intent_events.store.removal import retain as remove_old
from support.commands import run
from support.postgres import Database, Server, run_apart
from support.stored import EVENT, insert, key_at
from support.waiting import until

pytestmark = pytest.mark.postgres

NOW: Final = datetime.now(UTC)
AGES: Final = (0, 1, 40, 200, 230, 400)
PARTS: Final = (
    "SELECT c.relname::text FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid"
    " WHERE inhparent = 'agent.intent_events'::regclass ORDER BY 1"
)


def month(age_days: int) -> datetime:
    """First moment of the month (UTC) in which that time ago lies."""
    return (NOW - timedelta(days=age_days)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def fill(pg: Database) -> None:
    """Rows of several ages in every table; there are partitions of the months of 40 and of 200 days ago."""
    for age in (40, 200):
        since, until_ = month(age), (month(age) + timedelta(days=32)).replace(day=1)
        for table in ("intent_events", "chat_events", "intent_outcomes"):
            name = f"{table}{since:_%Y_%m}"
            if await pg.fetchval("SELECT to_regclass($1) IS NULL", f"agent.{name}"):
                await pg.execute(
                    f"CREATE TABLE agent.{name} PARTITION OF agent.{table} FOR VALUES FROM ('{since}') TO ('{until_}')"
                )
    for age in AGES:
        event_id, ts = key_at(NOW - timedelta(days=age))
        rows: dict[str, dict[str, Any]] = {
            "intent_events": {**EVENT, "event_id": event_id, "ts": ts},
            "chat_events": {"event_id": event_id, "ts": ts},
            "intent_outcomes": {"event_id": event_id, "ts": ts, "kind": "executed"},
            "dead_letters": {"dead_letter_id": uuid4(), "received_at": ts, "door": "drain", "reason": "ids_invalid"},
            "emitters": {
                "emitter_id": uuid4(),
                **dict.fromkeys(("at", "started_at", "received_at"), ts),
                "beat": 1,
                **dict.fromkeys(("emitted", "stored", "duplicates", "dead", "spooled"), 0),
            },
        }
        for table, columns in rows.items():
            statement, values = insert(table, columns)
            await pg.execute(statement, *values)


@pytest.fixture
def owner_dsn(postgres_server: Server, pg: Database) -> Iterator[str]:
    """Address of a login that is enrolled as intent_owner, of a database with rows of several ages."""
    run_apart(fill(pg))
    with login(postgres_server, pg, "intent_owner") as dsn:
        yield dsn


def retain(dsn: str, *args: str, **environment: str) -> Result:
    """Run ``retain``."""
    return run("retain", "--dsn", dsn, *args, **environment)


def counts(pg: Database) -> dict[str, int]:
    """Rows by table."""
    tables = ("intent_events", "chat_events", "intent_outcomes", "dead_letters", "emitters", "admin_audit")
    return {table: pg.fetchval_now(f"SELECT count(*) FROM agent.{table}") for table in tables}


def test_a_dry_run_changes_nothing(pg: Database, owner_dsn: str) -> None:
    """Without --yes it tells what would go, and every row and partition is there afterwards."""
    before, parts = counts(pg), pg.fetch_now(PARTS)
    ran = retain(owner_dsn, "--older-than", "90d")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert f"rows from before {month(90):%Y-%m-%d}" in ran.stdout
    assert "Dry run, nothing was changed. Run it with --yes" in ran.stdout
    assert (counts(pg), pg.fetch_now(PARTS)) == (before, parts)


def test_old_months_go_and_nothing_else(pg: Database, owner_dsn: str) -> None:
    """Partitions of old months are dropped, old rows outside of them deleted, and all the rest stays as it was."""
    edge = month(90)
    kept = "SELECT e::text FROM agent.intent_events AS e WHERE ts >= $1 ORDER BY 1"
    before = pg.fetch_now(kept, edge)
    planned = json.loads(retain(owner_dsn, "--older-than", "90d", "--format", "json").stdout)
    ran = retain(owner_dsn, "--yes", "--format", "json", INTENT_EVENTS_RETAIN_OLDER_THAN="90d")
    assert ran.exit_code == 0
    did = json.loads(ran.stdout)
    assert did == {**planned, "done": True}
    assert datetime.fromisoformat(did["before"]) == edge
    old = sum(NOW - timedelta(days=age) < edge for age in AGES)
    assert did["rows"] == 5 * old
    remaining = counts(pg)
    assert remaining == {**dict.fromkeys(remaining, len(AGES) - old), "admin_audit": 1}
    assert pg.fetch_now(kept, edge) == before
    names = [row[0] for row in pg.fetch_now(PARTS)]
    assert f"intent_events{month(200):_%Y_%m}" not in names
    assert {f"intent_events{month(40):_%Y_%m}", "intent_events_default"} <= set(names)
    audit = json.loads(pg.fetchval_now("SELECT details::text FROM agent.admin_audit"))
    assert sum(part["rows"] for part in audit["removed"]) == did["rows"]
    again = retain(owner_dsn, "--older-than", "90d", "--yes")
    assert "Nothing is that old." in again.stdout


def test_rows_of_the_default_partition_are_told(pg: Database, owner_dsn: str) -> None:
    """Rows of months without a partition are named apart, counted, and deleted by their age."""
    expected = sum(NOW - timedelta(days=age) < month(120) for age in AGES)
    ran = retain(owner_dsn, "--older-than", "120d", "--yes")
    assert ran.exit_code == 0
    assert "intent_events_default" in ran.stdout
    assert "delete its old rows" in ran.stdout
    assert "Done; agent.admin_audit says so." in ran.stdout
    assert pg.fetchval_now("SELECT count(*) FROM agent.intent_events") == len(AGES) - expected


def test_a_partition_with_newer_rows_too_is_kept_and_told(pg: Database, owner_dsn: str) -> None:
    """A partition that somebody made by hand, of old and of newer months, stays, and that is said."""
    pg.execute_now(
        "CREATE TABLE agent.long PARTITION OF agent.chat_events FOR VALUES FROM ('1999-01-01') TO ('2001-01-01')"
    )
    steps = run_apart(remove_old(owner_dsn, NOW - datetime(2000, 6, 15, tzinfo=UTC), act=True, timeout_s=30))
    assert [(step.part, step.step) for step in steps if step.part == "long"] == [("long", "keep")]
    assert pg.fetchval_now("SELECT to_regclass('agent.long') IS NOT NULL")


def test_a_reader_holds_it_up_and_nothing_happens(pg: Database, owner_dsn: str) -> None:
    """While somebody reads a table for long it gives up instead of holding all writers up: exit 3, nothing changed."""
    before = counts(pg)

    async def hold() -> None:
        connection = await asyncpg.connect(pg.dsn)
        async with connection.transaction():
            await connection.execute("SELECT count(*) FROM agent.intent_events")
            ran.append(await asyncio.to_thread(retain, owner_dsn, "--older-than", "90d", "--yes", "--timeout", "2s"))
        await connection.close()

    ran: list[Result] = []
    run_apart(hold())
    assert (ran[0].exit_code, ran[0].stdout) == (3, "")
    assert "Nothing was changed" in ran[0].stderr
    until(lambda: counts(pg) == before, "nothing changed")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "--older-than"),
        (("--older-than", "soon"), "INTENT_EVENTS_RETAIN_OLDER_THAN"),
        (("--older-than", "90"), "'90' is no duration; write 90d or 26w"),
        (("--older-than", "2m", "--yes"), "'2m' is less than a day; write 90d or 26w"),
        (("--older-than", "90d", "--timeout", "soon"), "INTENT_EVENTS_RETAIN_TIMEOUT"),
        (("--older-than", "90d", "--dsn", "mysql://u:s3cret@h/d"), "no postgresql:// address"),
    ],
)
def test_wrong_use(args: tuple[str, ...], says: str) -> None:
    """A flag that is missing or cannot be used: exit 2, and the line names it."""
    ran = run("retain", *args)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert "s3cret" not in ran.stderr


def test_whoever_may_not_is_told_so(pg: Database, writer_dsn: str) -> None:
    """The writer's role may not remove anything: exit 3."""
    ran = retain(writer_dsn, "--older-than", "90d", "--yes")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "permission denied for function retain" in ran.stderr
    assert counts(pg)["admin_audit"] == 0


def test_a_database_that_was_never_migrated(empty_pg: Database) -> None:
    """Without our schema nothing can be removed: exit 3 with the remedy."""
    ran = retain(empty_pg.dsn, "--older-than", "90d")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "intent-events migrate" in ran.stderr
