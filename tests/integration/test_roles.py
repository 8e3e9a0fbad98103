# SPDX-License-Identifier: Apache-2.0
"""What each role tries, and is refused by the database; and what nobody may do to the tables, owner included."""

import json
import secrets
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.store.migrate import migrate
from intent_events.store.write import Writer, Written
from support.commands import run
from support.postgres import Database, Server, run_apart
from support.records import utterances
from support.stored import EVENT, insert, key_at

pytestmark = pytest.mark.postgres

ROLES: Final = ("intent_writer", "intent_reviewer", "intent_tuner", "intent_owner")
TABLES: Final = ("intent_events", "chat_events", "intent_outcomes", "dead_letters", "emitters", "admin_audit")
PARTITIONED: Final = ("intent_events", "chat_events", "intent_outcomes")
CHANGES: Final = ("UPDATE agent.{} SET {} = DEFAULT", "DELETE FROM agent.{}", "TRUNCATE agent.{}")
A_COLUMN: Final = {
    "dead_letters": "reason",
    "emitters": "host",
    "admin_audit": "action",
}
WRITES: Final = (
    "INSERT INTO agent.intent_events (event_id) VALUES (gen_random_uuid())",
    "INSERT INTO agent.chat_events (event_id) VALUES (gen_random_uuid())",
    "INSERT INTO agent.intent_outcomes (event_id) VALUES (gen_random_uuid())",
    "INSERT INTO agent.dead_letters (dead_letter_id, door, reason) VALUES (gen_random_uuid(), 'x', 'y')",
    "INSERT INTO agent.emitters (beat) VALUES (1)",
)
EVERYBODY: Final = (
    *(change.format(table, A_COLUMN.get(table, "service_name")) for change in CHANGES for table in TABLES),
    *(f"DROP TABLE agent.{table}" for table in TABLES),
    *(f"ALTER TABLE agent.{table} DISABLE TRIGGER ALL" for table in TABLES),
    *(f"CREATE RULE r AS ON INSERT TO agent.{table} DO INSTEAD NOTHING" for table in TABLES),
    "SELECT agent.protect()",
    "SELECT agent.unprotect()",
    "SELECT agent.make_partitions()",
    "SELECT agent.make_views()",
    "SELECT agent.limit_readers()",
    "SELECT agent.grant_roles()",
    "SELECT agent.enroll('postgres', 'intent_owner')",
    "CREATE TABLE agent.mine (n int)",
    "DROP SCHEMA agent CASCADE",
    "DROP VIEW agent.v_intent_events",
    "CREATE ROLE mine",
    "SET ROLE postgres",
    "INSERT INTO agent.admin_audit (audit_id, action) VALUES (gen_random_uuid(), 'x')",
    "INSERT INTO agent.admin_audit (action, at) VALUES ('x', '2020-01-01')",
    "INSERT INTO agent.admin_audit (action, role_name) VALUES ('x', 'somebody else')",
    "UPDATE agent.scope_grants SET scope = '*'",
)
READS: Final = tuple(
    f"SELECT * FROM agent.{table}" for table in (*TABLES, "intent_events_default", "scope_grants", "schema_version")
)
REMOVALS: Final = (
    "SELECT agent.retain('1 day')",
    "SELECT agent.retention_plan('1 day')",
    "SELECT agent.erase_subject(ARRAY['actor-1'], '{}')",
)
SCOPES: Final = ("INSERT INTO agent.scope_grants VALUES ('intent_reviewer', '*')", "DELETE FROM agent.scope_grants")
ATTEMPTS: Final = {
    "intent_writer": (*EVERYBODY, *READS, *REMOVALS, *SCOPES, "SELECT * FROM agent.v_intent_events"),
    "intent_reviewer": (
        *EVERYBODY,
        *READS,
        *REMOVALS,
        *SCOPES,
        *WRITES,
        "INSERT INTO agent.admin_audit (action) VALUES ('x')",
        "INSERT INTO agent.v_intent_events (event_id) VALUES (gen_random_uuid())",
        "DELETE FROM agent.v_intent_events",
    ),
    "intent_tuner": (
        *EVERYBODY,
        *READS,
        *REMOVALS,
        *SCOPES,
        *WRITES,
        "INSERT INTO agent.v_intent_events (event_id) VALUES (gen_random_uuid())",
    ),
    "intent_owner": (*EVERYBODY, *WRITES, "INSERT INTO agent.admin_audit (action) VALUES ('x')"),
}
"""What each role tries, and must not be able to do."""


