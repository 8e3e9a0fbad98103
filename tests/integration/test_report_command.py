# SPDX-License-Identifier: Apache-2.0
"""The command as it is typed: formats, exit codes, and what it says when it could not ask."""

import asyncio
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import asyncpg
import pytest
import typer
from typer.testing import CliRunner

from intent_events.cli.report import report
from intent_events.cli.report_sheets import CSV_HEADER
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.errors import UnavailableError
from intent_events.identity import event_id_of
from intent_events.store.read import ReportQuery, read_report
from support.postgres import Database

FROM, TO = "2026-11-16", "2026-11-23"
SINCE, UNTIL = datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
NOON_NS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
PASSWORD = "correct-horse"  # noqa: S105 - what must not be shown


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str


def run(*args: str, window: bool = True, **environment: str) -> Ran:
    """Run ``report`` over the week of the test's rows."""
    app = typer.Typer(add_completion=False)
    app.command()(report)
    flags = ["--since", FROM, "--until", TO] if window else []
    result = CliRunner(env=environment).invoke(app, [*flags, *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def put(pg: Database, n: int, outcome: str, *, synthetic: bool = False, verb: str | None = None) -> None:
    """Store n utterances of the same kind."""
    first = event_id_of(crc32(f"{outcome} {synthetic} {verb}".encode()), 1, NOON_NS)
    pg.execute_now(
        "INSERT INTO agent.intent_events (event_id, ts, session_id, actor_id, entrypoint, utterance_hash, semreg_mode,"
        " outcome, synthetic, chosen_verb_fqn)"
        " SELECT overlay($1::text placing lpad(to_hex(i), 8, '0') from 29)::uuid, to_timestamp($2::bigint / 1000.0),"
        " gen_random_uuid(), 'someone', 'chat', '00', 'applied', $3, $4, $5 FROM generate_series(1, $6::int) AS i",
        str(first),
        NOON_NS // 1_000_000,
        outcome,
        synthetic,
        verb,
        n,
    )


@pytest.fixture
def week(pg: Database) -> Database:
    """A database with 7 matched, 3 unmatched and 5 synthetic utterances in the window."""
    put(pg, 7, "matched", verb="cbu.create")
    put(pg, 3, "no_match")
    put(pg, 5, "error", synthetic=True)
    return pg


def test_the_table_says_the_headline_first(week: Database) -> None:
    """The first lines of the table name the window, the count, the rates and what was left out."""
    ran = run("--dsn", week.dsn)
    assert (ran.code, ran.err) == (0, "")
    lines = [" ".join(line.split()) for line in ran.out.splitlines() if line.strip()]
    assert lines[:4] == [
        "Intent report 2026-11-16 00:00:00 to 2026-11-23 00:00:00 UTC (7d)",
        "utterances matched clarify no match denied errors other",
        "10 70.0% 0.0% 30.0% 0.0% 0.0% 0.0%",
        "Left out: 5 synthetic utterances (--synthetic counts them).",
    ]
    assert "SemReg denies none in this window (n = 0 utterances with a denied verb)" in lines


def test_synthetic_rows_count_when_asked(week: Database) -> None:
    """``--synthetic`` counts them, and says how many."""
    ran = run("--dsn", week.dsn, "--synthetic", "--format", "json")
    found = json.loads(ran.out)
    assert (found["n"], found["synthetic_included"], found["left_out"]["synthetic"]) == (15, 5, 0)
    assert found["outcomes"] == {"matched": 7, "error": 5, "no_match": 3}


def test_json_begins_as_promised(week: Database) -> None:
    """Window, n and outcomes come first, and the rest can be read by a program."""
    ran = run("--dsn", week.dsn, "--format", "json")
    found = json.loads(ran.out)
    assert list(found)[:3] == ["window", "n", "outcomes"]
    assert found["window"] == {"since": "2026-11-16T00:00:00Z", "until": "2026-11-23T00:00:00Z"}
    assert found["n"] == sum(found["outcomes"].values()) == 10
    assert found["hottest_verbs"]["rows"] == [{"verb": "cbu.create", "n": 7, "share": 1.0}]


def test_csv_is_one_tidy_table(week: Database) -> None:
    """Every row of the CSV has every column, and says window, n and what its share is of."""
    ran = run("--dsn", week.dsn, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert tuple(rows[0]) == CSV_HEADER
    assert all(None not in row and None not in row.values() for row in rows)
    assert {row["since"] for row in rows} == {"2026-11-16T00:00:00+00:00"}
    matched = next(row for row in rows if row["section"] == "outcomes" and row["key_1"] == "matched")
    assert (matched["rank"], matched["n"], matched["share"], matched["of"]) == ("1", "7", "0.7", "10")
    assert next(row["n"] for row in rows if (row["section"], row["key_1"]) == ("left_out", "synthetic")) == "5"


def test_markdown_is_rectangular_and_has_every_section(week: Database) -> None:
    """The Markdown has one heading a section, and each table's lines have as many cells as its head."""
    ran = run("--dsn", week.dsn, "--format", "markdown")
    assert ran.out.startswith("## Intent report\n")
    sections = ran.out.split("### ")[1:]
    assert len(sections) == 12
    for section in sections:
        widths = {line.count("|") for line in section.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
        assert widths or "none in this window (n = " in section


_LONG = "an.extraordinarily-long-verb-that-" + "goes-on-" * 20


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal(week: Database, width: int) -> None:
    """The table fits the terminal, and never takes more than 100 columns."""
    put(week, 1, "error", verb=_LONG)
    ran = run("--dsn", week.dsn, COLUMNS=str(width), FORCE_COLOR="1")
    assert ran.code == 0
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in ran.out.splitlines()]
    assert max(map(len, lines)) <= min(width, 100)


def test_nothing_is_folded_for_a_pipe(week: Database) -> None:
    """A verb that is wider than any terminal is in one piece for whoever searches the output."""
    put(week, 1, "error", verb=_LONG)
    assert _LONG in run("--dsn", week.dsn, COLUMNS="80").out


@pytest.mark.parametrize("output_format", ["table", "json"])
def test_a_terminal_without_unicode(week: Database, output_format: str) -> None:
    """A locale without the letters of a verb gets the report all the same; what programs read is UTF-8 in any."""
    put(week, 1, "matched", verb="entité.créer")
    command = [Path(sys.executable).with_name("intent-events"), "report", "--since", FROM, "--until", TO]
    done = subprocess.run(
        [*command, "--format", output_format, "--dsn", week.dsn],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert ("entit\\xe9.cr\\xe9er" if output_format == "table" else "entité.créer") in done.stdout.decode()


def test_every_flag_has_its_variable(week: Database) -> None:
    """Each flag can be set in the environment instead."""
    ran = run(
        window=False,
        INTENT_EVENTS_DSN=week.dsn,
        INTENT_EVENTS_REPORT_SINCE=FROM,
        INTENT_EVENTS_REPORT_UNTIL=TO,
        INTENT_EVENTS_REPORT_TOP="1",
        INTENT_EVENTS_REPORT_FORMAT="json",
        INTENT_EVENTS_REPORT_SYNTHETIC="1",
        INTENT_EVENTS_REPORT_SCOPE="nowhere",
        INTENT_EVENTS_REPORT_TIMEOUT="20s",
    )
    found = json.loads(ran.out)
    assert (found["n"], found["scope"], found["window"]["since"]) == (0, "nowhere", "2026-11-16T00:00:00Z")


def test_the_address_from_a_file(week: Database, tmp_path: Path) -> None:
    """The file of an application gives the address where neither flag nor variable does; a missing one is named."""
    file = tmp_path / "dsn"
    file.write_text(f"{week.dsn}\n")
    ran = run(INTENT_EVENTS_DSN_FILE=str(file))
    assert (ran.code, ran.err) == (0, "")
    nowhere = "postgresql://localhost:1/none"
    assert run("--dsn", nowhere, INTENT_EVENTS_DSN=week.dsn, INTENT_EVENTS_DSN_FILE=str(file)).code == 3
    assert run(INTENT_EVENTS_DSN=nowhere, INTENT_EVENTS_DSN_FILE=str(file)).code == 3
    missing = run(INTENT_EVENTS_DSN_FILE=str(tmp_path / "none"))
    assert (missing.code, missing.out) == (2, "")
    assert "INTENT_EVENTS_DSN_FILE" in missing.err


def test_help_names_every_variable() -> None:
    """The help of a narrow terminal names the variable of each flag in full."""
    ran = run("--help", window=False, COLUMNS="80", TERMINAL_WIDTH="80")
    flags = set(re.findall(r"^\W*--([a-z]+)", ran.out, re.MULTILINE)) - {"help"}
    assert flags == {"since", "until", "top", "format", "synthetic", "scope", "timeout", "dsn"}
    for flag in flags:
        assert ("INTENT_EVENTS_DSN" if flag == "dsn" else f"INTENT_EVENTS_REPORT_{flag.upper()}") in ran.out


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--since", "yesterday"], "--since"),
        (["--until", "7 days"], "--until"),
        (["--since", "2026-11-30"], "not before --until"),
        (["--timeout", "0s"], "--timeout"),
        (["--top", "0"], "--top"),
        (["--format", "xml"], "--format"),
        (["--dsn", ""], "INTENT_EVENTS_DSN is not set"),
        (["--dsn", f"mysql://u:{PASSWORD}@h/db"], "INTENT_EVENTS_DSN is no postgresql:// address"),
    ],
)
def test_wrong_use_is_exit_2(args: list[str], named: str) -> None:
    """Input that cannot be used is named on stderr, with exit code 2 and nothing on stdout."""
    ran = run(*args)
    assert (ran.code, ran.out) == (2, "")
    assert named in " ".join(ran.err.split())
    assert PASSWORD not in ran.err


def could_not_ask(ran: Ran, why: str, remedy: str) -> None:
    """The command said that it could not ask, why, and what to do; and no figure."""
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("intent-events report: could not ask: ")
    assert re.search(why, ran.err)
    assert remedy in ran.err
    assert PASSWORD not in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("DROP TABLE agent.intent_events CASCADE", 'relation "agent.v_intent_events" does not exist'),
        ("DROP TABLE agent.intent_outcomes CASCADE", 'relation "agent.v_intent_outcomes" does not exist'),
        (
            "ALTER TABLE agent.intent_events DROP COLUMN missing_args CASCADE",
            'relation "agent.v_intent_events" does not exist',
        ),
        ("DROP SCHEMA agent CASCADE", "agent"),
    ],
)
def test_a_missing_table_is_no_zero(week: Database, script: str, why: str) -> None:
    """Without a table or column there is no report, but exit code 3 and the command that migrates."""
    week.execute_now(script)
    could_not_ask(run("--dsn", week.dsn, "--format", "json"), f"is not migrated: .*{why}", "intent-events migrate")


