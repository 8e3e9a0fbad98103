# SPDX-License-Identifier: Apache-2.0
"""One pipeline: nothing but the one writer writes telemetry, in the source and in the database."""

import time
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from contract.single_writer import EXCEPTIONS, REMOVALS, Rule, violations
from intent_events.rows import Rejection, row_of
from intent_events.semconv import Record
from intent_events.store.write import Writer, Written
from support.postgres import Database
from support.records import span_view, utterances

PROJECT: Final = Path(__file__).parents[2]

SEMCONV: Final = 'OUTCOME = "intent.outcome"\nCANDIDATES = "intent.candidates"\nSESSION = "session.id"\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project that keeps every rule, with the same layout."""
    for path, text in {
        "src/intent_events/__init__.py": '"""Mentions INSERT INTO agent.intent_events in words alone."""\n',
        "src/intent_events/semconv.py": SEMCONV,
        "src/intent_events/settings.py": 'import os\nDSN = os.environ.get("INTENT_EVENTS_DSN")\n',
        "src/intent_events/store/__init__.py": "",
        "src/intent_events/store/write.py": 'SQL = "INSERT INTO agent.intent_events SELECT 1"\nclass Writer: pass\n',
        "src/intent_events/store/heartbeats.py": 'SQL = "INSERT INTO agent.emitters SELECT 1"\n',
        "src/intent_events/instrument/__init__.py": 'def end(span): span.set_attribute("intent.root", True)\n',
        "src/intent_events/review/sql/read.sql": "SELECT count(*) FROM agent.intent_events -- INSERT INTO agent.x\n",
        "exporter/src/intent_events_exporter/__init__.py": "from intent_events.store.write import Writer\n",
        "src/intent_events/store/removal.py": 'SQL = "SELECT * FROM agent.retain($1)"\n',
        **{str(path): (PROJECT / path).read_text("utf-8") for path in EXCEPTIONS},
        "migrations/versions/0001.py": "revision = 1\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    assert violations(tmp_path) == []
    return tmp_path


def seeded(tree: Path, code: str, path: str = "src/intent_events/review/seeded.py") -> list[Rule]:
    """Rules that are broken once this file is in the tree."""
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(code, "utf-8")
    found = violations(tree)
    assert {violation.path for violation in found} <= {path}
    return sorted({violation.rule for violation in found})


def test_the_project_keeps_every_rule() -> None:
    """Nothing but its writer writes a table, nothing but the doors use one, nothing but instrument sets intent.*."""
    assert violations(PROJECT) == []


WRITES: Final = (
    'await c.execute("INSERT INTO agent.intent_events VALUES (1)")',
    'SQL = "insert into intent_events values (1)"',
    'SQL = "Insert  Into\\n  Agent . Intent_Events values (1)"',
    'SQL = \'INSERT INTO "agent"."intent_events" VALUES (1)\'',
    'SQL = "INSERT /* quietly */ INTO agent./**/chat_events VALUES (1)"',
    'SQL = "INSERT -- quietly\\n INTO agent.dead_letters VALUES (1)"',
    'SQL = "INSERT INTO agent.emitters VALUES (1)"',
    'TABLE = "emitters"\nSQL = f"UPDATE agent.{TABLE} SET emitted = 0"',
    'SQL = "INSERT INTO agent.intent_events_2026_01 VALUES (1)"',
    'SQL = "INSERT INTO agent.intent_outcomes_default VALUES (1)"',
    'SQL = "WITH x AS (DELETE FROM ONLY agent.intent_events RETURNING *) SELECT * FROM x"',
    'SQL = "UPDATE agent.intent_events AS e SET outcome = 1"',
    'SQL = "update only agent.intent_events set outcome = 1"',
    'SQL = "TRUNCATE public.other, agent.chat_events"',
    'SQL = "DROP TABLE IF EXISTS agent.intent_events"',
    'SQL = "MERGE INTO agent.intent_outcomes USING x ON true WHEN MATCHED THEN DO NOTHING"',
    'SQL = "COPY agent.intent_events (event_id) FROM STDIN"',
    "SQL = \"copy agent.intent_events from '/tmp/rows'\"",
    'TABLE = "intent_events"\nSQL = f"INSERT INTO agent.{TABLE} VALUES (1)"',
    'def f(c, table): return c.execute(f"INSERT INTO agent.{table} VALUES (1)")',
    'def f(c, table): return c.execute("DELETE FROM " + table)',
    'def f(c, table): return c.execute("UPDATE %s SET outcome = 1" % table)',
    'SQL = "INSERT INTO agent." + "intent_events" + " VALUES (1)"',
    'VERB = "INSERT"\nSQL = VERB + " INTO agent.intent_events VALUES (1)"',
    'SQL = "INSERT INTO {}.{} VALUES (1)".format("agent", "intent_events")',
    'SQL = "INSERT INTO {table} VALUES (1)".format(table="agent.intent_events")',
    'SQL = "INSERT INTO %s VALUES (1)" % "agent.intent_events"',
    'SQL = " ".join(["INSERT INTO", "agent.intent_events", "VALUES (1)"])',
    'SQL = "INSERT INTO "\nSQL += "agent.intent_events VALUES (1)"',
    'SQL = ("INSERT INTO agent."\n       "intent_events VALUES (1)")',
    "async def f(c, rows):\n    await c.copy_records_to_table('intent_events', records=rows)",
    "async def f(c, rows):\n    await c.copy_to_table('anything', source=rows)",
    "async def f(c, rows):\n    copy = c.copy_records_to_table\n    await copy('x', records=rows)",
    "async def f(c, rows):\n    await getattr(c, 'copy_records_to_table')('x', records=rows)",
    "class A:\n    def f(self):\n        def g():\n            return [lambda: 'TRUNCATE agent.intent_events']",
    "def f(op, table, rows): op.bulk_insert(table, rows)",
    'from intent_events.review.names import EVENTS\nSQL = f"INSERT INTO {EVENTS} VALUES (1)"',
)


@pytest.mark.parametrize("code", WRITES)
def test_a_second_writer_is_found(tree: Path, code: str) -> None:
    """However a statement that writes the tables is spelled or assembled, the guard finds it."""
    (tree / "src/intent_events/review/names.py").write_text('EVENTS = "agent.intent_events"\n')
    assert seeded(tree, code) == [Rule.WRITES_TABLES]


@pytest.mark.parametrize(
    ("writer", "code"),
    [
        ("write", 'SQL = "INSERT INTO agent.emitters VALUES (1)"'),
        ("write", 'TABLE = "agent.emitters"\nSQL = f"DELETE FROM {TABLE}"'),
        ("heartbeats", 'SQL = "INSERT INTO agent.intent_events VALUES (1)"'),
        ("heartbeats", 'def f(table): return f"INSERT INTO agent.{table} VALUES (1)"'),
        ("heartbeats", "async def f(c, rows):\n    await c.copy_records_to_table('emitters', records=rows)"),
    ],
)
def test_a_writer_of_the_other_ones_table_is_found(tree: Path, writer: str, code: str) -> None:
    """Each of the two writers writes its own tables and not those of the other."""
    assert seeded(tree, code, f"src/intent_events/store/{writer}.py") == [Rule.WRITES_TABLES]


@pytest.mark.parametrize(
    "script",
    [
        "INSERT INTO agent.intent_events VALUES (1);",
        "UPDATE agent.emitters SET emitted = 0;",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM agent.intent_events $$;",
        "CREATE RULE r AS ON INSERT TO x DO ALSO INSERT INTO agent.chat_events VALUES (1);",
        "DO $$ BEGIN EXECUTE format('INSERT INTO %I.%I VALUES (1)', 'agent', 'intent_events'); END $$;",
        "DO $$ BEGIN EXECUTE 'INSERT INTO '\n  'agent.intent_events VALUES (1)'; END $$;",
        "COPY agent.intent_events FROM STDIN;",
    ],
)
@pytest.mark.parametrize("path", ["migrations/sql/0009_more.sql", "src/intent_events/store/sql/more.sql"])
def test_a_second_writer_in_a_script_is_found(tree: Path, script: str, path: str) -> None:
    """SQL files are read too, the bodies of their functions included."""
    assert seeded(tree, script, path) == [Rule.WRITES_TABLES]


@pytest.mark.parametrize("path", EXCEPTIONS, ids=str)
def test_moving_rows_is_one_statement_of_each_file(tree: Path, path: Path) -> None:
    """Moving rows to their partition is let pass where it stands, once, and nowhere else."""
    script = (tree / path).read_text("utf-8")
    moving = script[script.index("EXECUTE format(\n        'WITH moved") :].partition("USING")[0]
    assert seeded(tree, moving, "migrations/sql/0009_more.sql") == [Rule.WRITES_TABLES]
    (tree / "migrations/sql/0009_more.sql").unlink()
    assert seeded(tree, script + moving, str(path)) == [Rule.WRITES_TABLES]
    assert seeded(tree, script.replace("ts >= $1 AND ts < $2", "ts < $2"), str(path)) == [Rule.WRITES_TABLES]


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("WHERE e.actor_id = ANY (actors) OR", "WHERE"),
        ("WHERE c.intent_event_id = ANY (gone_events) OR", "WHERE true OR"),
        ("WHERE o.intent_event_id = ANY (gone_events)", "WHERE o.kind = 'picked'"),
        ("WHERE d.trace_id = ANY (gone_traces)\n        AND NOT EXISTS", "WHERE EXISTS"),
        ("WHERE %I < $1', part,", "', part,"),
    ],
)  # fmt: skip
def test_removing_is_what_it_is(tree: Path, said: str, instead: str) -> None:
    """The statements that remove rows are let pass as they are; another condition is a change for somebody to see."""
    script = (tree / REMOVALS).read_text("utf-8")
    assert said in script
    assert seeded(tree, script.replace(said, instead), str(REMOVALS)) == [Rule.WRITES_TABLES]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("src/intent_events/review/seeded.py", 'SQL = "SELECT agent.retain($1)"'),
        ("src/intent_events/store/write.py", 'SQL = "SELECT * FROM agent.erase_subject($1, $2)"\nclass Writer: pass'),
        ("src/intent_events/store/sql/more.sql", "SELECT agent.unprotect();"),
        ("migrations/sql/0009_more.sql", "SELECT set_config('intent_events.removal', 'on', true);"),
        ("migrations/sql/0004_bloom_filters.sql", "SELECT set_config('intent_events.removal', 'on', true);"),
    ],
)
def test_another_one_that_removes_is_found(tree: Path, path: str, code: str) -> None:
    """Nothing but the one module asks for rows to be removed, or for the protection of the tables to be lifted."""
    assert seeded(tree, code, path) == [Rule.REMOVES_ROWS]


