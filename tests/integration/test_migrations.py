# SPDX-License-Identifier: Apache-2.0
import asyncio
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from alembic import command

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.errors import PermanentError, RetryableError, SettingsError, UnavailableError
from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow
from intent_events.store import revisions
from intent_events.store.migrate import CheckState, check, migrate, migration_sql
from support.postgres import Database, address
from support.stored import add_event
from support.waiting import until_async

HEAD = revisions.all_revisions()[0]

pytestmark = pytest.mark.postgres

PARTITIONED = ("intent_events", "chat_events", "intent_outcomes")
VIEWS = {
    "v_intent_top_clarify_verbs",
    "v_intent_semreg_overrides",
    "v_intent_semreg_denies",
    "v_intent_arg_fill_failures",
    "v_intent_macro_denies",
    "v_intent_failure_modes",
    "v_intent_events",
    "v_chat_events",
    "v_intent_outcomes",
    "v_reader_scopes",
}

# The columns of the original request: type, and whether a value is required.
REQUESTED = {
    "event_id": ("uuid", True),
    "ts": ("timestamp with time zone", True),
    "session_id": ("uuid", True),
    "actor_id": ("text", True),
    "entrypoint": ("text", True),
    "utterance_hash": ("text", True),
    "utterance_preview": ("text", False),
    "scope": ("text", False),
    "subject_ref_type": ("text", False),
    "subject_ref_id": ("uuid", False),
    "semreg_mode": ("text", True),
    "semreg_denied_verbs": ("jsonb", False),
    "verb_candidates_pre": ("jsonb", False),
    "verb_candidates_post": ("jsonb", False),
    "chosen_verb_fqn": ("text", False),
    "selection_source": ("text", False),
    "forced_verb_fqn": ("text", False),
    "outcome": ("text", True),
    "dsl_hash": ("text", False),
    "run_sheet_entry_id": ("uuid", False),
    "macro_semreg_checked": ("boolean", True),
    "macro_denied_verbs": ("jsonb", False),
    "error_code": ("text", False),
}

# Those that the span contract adds.
ADDED = {
    "schema_version": ("integer", True),
    "parent_event_id": ("uuid", False),
    "emitter_id": ("uuid", False),
    "emitter_seq": ("bigint", False),
    "hash_key_id": ("text", False),
    "template_hash": ("text", False),
    "semreg_denied_reasons": ("jsonb", False),
    "semreg_snapshot_id": ("text", False),
    "verb_candidates_pre_total": ("integer", False),
    "verb_candidates_post_total": ("integer", False),
    "missing_args": ("text[]", False),
    "prompt_version": ("text", False),
    "boost_version": ("text", False),
    "registry_version": ("text", False),
    "synthetic": ("boolean", True),
    "quality": ("text[]", False),
    "duration_ms": ("double precision", False),
    "trace_id": ("text", False),
    "span_id": ("text", False),
    "trace_sampled": ("boolean", False),
    "service_name": ("text", False),
}

COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull
FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
"""

# Forks ten processes that start at the same moment: when the pipe closes.
TEN_PROCESSES = """
import asyncio, os, sys
from intent_events.store.migrate import migrate
ready, go = os.pipe()
for place in range(10):
    if os.fork() == 0:
        os.close(go)
        os.read(ready, 1)
        result = asyncio.run(migrate(sys.argv[1 + place % 2]))
        os.write(1, f"{result.before} {result.after} {len(result.partitions)}\\n".encode())
        os._exit(0)