def test_an_empty_database_is_no_zero(empty_pg: Database) -> None:
    """The same in a database that was never migrated."""
    could_not_ask(run("--dsn", empty_pg.dsn), "is not migrated", "intent-events migrate")


def test_the_writer_may_not_read(week: Database, writer_dsn: str) -> None:
    """A role that may only insert gets exit code 3 and is told which login to use, not to be given more rights."""
    ran = run("--dsn", writer_dsn)
    could_not_ask(ran, "permission denied for view v_reader_scopes", "use a login that may: ")
    assert "intent_reviewer reports" in ran.err
    assert "docs/security.md" in ran.err
    assert "grant" not in ran.err
    assert week.fetchval_now("SELECT count(*) FROM agent.intent_events") == 15


def test_a_database_that_does_not_exist(week: Database) -> None:
    """A misspelt database is named."""
    could_not_ask(
        run("--dsn", week.dsn.replace("/test_", "/no_test_")), 'database "no_test_.*does not exist', "create it"
    )


def test_wrong_password_and_server_away(own_server: EmbeddedPostgres) -> None:
    """A refused password is not repeated, and neither is the password of a server that is away."""
    Database(own_server.dsn()).execute_now("CREATE ROLE reader LOGIN PASSWORD 'another'")
    hba = own_server.data_dir / "pg_hba.conf"
    hba.write_text("local all reader scram-sha-256\nlocal all all trust\n")
    Database(own_server.dsn()).execute_now("SELECT pg_reload_conf()")
    dsn = own_server.dsn(user=f"reader:{PASSWORD}").replace("%3A", ":", 1)
    could_not_ask(run("--dsn", dsn), "refused this user or password", "check INTENT_EVENTS_DSN")
    own_server.stop()
    could_not_ask(run("--dsn", dsn), "no connection to database .*(No such file|refused)", "is it running?")


