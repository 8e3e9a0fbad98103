# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.store import migrate as migrations
from intent_events.store.migrate import migrate
from support.postgres import Database
from support.stored import EVENT, insert, key_at

pytestmark = pytest.mark.postgres

TABLES = ("intent_events", "chat_events", "intent_outcomes", "dead_letters", "emitters")
EVENT_ID, TS = key_at(datetime(2026, 1, 1, tzinfo=UTC))
ROWS = {
    "intent_events": {**EVENT, "event_id": EVENT_ID, "ts": TS},
    "chat_events": {"event_id": EVENT_ID, "ts": TS},
    "intent_outcomes": {"event_id": EVENT_ID, "ts": TS, "kind": "executed"},
    "dead_letters": {"dead_letter_id": UUID(int=1), "door": "exporter", "reason": "ids_invalid"},
    "emitters": {
        "emitter_id": UUID(int=1),
        "beat": 1,
        **dict.fromkeys(("at", "started_at"), TS),
        **dict.fromkeys(("emitted", "stored", "duplicates", "dead", "spooled"), 0),
    },
}
TYPES = {UUID: "uuid", datetime: "timestamptz", int: "bigint", str: "text"}


@pytest.mark.parametrize("table", TABLES)
async def test_the_writer_inserts_once(writer_dsn: str, table: str) -> None:
    """The writer's role may INSERT, with ON CONFLICT DO NOTHING and through a TEMP stage of its own."""
    statement, values = insert(table, ROWS[table])
    columns = ", ".join(ROWS[table])
    connection = await asyncpg.connect(writer_dsn)
    try:
        assert await connection.execute(f"{statement} ON CONFLICT DO NOTHING", *values) == "INSERT 0 1"
        types = ", ".join(f"{name} {TYPES[type(value)]}" for name, value in ROWS[table].items())
        await connection.execute(f"CREATE TEMP TABLE stage ({types})")
        await connection.copy_records_to_table("stage", records=[tuple(values)])
        merge = f"INSERT INTO agent.{table} ({columns}) SELECT {columns} FROM stage ON CONFLICT DO NOTHING"
        assert await connection.execute(merge) == "INSERT 0 0"
    finally:
        await connection.close()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM agent.{table}",
        "UPDATE agent.{table} SET service_name = 'x'",
        "DELETE FROM agent.{table}",
        "TRUNCATE agent.{table}",
        "DROP TABLE agent.{table}",
        "ALTER TABLE agent.{table} ADD COLUMN n int",
        "CREATE INDEX ON agent.{table} (service_name)",
        "BEGIN; LOCK agent.{table}",
        "CREATE TRIGGER t BEFORE INSERT ON agent.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "COPY agent.{table} TO STDOUT",
    ],
)
async def test_the_writer_may_do_nothing_else(writer_dsn: str, table: str, statement: str) -> None:
    """Reading, changing and removing are refused to the writer's role, table by table."""
    connection = await asyncpg.connect(writer_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement.format(table=table))
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM agent.v_intent_failure_modes",
        "SELECT FROM agent.schema_version",
        "UPDATE agent.schema_version SET version_num = '0'",
        "SELECT agent.make_partitions()",
        "CREATE TABLE agent.mine (n int)",
        "DROP SCHEMA agent CASCADE",
        "INSERT INTO agent.intent_events_default SELECT",
        "CREATE ROLE other",
        "INSERT INTO agent.intent_events (event_id) VALUES (gen_random_uuid()) RETURNING event_id",
    ],
)
async def test_the_writer_reaches_nothing_around_the_tables(writer_dsn: str, statement: str) -> None:
    """Views, versions, functions, partitions and the schema itself are closed to the writer's role."""
    connection = await asyncpg.connect(writer_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_role_of_the_writer_is_bare(pg: Database) -> None:
    """intent_writer cannot log in, has no special right and is a member of nothing."""
    role = await pg.fetchrow("SELECT * FROM pg_roles WHERE rolname = 'intent_writer'")
    assert role is not None
    assert not any(role[name] for name in ("rolcanlogin", "rolsuper", "rolcreaterole", "rolcreatedb", "rolbypassrls"))
    assert await pg.fetchval("SELECT count(*) FROM pg_auth_members WHERE member = 'intent_writer'::regrole") == 0


async def test_nobody_has_rights_by_default(pg: Database) -> None:
    """PUBLIC has no right on anything in the schema, and each role has what it is for and nothing else."""
    grants = await pg.fetch(
        """
        SELECT name, acl.privilege_type, acl.grantee::regrole::text AS grantee, acl.grantee = 0 AS public
        FROM (
            SELECT relname::text AS name, relacl AS acls, relowner AS owner FROM pg_class
            WHERE relnamespace = 'agent'::regnamespace
            UNION ALL
            SELECT c.relname || '.' || attname, attacl, relowner FROM pg_attribute
            JOIN pg_class AS c ON c.oid = attrelid WHERE relnamespace = 'agent'::regnamespace
            UNION ALL
            SELECT proname, coalesce(proacl, acldefault('f', proowner)), proowner FROM pg_proc
            WHERE pronamespace = 'agent'::regnamespace
            UNION ALL
            SELECT nspname, nspacl, nspowner FROM pg_namespace WHERE nspname = 'agent'
        ) AS objects, aclexplode(acls) AS acl
        WHERE acl.grantee <> owner
        """
    )
    assert not any(row["public"] for row in grants)
    views = {row[0] for row in await pg.fetch("SELECT viewname::text FROM pg_views WHERE schemaname = 'agent'")}
    assert len(views) > 9
    readers = ("intent_reviewer", "intent_tuner", "intent_owner")
    kept = (*TABLES, "admin_audit", "scope_grants", "schema_version")
    assert {(row["name"], row["privilege_type"], row["grantee"]) for row in grants} == {
        *(("agent", "USAGE", role) for role in ("intent_writer", *readers)),
        *((table, "INSERT", "intent_writer") for table in TABLES),
        *((view, "SELECT", reader) for view in views for reader in readers),
        *((f"admin_audit.{column}", "INSERT", "intent_tuner") for column in ("action", "details")),
        *((table, "SELECT", "intent_owner") for table in kept),
        *(("scope_grants", right, "intent_owner") for right in ("INSERT", "DELETE")),
        *((name, "EXECUTE", "intent_owner") for name in ("retention_plan", "retain", "erase_subject")),
    }


async def test_without_the_right_to_make_roles() -> None:
    """A user who may not make roles gets the schema, and the statements for an administrator, which suffice."""
    with EmbeddedPostgres() as server:
        admin = Database(server.dsn())
        await admin.execute("CREATE ROLE plain LOGIN; CREATE ROLE app LOGIN; CREATE ROLE bi LOGIN;")
        await admin.execute("CREATE DATABASE theirs OWNER plain")
        result = await migrate(server.dsn("theirs", "plain"))
        theirs = Database(server.dsn("theirs"))
        assert await theirs.fetchval("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'intent%'") == 0
        (notice,) = result.notices
        roles = ("intent_writer", "intent_reviewer", "intent_tuner", "intent_owner")
        assert notice.startswith(f"roles {', '.join(roles)} are missing: let an administrator run: CREATE ROLE ")
        # As long as they are missing it is said again, of those that are.
        assert (await migrate(server.dsn("theirs", "plain"))).notices == (notice,)
        await theirs.execute("CREATE ROLE intent_writer NOLOGIN")
        (notice,) = (await migrate(server.dsn("theirs", "plain"))).notices
        assert notice.startswith(f"roles {', '.join(roles[1:])} are missing: ")
        await theirs.execute(notice.partition("let an administrator run: ")[2])
        await theirs.execute("SELECT agent.enroll('app', 'intent_writer'), agent.enroll('bi', 'intent_reviewer')")
        statement, values = insert("intent_events", ROWS["intent_events"])
        await Database(server.dsn("theirs", "app")).execute(statement, *values)
        assert await Database(server.dsn("theirs", "bi")).fetchval("SELECT count(*) FROM v_intent_events") == 1
        assert (await migrate(server.dsn("theirs", "plain"))).notices == ()


async def test_other_words_of_the_server(monkeypatch: pytest.MonkeyPatch, empty_pg: Database) -> None:
    """What else the server has to say while migrating is told in its own words alone."""
    shouting = ("DO $$ BEGIN RAISE WARNING 'mind the gap' USING HINT = 'step over it'; END $$", *migrations._PRELUDE)
    monkeypatch.setattr(migrations, "_PRELUDE", shouting)
    assert (await migrate(empty_pg.dsn)).notices == ("mind the gap",)


async def test_in_a_schema_that_an_administrator_made() -> None:
    """The owner of the schema migrates without any right on the database itself."""
    with EmbeddedPostgres() as server:
        await Database(server.dsn()).execute("CREATE ROLE plain LOGIN; CREATE SCHEMA agent AUTHORIZATION plain")
        assert (await migrate(server.dsn(user="plain"))).before is None