os.close(go)
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(10)))
"""


async def test_empty_to_head(any_server_version: Database) -> None:
    """On every supported version an empty database gets every table, view, index and partition, and counts as done."""
    pg = any_server_version
    assert (await check(pg.dsn)).state is CheckState.MISSING
    result = await migrate(pg.dsn)
    assert result.before is None
    assert len(result.partitions) == 5 * len(PARTITIONED)
    answer = await check(pg.dsn)
    assert (answer.state, answer.current) == (CheckState.HEAD, result.after)
    kinds = await pg.fetch("SELECT relname, relkind FROM pg_class WHERE relnamespace = 'agent'::regnamespace")
    partitions = {*result.partitions, *(f"{table}_default" for table in PARTITIONED)}
    assert {row["relname"]: row["relkind"] for row in kinds if row["relkind"] in {b"r", b"p", b"v"}} == {
        **dict.fromkeys(PARTITIONED, b"p"),
        **dict.fromkeys(VIEWS, b"v"),
        **dict.fromkeys(
            {"dead_letters", "emitters", "schema_version", "admin_audit", "scope_grants", *partitions}, b"r"
        ),
    }
    indexes = await pg.fetch(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'agent' AND tablename = 'intent_events'"
    )
    assert {row["indexname"] for row in indexes} == {
        "intent_events_pkey",
        "intent_events_ts_idx",
        "intent_events_session_idx",
        "intent_events_utter_hash_idx",
        "intent_events_chosen_verb_idx",
    }
    assert await pg.fetchval("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 0
    assert await pg.fetchval("SELECT extversion FROM pg_extension WHERE extname <> 'plpgsql'") is None


async def test_the_columns_are_those_of_the_request_and_the_contract(pg: Database) -> None:
    """Name, type and nullability of every column of intent_events are as requested; ts has no default."""
    columns = {
        row["attname"]: (row["type"], row["attnotnull"]) for row in await pg.fetch(COLUMNS, "agent.intent_events")
    }
    assert columns == {**REQUESTED, **ADDED}
    defaults = await pg.fetch(
        "SELECT column_name, column_default FROM information_schema.columns "
        "WHERE table_schema = 'agent' AND table_name = 'intent_events' AND column_default IS NOT NULL"
    )
    assert dict(map(tuple, defaults)) == {"schema_version": "1", "macro_semreg_checked": "false", "synthetic": "false"}


@pytest.mark.parametrize(
    ("table", "row"),
    [("intent_events", IntentEventRow), ("chat_events", ChatEventRow), ("intent_outcomes", IntentOutcomeRow)],
)
async def test_a_row_has_a_field_for_every_column(
    pg: Database, table: str, row: type[IntentEventRow | ChatEventRow | IntentOutcomeRow]
) -> None:
    """What the decoder makes and what the table holds have the same names."""
    assert {column["attname"] for column in await pg.fetch(COLUMNS, f"agent.{table}")} == set(row._fields)


async def test_twice_changes_nothing(empty_pg: Database) -> None:
    """A second run finds nothing to do and keeps the rows."""
    first = await migrate(empty_pg.dsn)
    moment = await empty_pg.fetchval("SELECT now()")
    event_id = await add_event(empty_pg, moment)
    second = await migrate(empty_pg.dsn)
    assert (second.before, second.after, second.partitions) == (first.after, first.after, ())
    assert await empty_pg.fetchval("SELECT event_id FROM agent.intent_events") == event_id


def test_ten_processes_at_once() -> None:
    """Ten processes that migrate two databases of a fresh cluster at once all succeed, and one a database does it."""
    with EmbeddedPostgres() as server:
        databases = [Database(server.dsn(name)) for name in ("one", "two")]
        for name in ("one", "two"):
            Database(server.dsn()).execute_now(f"CREATE DATABASE {name}")
        command_line = [sys.executable, "-c", TEN_PROCESSES, *(database.dsn for database in databases)]
        ten = subprocess.run(command_line, check=False, capture_output=True, text=True)
        assert (ten.returncode, ten.stderr) == (0, "")
        assert sorted(ten.stdout.splitlines()) == [f"{HEAD} {HEAD} 0"] * 8 + [f"None {HEAD} 15"] * 2
        for database in databases:
            assert database.fetchval_now("SELECT count(*) FROM agent.schema_version") == 1


async def test_ten_tasks_at_once(empty_pg: Database) -> None:
    """Ten migrations in one process are safe too, whatever global state Alembic keeps."""
    results = await asyncio.gather(*(migrate(empty_pg.dsn) for _ in range(10)))
    assert sorted(result.before or "" for result in results) == ["", *[HEAD] * 9]


def test_the_script_for_an_administrator_makes_the_same_schema(tmp_path: Path) -> None:
    """The output of --sql, run by psql, and migrate give databases whose dumps are equal; twice it changes nothing."""
    script = tmp_path / "migration.sql"
    script.write_text(migration_sql(), encoding="utf-8")
    with EmbeddedPostgres() as server:
        for name in ("migrated", "scripted"):
            Database(server.dsn()).execute_now(f"CREATE DATABASE {name}")
        asyncio.run(migrate(server.dsn("migrated")))
        psql = [str(server.bin_dir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script)]
        subprocess.run([*psql, server.dsn("scripted")], check=True, capture_output=True)
        dumps = [
            subprocess.check_output([str(server.bin_dir / "pg_dump"), server.dsn(name)], text=True)
            for name in ("migrated", "scripted")
        ]
        # pg_dump guards its script with a word of its own, new each time.
        migrated, scripted = (
            [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
            for dump in dumps
        )
        assert migrated == scripted
        assert any("CREATE TABLE agent.intent_events " in line for line in migrated)
        again = subprocess.run([*psql, server.dsn("scripted")], check=False, capture_output=True, text=True)
        assert again.returncode != 0
        assert "already exists" in again.stderr
        assert asyncio.run(check(server.dsn("scripted"))).state is CheckState.HEAD


@pytest.fixture
def newer_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A later version of intent-events, with one revision more."""
    folder = tmp_path / "100% migrations"
    shutil.copytree(Path(revisions.__file__).parents[3] / "migrations", folder)
    first = (folder / "versions" / "0001_intent_events.py").read_text()
    last = first.replace('revision = "0001"\ndown_revision = None', f'revision = "9999"\ndown_revision = "{HEAD}"')
    (folder / "versions" / "9999_more.py").write_text(last.replace("0001_intent_events.sql", "9999_more.sql"))
    (folder / "sql" / "9999_more.sql").write_text("CREATE TABLE agent.more (n int); CREATE INDEX ON agent.more (n);\n")
    monkeypatch.setattr(revisions, "_folder", lambda: folder)
    return "9999"