@contextmanager
def locked(pg: Database, table: str) -> Generator[None]:
    """Nobody else can read the table meanwhile."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(pg.dsn))
    try:
        loop.run_until_complete(connection.execute(f"BEGIN; LOCK TABLE agent.{table} IN ACCESS EXCLUSIVE MODE"))
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


def test_too_slow_is_no_zero(week: Database) -> None:
    """When the tables cannot be read in the given time, the command says so instead of waiting or guessing."""
    with locked(week, "intent_events"):
        could_not_ask(run("--dsn", week.dsn, "--timeout", "1s"), "gave no answer within 1 s", "allow more time")


async def test_the_figures_are_of_one_moment(week: Database) -> None:
    """What is committed while a report reads is in none of its figures."""
    reader = await asyncpg.connect(week.dsn)
    writer = await asyncpg.connect(week.dsn)
    try:
        await writer.execute("BEGIN; LOCK TABLE agent.intent_outcomes IN ACCESS EXCLUSIVE MODE")
        query = ReportQuery(since=SINCE, until=UNTIL)
        reading = asyncio.create_task(read_report(week.dsn, query))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'agent.intent_outcomes'::regclass"
        while not await reader.fetchval(waiting):
            assert not reading.done()
        await writer.execute(
            "INSERT INTO agent.intent_outcomes (event_id, ts, intent_event_id, kind)"
            " SELECT event_id, ts, event_id, 'executed' FROM agent.intent_events WHERE outcome = 'matched'"
        )
        await writer.execute("COMMIT")
        figures = await reading
    finally:
        await writer.close()
        await reader.close()
    assert figures["of_follow_ups"].all_n == 0
    assert (await read_report(week.dsn, query))["of_follow_ups"].all_n == 7


@asynccontextmanager
async def dying_network(socket: str, last_words: bytes) -> AsyncGenerator[int]:
    """A port that leads to the server until the client says the last words; from then on it swallows everything."""
    dead = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # the client cut the connection
            while data := await source.read(65_536):
                if last_words in data:
                    dead.set()
                if not dead.is_set():
                    sink.write(data)

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(socket)
        writers.extend((writer, to_writer))
        back = asyncio.create_task(copy(to_reader, writer))
        await copy(reader, to_writer)
        to_writer.close()
        await back

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        assert dead.is_set()
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):  # the client cut the connection
                await writer.wait_closed()
        await server.wait_closed()


@pytest.mark.parametrize("last_words", [b"REPEATABLE READ", b"WITH followed"])
async def test_a_network_that_swallows_everything(own_server: EmbeddedPostgres, last_words: bytes) -> None:
    """When the network dies in the middle of a question, asking still ends in its time, as a question not asked."""
    query = ReportQuery(since=SINCE, until=UNTIL, timeout_s=1)
    async with dying_network(str(own_server.socket_dir / f".s.PGSQL.{own_server.port}"), last_words) as port:
        with pytest.raises(UnavailableError, match="gave no answer within 1 s"):
            await read_report(f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable", query)


def test_nothing_stays_connected(week: Database) -> None:
    """A report leaves no session behind on the server."""
    assert run("--dsn", week.dsn).code == 0
    ours = "datname = current_database() AND application_name = 'intent-events'"
    assert week.fetchval_now(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}") == 0