@contextmanager
def login(server: Server, pg: Database, role: str, *settings: str) -> Generator[str]:
    """Address for a login that is enrolled in a role."""
    name, password = f"test_{secrets.token_hex(6)}", secrets.token_hex(16)
    pg.execute_now(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'; SELECT agent.enroll('{name}', '{role}')")
    for setting in settings:
        pg.execute_now(f"ALTER ROLE {name} IN DATABASE {pg.fetchval_now('SELECT current_database()')} SET {setting}")
    try:
        yield pg.as_user(name, password)
    finally:
        server.admin.execute_now(f"DROP ROLE {name}")


@pytest.fixture
def enrolled(postgres_server: Server, pg: Database) -> Iterator[dict[str, str]]:
    """Address of a login for each role."""
    with ExitStack() as stack:
        yield {role: stack.enter_context(login(postgres_server, pg, role)) for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
async def test_what_a_role_is_not_for_is_refused(enrolled: dict[str, str], role: str) -> None:
    """Every attempt of the role is refused for want of a right, and by nothing else."""
    connection = await asyncpg.connect(enrolled[role])
    await connection.execute("SET default_transaction_read_only = off")  # a default that anybody may lift
    not_refused: dict[str, str] = {}
    for attempt in ATTEMPTS[role]:
        try:
            not_refused[attempt] = await connection.execute(attempt)
        except asyncpg.InsufficientPrivilegeError:  # as it should be
            continue
        except asyncpg.PostgresError as error:  # refused, but for another reason
            not_refused[attempt] = repr(error)
    await connection.close()
    assert not_refused == {}


async def test_what_a_role_is_for(pg: Database, enrolled: dict[str, str]) -> None:
    """The writer writes by COPY, reviewer and tuner read views, the owner reads tables and removes."""
    writer = Writer(enrolled["intent_writer"], door="exporter")
    assert await writer.write(utterances(0, 3)) == Written(stored=3)
    assert await writer.write(utterances(0, 4)) == Written(stored=1, duplicates=3)
    await writer.close()
    for role in ("intent_reviewer", "intent_tuner"):
        assert await Database(enrolled[role]).fetchval("SELECT count(*) FROM v_intent_events") == 4
    await Database(enrolled["intent_tuner"]).execute("INSERT INTO admin_audit (action) VALUES ('tried')")
    owner = Database(enrolled["intent_owner"])
    assert await owner.fetchval("SELECT count(*) FROM agent.intent_events") == 4
    actor = await pg.fetchval("SELECT actor_id FROM agent.intent_events LIMIT 1")
    assert await owner.fetchval("SELECT intent_events FROM agent.erase_subject(ARRAY[$1], '{}')", actor) == 4
    assert await owner.fetchval("SELECT count(*) FROM agent.retain('90 days')") == 5
    audit = await pg.fetch("SELECT action, role_name FROM agent.admin_audit ORDER BY at")
    assert [row["action"] for row in audit] == ["tried", "erase", "retain"]
    assert len({row["role_name"] for row in audit}) == 2
    assert "postgres" not in {row["role_name"] for row in audit}


async def test_settings_of_a_login(enrolled: dict[str, str]) -> None:
    """Whoever is enrolled has search_path and time-outs from the first statement on; a reviewer reads only."""
    for role, dsn in enrolled.items():
        shown = Database(dsn)
        assert await shown.fetchval("SHOW search_path") == "agent, pg_temp"
        assert await shown.fetchval("SHOW statement_timeout") == ("1h" if role == "intent_owner" else "1min")
        assert await shown.fetchval("SHOW lock_timeout") == "10s"
        assert await shown.fetchval("SHOW idle_in_transaction_session_timeout") == "5min"
        reads = "on" if role == "intent_reviewer" else "off"
        assert await shown.fetchval("SHOW default_transaction_read_only") == reads


@pytest.mark.parametrize("role", [None, "intent_nothing", "postgres"])
async def test_there_is_nothing_else_to_be_enrolled_in(pg: Database, role: str | None) -> None:
    """Enrolling in another role than ours is refused."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await pg.execute("SELECT agent.enroll('postgres', $1)", role)


async def changes_refused(dsn: str) -> None:
    """Try to change and to remove, by every name that the rows have."""
    pg = Database(dsn)
    event_id, ts = key_at(datetime.now(UTC))
    old_id, old = key_at(datetime(2020, 1, 1, tzinfo=UTC))
    for key, moment in ((event_id, ts), (old_id, old)):
        statement, values = insert("intent_events", {**EVENT, "event_id": key, "ts": moment})
        await pg.execute(statement, *values)
    await pg.execute(WRITES[3])
    partition = f"intent_events{ts:_%Y_%m}"
    tried = [change.format(table, A_COLUMN.get(table, "service_name")) for change in CHANGES for table in TABLES]
    for part in (partition, "intent_events_default"):
        tried += [change.format(part, "service_name") for change in CHANGES]
    tried += [
        "DELETE FROM agent.intent_events WHERE false",
        "TRUNCATE agent.intent_events, agent.chat_events CASCADE",
        "UPDATE agent.intent_events SET ts = ts - interval '1 year'",
        f"{WRITES[3]} ON CONFLICT (dead_letter_id) DO UPDATE SET reason = 'x'",
        "MERGE INTO agent.intent_outcomes AS o USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
        f"WITH gone AS (DELETE FROM agent.{partition} RETURNING *) SELECT count(*) FROM gone",
    ]
    not_refused: dict[str, str] = {}
    for attempt in tried:
        try:
            not_refused[attempt] = await pg.execute(attempt)
        except asyncpg.InsufficientPrivilegeError as error:
            assert "is append-only" in str(error)  # noqa: PT017 - many attempts, one list of what was not refused
    # A partition that is older than the protection, or made by hand, is no way around either.
    assert not_refused == {}
    assert await pg.fetchval("SELECT count(*) FROM agent.intent_events") == 2


async def test_nobody_changes_rows_by_mistake(any_server_version_migrated: Database) -> None:
    """UPDATE, DELETE and TRUNCATE are refused to a superuser, on tables and partitions, on every version."""
    await changes_refused(any_server_version_migrated.dsn)


async def test_the_owner_of_the_tables_does_not_either() -> None:
    """The user who migrated owns the tables, and is refused the same; what is meant to remove still does."""
    with EmbeddedPostgres() as server:
        admin = Database(server.dsn())
        await admin.execute("CREATE ROLE plain LOGIN CREATEROLE")
        await admin.execute("CREATE DATABASE theirs OWNER plain")
        dsn = server.dsn("theirs", "plain")
        await migrate(dsn)
        await changes_refused(dsn)
        owner = Database(dsn)
        await owner.execute("SELECT agent.make_partitions(8)")
        erased = await owner.fetchrow("SELECT * FROM agent.erase_subject(ARRAY['actor-1'], '{}')")
        assert erased is not None
        assert erased["intent_events"] == 2
        assert await owner.fetchval("SELECT count(*) FROM agent.v_intent_events") == 0
        await changes_refused(dsn)
        assert await owner.fetchval("SELECT every_scope FROM agent.v_reader_scopes")


async def test_new_partitions_are_protected_too(pg: Database) -> None:
    """A partition that is made later refuses TRUNCATE as its table does; by hand, at least DELETE."""
    await pg.execute("SELECT agent.make_partitions(24)")
    names = [
        row[0]
        for row in await pg.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'agent.intent_events'::regclass"
        )
    ]
    assert len(names) > 24
    for name in names:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await pg.execute(f"TRUNCATE {name}")
    await pg.execute(
        "CREATE TABLE agent.by_hand PARTITION OF agent.chat_events FOR VALUES FROM ('2001-01-01') TO ('2001-02-01')"
    )
    event_id, ts = key_at(datetime(2001, 1, 2, tzinfo=UTC))
    statement, values = insert("chat_events", {"event_id": event_id, "ts": ts})
    await pg.execute(statement, *values)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await pg.execute("DELETE FROM agent.by_hand")


async def test_protection_is_lifted_and_put_back(pg: Database) -> None:
    """For Citus, which distributes no table with triggers, they can all be taken away, and put back."""
    count = "SELECT count(*) FROM pg_trigger WHERE tgfoid = 'agent.refuse_change()'::regprocedure"
    before = await pg.fetchval(count)
    await pg.execute("SELECT agent.unprotect()")
    assert await pg.fetchval(count) == 0
    await pg.execute("SELECT agent.make_partitions(6)")
    assert await pg.fetchval(count) == 0
    await pg.execute("SELECT agent.protect(); SELECT agent.protect()")
    assert await pg.fetchval(count) > before


async def test_no_trigger_is_for_writing(pg: Database) -> None:
    """Nothing runs at INSERT or COPY: protection costs writing nothing. No table has a foreign key or a row policy."""
    assert await pg.fetchval(
        "SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relnamespace = 'agent'::regnamespace AND tgtype & 4 <> 0"
    ) == 0  # fmt: skip
    assert await pg.fetchval("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 0
    assert await pg.fetchval("SELECT count(*) FROM pg_class WHERE relrowsecurity") == 0


async def add(pg: Database, scope: str | None, number: int) -> UUID:
    """An utterance of this scope with a reply and a follow-up."""
    key, ts = key_at(datetime(2026, 11, 1 + number, tzinfo=UTC))
    for table, columns in (
        ("intent_events", {**EVENT, "scope": scope, "outcome": "no_match"}),
        ("chat_events", {"intent_event_id": key}),
        ("intent_outcomes", {"intent_event_id": key, "kind": "executed"}),
    ):
        statement, values = insert(table, {"event_id": key, "ts": ts, **columns})
        await pg.execute(statement, *values)
    return key


VIEWS: Final = ("v_intent_events", "v_chat_events", "v_intent_outcomes")


async def seen(dsn: str) -> tuple[int, ...]:
    """How many rows of each view a reader sees, and how many failures the figures count."""
    reader = Database(dsn)
    counts = [await reader.fetchval(f"SELECT count(*) FROM agent.{view}") for view in VIEWS]
    return (*counts, await reader.fetchval("SELECT coalesce(sum(n), 0)::int FROM agent.v_intent_failure_modes"))


async def test_scopes_of_readers(postgres_server: Server, pg: Database) -> None:
    """Everybody sees everything until readers are limited; then each sees the scopes granted, and writing goes on."""
    for number, scope in enumerate(("acme", "acme", "globex", None)):
        await add(pg, scope, number)
    with (
        login(postgres_server, pg, "intent_reviewer") as acme,
        login(postgres_server, pg, "intent_reviewer") as nobody,
        login(postgres_server, pg, "intent_reviewer", "intent_events.scope = 'globex'") as narrowed,
        login(postgres_server, pg, "intent_owner") as owner,
        login(postgres_server, pg, "intent_writer") as writer,
    ):
        assert [await seen(dsn) for dsn in (acme, nobody, owner)] == [(4, 4, 4, 4)] * 3
        assert await seen(narrowed) == (4, 4, 4, 4)
        await pg.execute("SELECT agent.limit_readers()")
        assert [await seen(dsn) for dsn in (acme, nobody, owner)] == [(0, 0, 0, 0), (0, 0, 0, 0), (4, 4, 4, 4)]
        name = await Database(acme).fetchval("SELECT current_user::text")
        await Database(owner).execute(f"INSERT INTO agent.scope_grants VALUES ('{name}', 'acme'), ('gone', '*')")
        assert [await seen(dsn) for dsn in (acme, nobody, owner, narrowed, pg.dsn)] == [
            (2, 2, 2, 2),
            (0, 0, 0, 0),
            (4, 4, 4, 4),
            (0, 0, 0, 0),
            (4, 4, 4, 4),
        ]
        # Narrowing cannot widen, and a reader's own function sees no row that the policy hides.
        widened = await asyncpg.connect(acme)
        await widened.execute("SET intent_events.scope = 'globex'")
        assert await widened.fetchval("SELECT count(*) FROM agent.v_intent_events") == 0
        await widened.execute("RESET intent_events.scope; SET default_transaction_read_only = off")
        await widened.execute(
            "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
            " $$ BEGIN RAISE NOTICE 'sees %', $1; RETURN true; END $$"
        )
        notices: list[str] = []
        widened.add_log_listener(lambda _, message: notices.append(str(message.message)))
        await widened.fetch("SELECT * FROM agent.v_intent_events WHERE pg_temp.leak(scope)")
        await widened.close()
        assert set(notices) == {"sees acme"}
        door = Writer(writer, door="exporter")
        assert await door.write(utterances(0, 3)) == Written(stored=3)
        await door.close()


async def test_what_row_level_security_would_do(pg: Database, writer_dsn: str) -> None:
    """Why the policy is in the views: a row policy on the table itself refuses COPY to the writer."""
    await pg.execute(
        "ALTER TABLE agent.intent_events ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON agent.intent_events FOR INSERT TO intent_writer WITH CHECK (true)"
    )
    connection = await asyncpg.connect(writer_dsn)
    try:
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="COPY FROM not supported with row-level security"):
            await connection.copy_records_to_table("intent_events", schema_name="agent", records=[])
    finally:
        await connection.close()


async def test_a_new_column_comes_into_the_views(pg: Database) -> None:
    """A migration that adds a column makes the views anew, limited or not, with what the column means."""
    for script in ("ALTER TABLE agent.intent_events ADD COLUMN one int", "SELECT agent.limit_readers()"):
        await pg.execute(script)
        await pg.execute("COMMENT ON COLUMN agent.intent_events.one IS 'The one.'; SELECT agent.make_views()")
        place = "attrelid = 'agent.v_intent_events'::regclass AND attname = 'one'"
        assert (
            await pg.fetchval(f"SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE {place}") == "The one."
        )
        limited = await pg.fetchval("SELECT reloptions FROM pg_class WHERE oid = 'agent.v_intent_events'::regclass")
        assert limited == [f"security_barrier={'true' if 'limit' in script else 'false'}"]
    await pg.execute("SELECT agent.make_views()")
    assert "v_reader_scopes" in await pg.fetchval("SELECT pg_get_viewdef('agent.v_intent_events')")


def test_a_report_says_what_its_reader_may_not_see(postgres_server: Server, pg: Database) -> None:
    """With scopes taken away a report names those that are left, and with none left it is no report of zeros."""
    for number, scope in enumerate(("acme", "acme", "globex")):
        run_apart(add(pg, scope, number))
    with login(postgres_server, pg, "intent_reviewer") as dsn:
        window = ("--since", "2026-11-01", "--until", "2026-12-01", "--dsn", dsn)
        assert json.loads(run("report", *window, "--format", "json").stdout)["reader_scopes"] is None
        pg.execute_now("SELECT agent.limit_readers()")
        ran = run("report", *window)
        assert (ran.exit_code, ran.stdout) == (3, "")
        assert "may see no scope" in ran.stderr
        pg.execute_now("INSERT INTO agent.scope_grants VALUES ('intent_reviewer', 'acme')")
        report = json.loads(run("report", *window, "--format", "json").stdout)
        assert (report["n"], report["reader_scopes"]) == (2, ["acme"])
        assert "all but what this reader may see, which is of acme" in run("report", *window).stdout