READS: Final = (
    'SQL = "SELECT * FROM agent.intent_events"',
    'SQL = "GRANT INSERT ON agent.intent_events TO intent_writer"',
    'SQL = "COPY agent.intent_events TO STDOUT"',
    'SQL = "SELECT updated, copy FROM agent.intent_events"',
    'SQL = "INSERT INTO public.other SELECT * FROM agent.intent_events"',
    '"""INSERT INTO agent.intent_events, said in a docstring."""',
    "items = [1]\nitems.insert(0, 2)",
    'print(f"update {1} of the table")',
    "copy = dict(a=1).copy()",
)


@pytest.mark.parametrize("code", READS)
def test_reading_is_no_writing(tree: Path, code: str) -> None:
    """The guard lets reading, other tables and plain words pass, or nobody would keep it."""
    assert seeded(tree, code) == []


USES: Final = (
    "from intent_events.store.write import Writer",
    "import intent_events.store.write",
    "import intent_events.store.write as w\nw.Writer()",
    "from intent_events.store import write",
    "from intent_events.store import write as w",
    "from intent_events.store import *",
    "from intent_events import store\nstore.write.Writer()",
    "import intent_events\nintent_events.store.write.Writer()",
    "import intent_events as ie\nx = ie.store.write",
    "from ..store.write import Writer",
    "from ..store import write as w",
    "def f():\n    from intent_events.store.write import Writer as W\n    return W",
    'import importlib\nimportlib.import_module("intent_events.store.write")',
    'from importlib import import_module as load\nload("intent_events.store" + ".write")',
    'import importlib\nimportlib.import_module(".write", "intent_events.store")',
    'def f(name):\n    return __import__(f"intent_events.{name}")',
    'import sys\nsys.modules["intent_events.store.write"].Writer()',
    "from intent_events_exporter import Writer",
    'import runpy\nrunpy.run_path("src/intent_events/store/write.py")',
    "from intent_events.store.heartbeats import write_heartbeat",
    "from intent_events.store import heartbeats",
    "from intent_events_exporter.drain import write_heartbeat",
    'import importlib\nimportlib.import_module(".heartbeats", "intent_events.store")',
)