async def test_behind_and_brought_to_head(pg: Database, newer_revisions: str) -> None:
    """A database of an older version is told to be behind, and gets what is missing and nothing else."""
    answer = await check(pg.dsn)
    assert (answer.state, answer.current, answer.head) == (CheckState.BEHIND, HEAD, newer_revisions)
    assert "intent-events migrate" in answer.detail
    rest = migration_sql(HEAD)
    assert "agent.more" in rest
    assert "CREATE TABLE agent.intent_events" not in rest
    result = await migrate(pg.dsn)
    assert (result.before, result.after) == (HEAD, newer_revisions)
    assert await pg.fetchval("SELECT count(*) FROM agent.more") == 0
    assert (await check(pg.dsn)).state is CheckState.HEAD


async def test_from_the_revision_before(empty_pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database with rows and readers, and without an index that somebody dropped, is brought from 0002 to head.

    Rows stay, and readers may read what is new.
    """
    folder = tmp_path / "migrations"
    shutil.copytree(Path(revisions.__file__).parents[3] / "migrations", folder)
    for later in (folder / "versions").glob("000[3-9]_*.py"):
        later.unlink()
    with monkeypatch.context() as older:
        older.setattr(revisions, "_folder", lambda: folder)
        assert (await migrate(empty_pg.dsn)).after == "0002"
    asked = {"outcome": "clarify_verb", "verb_candidates_pre": '[{"verb": "a.a"}, {"verb": "b.b"}]'}
    await add_event(empty_pg, await empty_pg.fetchval("SELECT now()"), **asked)
    await empty_pg.execute("DROP INDEX agent.intent_events_utter_hash_idx")
    assert "CREATE TABLE" not in migration_sql("0002").replace("CREATE TABLE agent.%I", "of a function")
    assert (await migrate(empty_pg.dsn)).before == "0002"
    question = "SELECT verb_fqn, runner_up_verb_fqn, n FROM agent.v_intent_top_clarify_verbs"
    assert [tuple(row) for row in await empty_pg.fetch(question)] == [("a.a", "b.b", 1)]
    index = "SELECT indexdef FROM pg_indexes WHERE indexname = 'intent_events_utter_hash_idx'"
    assert "USING brin" in await empty_pg.fetchval(index)
    assert await empty_pg.fetchval("SELECT count(*) FROM agent.intent_events WHERE utterance_hash = '00'") == 1
    may = "SELECT has_table_privilege('intent_reviewer', 'agent.v_intent_top_clarify_verbs', 'SELECT')"
    assert await empty_pg.fetchval(may)


async def test_a_failing_revision_leaves_nothing(pg: Database, newer_revisions: str, tmp_path: Path) -> None:
    """When a file fails half way, none of it is there and the database is at the revision from before."""
    (tmp_path / "100% migrations" / "sql" / "9999_more.sql").write_text("CREATE TABLE agent.more (n int); SELECT no;")
    with pytest.raises(PermanentError, match='column "no" does not exist'):
        await migrate(pg.dsn)
    assert await pg.fetchval("SELECT to_regclass('agent.more')") is None
    answer = await check(pg.dsn)
    assert (answer.state, answer.head) == (CheckState.BEHIND, newer_revisions)


async def test_a_newer_database_is_left_alone(pg: Database) -> None:
    """A database that a newer version migrated is told to be ahead, and migrate refuses it."""
    await pg.execute("UPDATE agent.schema_version SET version_num = 'abcd'")
    answer = await check(pg.dsn)
    assert (answer.state, answer.current) == (CheckState.AHEAD, "abcd")
    with pytest.raises(PermanentError, match=r"abcd.*upgrade intent-events"):
        await migrate(pg.dsn)


async def test_a_table_that_is_not_ours_is_left_alone(empty_pg: Database) -> None:
    """Where the request's own table stands already, migrate says what to do and changes nothing."""
    await empty_pg.execute("CREATE SCHEMA agent; CREATE TABLE agent.intent_events (event_id uuid PRIMARY KEY)")
    with pytest.raises(PermanentError, match=r'"intent_events" already exists.*rename it'):
        await migrate(empty_pg.dsn)
    assert await empty_pg.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'agent'::regnamespace") == 2
    assert (await check(empty_pg.dsn)).state is CheckState.MISSING


async def test_another_default_isolation_does_no_harm(empty_pg: Database) -> None:
    """Where transactions are serializable by default, a migration still sees what the one it waited for has done."""
    name = await empty_pg.fetchval("SELECT current_database()")
    await empty_pg.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    connection = await asyncpg.connect(empty_pg.dsn)
    try:
        begin, rest = migration_sql().split("\n", 1)
        locked = rest.index("\n", rest.index("pg_advisory_xact_lock"))
        await connection.execute(begin + rest[:locked])
        waiting = asyncio.create_task(migrate(empty_pg.dsn))
        await until_async(
            lambda: empty_pg.fetchval("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
            "the second migration waits for the first",
        )
        await connection.execute(rest[locked:])
        assert (await waiting).before == HEAD
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:s3cret-word@127.0.0.1:1/nowhere",
        "postgresql://user:s3cret-word@/nowhere?host=/no/such/folder",
        "postgresql://user:s3cret-word@no-such-host.invalid/nowhere",
    ],
)
async def test_no_connection_is_told_without_the_password(dsn: str) -> None:
    """Without a connection migrate raises and check tells it, with a remedy and never with the password."""
    with pytest.raises(UnavailableError) as caught:
        await migrate(dsn)
    answer = await check(dsn)
    assert answer.state is CheckState.UNAVAILABLE
    for text in (str(caught.value), answer.detail):
        assert "INTENT_EVENTS_DSN" in text
        assert "s3cret" not in text
    assert caught.value.__cause__ is None


async def test_a_missing_database_is_told(empty_pg: Database) -> None:
    """A database that does not exist is not "never migrated": it could not be asked."""
    dsn = address(empty_pg.dsn, database="no_such_database")
    assert (await check(dsn)).state is CheckState.UNAVAILABLE
    with pytest.raises(UnavailableError, match="no_such_database"):
        await migrate(dsn)


async def test_an_address_that_is_none_is_wrong_use() -> None:
    """Nonsense instead of an address is a setting to mend, not a database that is away."""
    for ask in (migrate, check):
        with pytest.raises(SettingsError, match="INTENT_EVENTS_DSN"):
            await ask("nonsense")


async def test_a_user_without_rights_is_told_what_to_do(writer_dsn: str, pg: Database) -> None:
    """A user who may not make tables gets the remedy, and check says that it could not ask."""
    await pg.execute("DROP SCHEMA agent CASCADE")
    with pytest.raises(RetryableError, match=r"permission denied.*migrate --sql"):
        await migrate(writer_dsn)
    assert (await check(writer_dsn)).state is CheckState.MISSING


async def test_a_user_who_may_not_read_the_version_is_no_answer(writer_dsn: str) -> None:
    """A role that may not read the revision gives "could not ask", not "never migrated"."""
    answer = await check(writer_dsn)
    assert answer.state is CheckState.UNAVAILABLE
    assert "permission denied for table schema_version" in answer.detail