@pytest.mark.parametrize("code", USES)
@pytest.mark.parametrize("package", ["review", "instrument"])
def test_a_second_user_of_the_writer_is_found(tree: Path, code: str, package: str) -> None:
    """However the writer is imported or reached, anybody but the doors is found."""
    assert seeded(tree, code, f"src/intent_events/{package}/seeded.py") == [Rule.USES_WRITER]


@pytest.mark.parametrize("path", ["exporter/src/intent_events_exporter/more.py", "src/intent_events/sink/service.py"])
def test_the_doors_may_use_the_writer(tree: Path, path: str) -> None:
    """The exporter and the sink are what the writer is there for."""
    code = "from intent_events.store.write import Writer\nfrom intent_events.store.heartbeats import write_heartbeat"
    assert seeded(tree, code, path) == []


def test_the_writers_may_use_each_other(tree: Path) -> None:
    """The writer of rows holds the connection, so it may hand it to the writer of heartbeats."""
    code = "from intent_events.store.heartbeats import write_heartbeat\nclass Writer: pass"
    assert seeded(tree, code, "src/intent_events/store/write.py") == []


@pytest.mark.parametrize(
    "code",
    [
        'import importlib\nimportlib.import_module(f"intent_events.cli.{1}")',
        "from intent_events.store import read",
        "import csv\ncsv.writer",
    ],
)
def test_other_imports_pass(tree: Path, code: str) -> None:
    """Modules beside the writer may be imported, and a command by its name."""
    assert seeded(tree, code) == []


SETS: Final = (
    'def f(span): span.set_attribute("intent.outcome", 1)',
    'def f(span): span.set_attributes({"intent.outcome": 1})',
    'def f(tracer): tracer.start_span("x", attributes={"intent.root": True})',
    'def f(tracer): tracer.start_as_current_span("x", attributes={"intent." + "root": True})',
    "from intent_events import semconv\ndef f(span): span.set_attribute(semconv.OUTCOME, 1)",
    "from intent_events.semconv import OUTCOME as O\ndef f(span): span.set_attribute(O, 1)",
    'from intent_events import semconv as s\ndef f(span): span.set_attribute(s.CANDIDATES + ".verbs", 1)',
    'def f(span):\n    kept = {}\n    kept["intent.outcome"] = 1\n    span.set_attributes(kept)',
    'def f(span):\n    put = span.set_attribute\n    put("intent.outcome", 1)',
    'def f(span): getattr(span, "set_attribute")("intent.outcome", 1)',
    'def f(span): span.add_event("x", {f"intent.{1}": 1})',
)


@pytest.mark.parametrize("code", SETS)
@pytest.mark.parametrize("path", ["src/intent_events/review/seeded.py", "exporter/src/intent_events_exporter/more.py"])
def test_a_second_recorder_is_found(tree: Path, code: str, path: str) -> None:
    """However a key of ours comes into a span outside of instrument, the guard finds it."""
    assert seeded(tree, code, path) == [Rule.SETS_INTENT]


@pytest.mark.parametrize(
    "code",
    [
        'def f(span): span.set_attribute("http.route", "/")',
        "from intent_events import semconv\ndef f(span): return span.attributes.get(semconv.OUTCOME)",
        'def f(counter): counter.add(1, {"intent.delivery": "stored"})',
        "from intent_events import semconv\ndef f(span): span.set_attribute(semconv.SESSION, 1)",
    ],
)
def test_other_attributes_pass(tree: Path, code: str) -> None:
    """Reading our keys, counting with them, and setting the attributes of others is nobody's business."""
    assert seeded(tree, code) == []


@pytest.mark.parametrize(
    "code",
    [
        'import os\nos.environ["A"]',
        'import os\nos.getenv("A")',
        'import os as system\nsystem.environ.get("A")',
        "from os import environ",
        "from os import getenv as ask",
        "from os import *",
        'def f():\n    import os\n    return os.environ | {"A": "1"}',
        'import os\ngetattr(os, "environ")',
        'import os\nos.putenv("A", "1")',
    ],
)
def test_a_second_reader_of_the_environment_is_found(tree: Path, code: str) -> None:
    """Whoever reads a variable outside of settings is found; an option's envvar= is no such reading."""
    assert seeded(tree, code) == [Rule.READS_ENVIRONMENT]
    assert seeded(tree, 'import os, typer\nx = typer.Option(envvar="A")\nos.getpid()') == []


TABLES: Final = ("intent_events", "chat_events", "intent_outcomes", "dead_letters", "emitters")

LETTER: Final = "INSERT INTO agent.dead_letters (dead_letter_id, door, reason) VALUES (gen_random_uuid(), 'sink', 'r')"