async def test_a_long_query_in_the_way_is_told(pg: Database) -> None:
    """A reader that holds the default partition makes migrate give up, with a remedy, before every writer waits."""
    await pg.execute("ALTER FUNCTION agent.make_partitions SET lock_timeout = '50ms'")
    [last] = await pg.fetch("SELECT max(relname) FROM pg_class WHERE relname ~ '^intent_events_2[0-9]{3}_[0-9]{2}$'")
    await pg.execute(f"DROP TABLE agent.{last[0]}")
    reader = await asyncpg.connect(pg.dsn)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT FROM agent.intent_events")
            with pytest.raises(RetryableError, match="try again"):
                await migrate(pg.dsn)
        assert (await migrate(pg.dsn)).partitions == (last[0],)
    finally:
        await reader.close()


def test_there_is_no_way_back() -> None:
    """A downgrade is refused with the remedy."""
    with pytest.raises(PermanentError, match="restore a backup"):
        command.downgrade(revisions.alembic_config(), f"{HEAD}:base", sql=True)


def test_an_unknown_revision_is_refused() -> None:
    """--since with a revision that does not exist names those that do."""
    with pytest.raises(SettingsError, match=f"no revision '7': there are {', '.join(revisions.all_revisions())}$"):
        migration_sql("7")


def test_missing_migrations_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation without the SQL says so instead of calling every database up to date."""
    monkeypatch.setattr(revisions, "_folder", lambda: tmp_path / "gone")
    with pytest.raises(PermanentError, match="install intent-events anew"):
        migration_sql()


def test_alembic_alone_is_refused() -> None:
    """Somebody who runs Alembic by hand is sent to the command that takes the lock."""
    with pytest.raises(PermanentError, match="intent-events migrate"):
        command.upgrade(revisions.alembic_config(), "head")


async def test_nothing_is_printed_or_configured(empty_pg: Database, capfd: pytest.CaptureFixture[str]) -> None:
    """The library prints nothing and leaves the logging of its host as it is."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    await migrate(empty_pg.dsn)
    migration_sql()
    assert (list(root.handlers), root.level) == (handlers, level)
    assert all(type(handler) is logging.NullHandler for handler in logging.getLogger("alembic").handlers)
    assert capfd.readouterr() == ("", "")