ATTEMPTS: Final = (
    *(attempt for table in TABLES for attempt in (
        f"SELECT * FROM agent.{table}",
        f"SELECT count(*) FROM agent.{table}",
        f"UPDATE agent.{table} SET service_name = 'x'",
        f"DELETE FROM agent.{table}",
        f"TRUNCATE agent.{table}",
        f"COPY agent.{table} TO STDOUT",
        f"ALTER TABLE agent.{table} ADD COLUMN x text",
        f"DROP TABLE agent.{table}",
        f"CREATE INDEX ON agent.{table} (service_name)",
        f"CREATE TRIGGER t BEFORE INSERT ON agent.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    )),
    f"{LETTER} RETURNING *",
    f"{LETTER} ON CONFLICT (dead_letter_id) DO UPDATE SET reason = 'x'",
    "MERGE INTO agent.dead_letters AS d USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
    "INSERT INTO agent.intent_events_default DEFAULT VALUES",
    "SELECT * FROM agent.intent_events_default",
    "SELECT * FROM agent.v_intent_failure_modes",
    "SELECT agent.make_partitions()",
    "SELECT * FROM agent.schema_version",
    "INSERT INTO agent.schema_version VALUES ('9999')",
    "DELETE FROM agent.schema_version",
    "CREATE TABLE agent.mine (x integer)",
    "CREATE VIEW agent.mine AS SELECT 1",
    "CREATE TABLE public.mine (x integer)",
    "DROP SCHEMA agent CASCADE",
    "CREATE ROLE mine",
    "SET ROLE postgres",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
)  # fmt: skip


async def test_the_writers_role_can_do_nothing_else(writer_dsn: str) -> None:
    """Whatever the role of the writer tries beside INSERT is refused for want of a right."""
    connection = await asyncpg.connect(writer_dsn)
    not_refused: dict[str, str] = {}
    for attempt in ATTEMPTS:
        try:
            not_refused[attempt] = await connection.execute(attempt)
        except asyncpg.InsufficientPrivilegeError:  # as it should be
            continue
        except asyncpg.PostgresError as error:  # refused, but for another reason
            not_refused[attempt] = repr(error)
    await connection.close()
    assert not_refused == {}


async def test_the_writers_role_can_insert(pg: Database, writer_dsn: str) -> None:
    """The role can do the one thing that it is for, in every table, and reads nothing for it."""
    connection = await asyncpg.connect(writer_dsn)
    await connection.execute(LETTER)
    await connection.close()
    writer = Writer(writer_dsn, door="exporter")
    assert await writer.write(utterances(0, 3)) == Written(stored=3)
    await writer.close()
    granted = await pg.fetch(
        "SELECT table_name::text AS name, privilege_type::text AS right FROM information_schema.role_table_grants"
        " WHERE grantee = 'intent_writer' ORDER BY 1"
    )
    assert [tuple(row) for row in granted] == [(table, "INSERT") for table in sorted(TABLES)]


async def test_moving_rows_to_a_partition_changes_none(pg: Database) -> None:
    """The one statement beside the writer's moves rows from the default partition to their month's, as they are."""
    in_half_a_year = time.time_ns() + 183 * 86_400 * 10**9
    views = [span_view(number)._replace(start_ns=in_half_a_year + number) for number in range(10)]
    of_the_past = [span_view(number)._replace(start_ns=number) for number in range(10)]
    rows = [row for view in views + of_the_past if not isinstance(row := row_of(view, Record.UTTERANCE), Rejection)]
    writer = Writer(pg.dsn, door="exporter")
    assert await writer.write(rows) == Written(stored=20)
    await writer.close()
    whole = "SELECT e::text AS row FROM agent.intent_events AS e ORDER BY 1"
    places = "SELECT tableoid::regclass::text AS place, count(*)::integer AS n FROM agent.intent_events GROUP BY 1"
    before = await pg.fetch(whole)
    assert [tuple(row) for row in await pg.fetch(places)] == [("agent.intent_events_default", 20)]
    await pg.execute("SELECT agent.make_partitions(12)")
    assert await pg.fetch(whole) == before
    month = await pg.fetchval("SELECT to_char(max(ts) AT TIME ZONE 'UTC', '_YYYY_MM') FROM agent.intent_events")
    expected = {"agent.intent_events_default": 10, f"agent.intent_events{month}": 10}
    assert {row["place"]: row["n"] for row in await pg.fetch(places)} == expected
