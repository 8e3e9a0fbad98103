# SPDX-License-Identifier: Apache-2.0
"""``intent-events scan`` as it is typed: what it finds in every table and in the spool, and what it never shows."""

import csv
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner

from intent_events.cli.scan import scan
from intent_events.cli.scan_sheets import CSV_HEADER
from intent_events.demo.registry import load_registry
from intent_events.demo.run import run as run_demo
from intent_events.demo.traffic import load_traffic
from intent_events.privacy.canaries import Canaries
from intent_events.review.scan import Inspector, look_at_rows
from intent_events.semconv import Record
from intent_events.store.scan import BATCH, TextQuery, TextTable, read_texts
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Spool
from intent_events_exporter.spool.folder import ASIDE
from support.postgres import Database, run_apart
from support.records import span_view
from support.stored import EVENT, add_event, insert, key_at

pytestmark = pytest.mark.postgres

MAIL: Final = "zebedee.quux@example.org"
CARD: Final = "4111 1111 1111 1111"
CANARY: Final = "Quuxolotl"
NOW: Final = datetime.now(UTC)


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> dict[str, Any]:
        """Its JSON, read."""
        return json.loads(self.out)

    @property
    def findings(self) -> set[tuple[str, str, str, int]]:
        """Place, column, kind and n of what was found."""
        return {tuple(finding) for finding in self.found["findings"]}


def run(*args: str, **environment: str) -> Ran:
    """Run ``scan``; what it was made to find must be shown nowhere."""
    app = typer.Typer(add_completion=False)
    app.command()(scan)
    result = CliRunner(env=environment).invoke(app, ["--format", "json", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for secret in (MAIL, CARD, CANARY, CANARY.lower()):
        assert secret not in result.stdout + result.stderr
    return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def canaries(tmp_path: Path) -> str:
    """A file with one canary, in its second line."""
    file = tmp_path / "canaries"
    file.write_text(f"Somebody Else\n{CANARY}\n", "utf-8")
    return str(file)


async def _add(pg: Database, table: str, **columns: Any) -> None:
    event_id, ts = key_at(NOW)
    await pg.execute(*_flat(insert(table, {"event_id": event_id, "ts": ts, **columns})))


def _flat(statement: tuple[str, list[Any]]) -> list[Any]:
    return [statement[0], *statement[1]]


async def test_every_column_of_every_table_is_read(pg: Database) -> None:
    """Each column of schema agent that can hold a text is looked at: no value in any of them escapes."""
    columns = await pg.fetch(
        "SELECT c.relname::text AS t, a.attname::text AS c, format_type(a.atttypid, NULL) AS type FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE c.relnamespace = 'agent'::regnamespace AND a.attnum > 0"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'schema_version'"
        " AND format_type(a.atttypid, NULL) IN ('text', 'text[]', 'jsonb', 'bytea', 'character varying')"
    )
    values = {"text": MAIL, "text[]": ["x", MAIL], "jsonb": json.dumps({"a": [MAIL]}), "bytea": MAIL.encode()}
    seen: set[tuple[str, str]] = set()
    inspector = Inspector(lambda text: {"email"} if MAIL in text else set(), Canaries())
    for table in {row["t"] for row in columns}:
        given = {row["c"]: values[row["type"]] for row in columns if row["t"] == table}
        try:
            statement = _flat(insert(table, {**await _required(pg, table), **given}))
            await pg.execute(*statement)
        except Exception as error:  # a table whose constraints a test does not know is no table of this test
            raise AssertionError(f"agent.{table} refuses the row of this test: {error}") from error
    await read_texts(pg.dsn, TextQuery(), lambda table, rows: look_at_rows(inspector, table, rows))
    seen = {(finding.place, finding.column) for finding in inspector.findings()}
    assert seen == {(f"agent.{row['t']}", row["c"]) for row in columns}


async def _required(pg: Database, table: str) -> dict[str, Any]:
    """Values for the columns of a table that must have one and are no texts."""
    event_id, ts = key_at(NOW)
    kinds: dict[str, Any] = {"uuid": event_id, "timestamp with time zone": ts, "bigint": 1, "integer": 1, "date": ts}
    rows = await pg.fetch(
        "SELECT a.attname::text AS c, format_type(a.atttypid, NULL) AS type FROM pg_attribute AS a"
        " WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND a.attnotnull AND NOT a.atthasdef",
        f"agent.{table}",
    )
    return {row["c"]: kinds[row["type"]] for row in rows if row["type"] in kinds}


def test_what_is_found(pg: Database, canaries: str) -> None:
    """Personal data and canaries make it exit with 1, and name table, column, kind and count."""
    run_apart(add_event(pg, NOW, actor_id=MAIL, verb_candidates_pre=json.dumps([{"verb": f"ask.{CANARY}"}])))
    run_apart(add_event(pg, NOW, actor_id=MAIL, quality=[f"pay {CARD}"]))
    run_apart(_add(pg, "intent_outcomes", kind="executed", error_code=CANARY.lower()))
    ran = run("--dsn", pg.dsn, "--canaries", canaries)
    assert ran.code == 1
    assert ran.findings == {
        ("agent.intent_events", "actor_id", "email", 2),
        ("agent.intent_events", "verb_candidates_pre", "canary 2", 1),
        ("agent.intent_events", "quality", "card", 1),
        ("agent.intent_outcomes", "error_code", "canary 2", 1),
    }
    assert ran.found["canaries"] == 2
    assert {place[0]: place[2] for place in ran.found["places"]}["agent.intent_events"] == 2


def test_every_format_shows_where_and_never_what(pg: Database) -> None:
    """Table, CSV and Markdown tell the same as JSON, exit with 1, and hold no value."""
    run_apart(add_event(pg, NOW, scope=MAIL))
    table = run("--dsn", pg.dsn, "--format", "table", INTENT_EVENTS_SCAN_CANARIES=CANARY)
    assert (table.code, table.err) == (1, "")
    lines = [" ".join(line.split()) for line in table.out.splitlines() if line.strip()]
    assert lines[:2] == [
        "Privacy scan everything",
        "Found: values in 1 column that look like personal data or hold a canary.",
    ]
    assert "agent.intent_events scope email 1" in lines
    markdown = run("--dsn", pg.dsn, "--format", "markdown", "--since", "1h", "--sample", "99.9%")
    assert "# Privacy scan" in markdown.out
    assert "a sample of 99.9% of the pages" in markdown.out
    (whole,) = [line for line in markdown.out.splitlines() if "Read as a whole, for their rows have no time" in line]
    assert "agent.schema_version" in whole
    assert "agent.intent_events" not in whole
    tidy = run("--dsn", pg.dsn, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(tidy.out)))
    assert tuple(rows[0]) == CSV_HEADER
    (found,) = [row for row in rows if row["column"]]
    assert (found["place"], found["column"], found["kind"], found["n"], found["read"]) == (
        *("agent.intent_events", "scope", "email", "1", "1"),
    )


def test_the_window(pg: Database, canaries: str) -> None:
    """Rows outside of the window are not read; what has no time is, and the answer says both."""
    run_apart(add_event(pg, NOW - timedelta(days=3), actor_id=MAIL))
    run_apart(add_event(pg, NOW - timedelta(hours=3), actor_id=CANARY))
    window = ("--dsn", pg.dsn, "--canaries", canaries, "--since")
    assert {finding[2] for finding in run(*window, "7d").findings} == {"email", "canary 2"}
    day = run(*window, "1d")
    assert {finding[2] for finding in day.findings} == {"canary 2"}
    assert {place[0]: place[2:] for place in day.found["places"]}["agent.intent_events"] == [1, True]
    assert {place[0]: place[2:] for place in day.found["places"]}["agent.schema_version"] == [1, False]
    assert run(*window, "7d", "--until", "1d").findings == {("agent.intent_events", "actor_id", "email", 1)}
    assert run(*window, "1h").code == 0


def test_a_sample_reads_some_pages(pg: Database) -> None:
    """A sample reads fewer rows than there are, and says that it is one."""
    run_apart(_fill(pg, 5_000))
    ran = run("--dsn", pg.dsn, "--sample", "20%")
    read = {place[0]: place[2] for place in ran.found["places"]}["agent.intent_events"]
    assert 0 < read < 5_000
    assert ran.found["sample"] == 0.2


async def _fill(pg: Database, n: int) -> None:
    """Rows with texts that are all different, at one millisecond each."""
    names = [name for name in EVENT if name not in {"session_id", "actor_id"}]
    first = int(NOW.timestamp() * 1000) - n
    await pg.execute(
        f"INSERT INTO agent.intent_events (event_id, ts, session_id, actor_id, semreg_snapshot_id, {', '.join(names)})"
        " SELECT overlay(overlay(gen_random_uuid()::text placing substr(h, 1, 8) from 1) placing substr(h, 9, 4)"
        " from 10)::uuid, to_timestamp(ms / 1000.0), gen_random_uuid(), 'actor ' || ms,"
        " md5(ms::text) || repeat(' word', 45),"
        f" {', '.join(f'${place + 3}' for place in range(len(names)))}"
        " FROM generate_series($1::bigint, $2::bigint) AS ms, lpad(to_hex(ms), 12, '0') AS h",
        first,
        first + n - 1,
        *(EVENT[name] for name in names),
    )


async def test_memory_does_not_grow_with_the_table(pg: Database) -> None:
    """Rows are read a batch at a time: what is in memory at once is that of a few batches, whatever their number."""
    await _fill(pg, 40 * BATCH)
    largest = 0

    def look(table: TextTable, rows: Any) -> None:
        nonlocal largest
        largest = max(largest, len(rows))
        look_at_rows(inspector, table, rows)

    inspector = Inspector(lambda _: (), Canaries())
    tracemalloc.start()
    try:
        await read_texts(pg.dsn, TextQuery(), look)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert inspector.read("agent.intent_events") == 40 * BATCH
    assert largest == BATCH
    assert peak < 60_000_000


def _spool_with(folder: Path, *texts: str) -> None:
    """Records that wait, whose actor is each of these texts; the process that left them is gone."""
    spool = Spool(folder, max_bytes=1 << 20)
    for number, text in enumerate(texts):
        spool.append(encode(span_view(number, {"intent.actor.id": text}), Record.UTTERANCE))
    spool.close()


def test_the_spool(pg: Database, tmp_path: Path, canaries: str) -> None:
    """Records that wait are looked at by attribute, files as they are on the disk, damage for everything."""
    folder = tmp_path / "spool"
    _spool_with(folder, MAIL, "fine", f"of {CANARY}")
    aside = folder / ASIDE
    aside.mkdir()
    (aside / "stretch").write_bytes(b"\x93\xa5" + MAIL.encode() + b"\x00" * 10)
    owner = next(path for path in folder.iterdir() if path.name != ASIDE)
    spool = Spool(folder, max_bytes=1 << 20)
    spool.append(b"\xc1 no form of ours: " + CARD.encode())
    ran = run("--dsn", pg.dsn, "--canaries", canaries)
    spool.close()
    assert owner.is_dir()
    assert ran.code == 1
    assert ran.findings == {
        ("spool", "intent.actor.id", "email", 1),
        ("spool", "intent.actor.id", "canary 2", 1),
        ("spool", "(unreadable)", "card", 1),
        ("spool files", "(bytes)", "canary 2", 1),
        ("spool files", "(bytes)", "email", 1),
    }
    assert {place[0]: place[2] for place in ran.found["places"]}["spool"] == 4
    assert "The spool of this host was looked at as a whole" in run("--dsn", pg.dsn, "--format", "table").out


def test_without_the_exporter(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core alone cannot read a spool: one that was named is wrong use, otherwise none is looked at."""
    monkeypatch.setitem(sys.modules, "intent_events_exporter.record", None)
    named = run("--dsn", pg.dsn)
    assert (named.code, named.out) == (2, "")
    assert "only intent-events-exporter can read a spool" in named.err
    monkeypatch.delenv("INTENT_EVENTS_SPOOL_DIR")
    assert run("--dsn", pg.dsn).found["spool"] is None


def test_no_spool(pg: Database) -> None:
    """Where no spool is, that is said."""
    assert run("--dsn", pg.dsn).found["spool"] is None
    assert "No spool was looked at" in run("--dsn", pg.dsn, "--format", "markdown").out


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--since", "soon"), "--since"),
        (("--since", "1h", "--until", "2h"), "is not before"),
        (("--sample", "5"), "write 5%"),
        (("--sample", "0%"), "write 5%"),
        (("--sample", "101%"), "write 5%"),
        (("--timeout", "never"), "--timeout"),
        (("--canaries", "/nowhere/canaries"), "cannot be read"),
        (("--format", "xml"), "xml"),
    ],
)
def test_wrong_use(args: tuple[str, ...], why: str) -> None:
    """A flag that cannot be used: exit 2, and nothing is asked."""
    ran = run(*args, "--dsn", "postgresql://127.0.0.1:1/nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err


def test_canaries_that_cannot_be_used(tmp_path: Path) -> None:
    """A canary that is too short is refused by its line, and not repeated."""
    file = tmp_path / "canaries"
    file.write_text(f"{CANARY}\nxqz\n", "utf-8")
    ran = run("--canaries", str(file), "--dsn", "postgresql://127.0.0.1:1/nowhere")
    assert ran.code == 2
    assert "line 2: a canary needs 4 characters" in ran.err
    assert "xqz" not in ran.err


def test_nobody_to_ask(empty_pg: Database, writer_dsn: str) -> None:
    """No server, no schema, no right to read: exit 3 with the reason, and no figures that look like none."""
    for dsn, why in (
        ("postgresql://app:pass-word@127.0.0.1:1/nowhere", "no connection"),
        (empty_pg.dsn, "is not migrated: it has no tables in schema agent; run `intent-events migrate`"),
        (writer_dsn, "permission denied"),
    ):
        ran = run("--dsn", dsn)
        assert (ran.code, ran.out) == (3, "")
        assert "could not ask" in ran.err
        assert why in ran.err
        assert "pass-word" not in ran.err
    assert run().code == 2


def test_row_level_policies_hide_nothing(pg: Database, writer_dsn: str) -> None:
    """A role from which a policy would hide rows is refused: it would find nothing where there is something."""
    run_apart(add_event(pg, NOW, actor_id=MAIL))
    pg.execute_now(f"GRANT SELECT ON ALL TABLES IN SCHEMA agent TO {urlsplit(writer_dsn).username}")
    assert run("--dsn", writer_dsn).code == 1
    pg.execute_now("ALTER TABLE agent.intent_events ENABLE ROW LEVEL SECURITY")
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "row-level security" in ran.err
    assert run("--dsn", pg.dsn).code == 1


def test_a_spool_that_is_closed_to_us(pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that cannot be read is not taken for an empty one."""
    folder = tmp_path / "spool"
    _spool_with(folder, "fine")

    def refuse(self: Path) -> Iterator[Path]:
        raise PermissionError(13, "closed", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    ran = run("--dsn", pg.dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "run this as the service's user" in ran.err


def test_nothing_of_ours_is_taken_for_personal_data(pg: Database) -> None:
    """Everything that the demo records and stores is looked at, and nothing of it is found: no false positive."""
    tally = run_demo(pg.dsn, load_registry(None), load_traffic(None), endpoint=None, advance=lambda: None)
    ran = run("--dsn", pg.dsn)
    assert (ran.code, ran.findings) == (0, set())
    assert {place[0]: place[2] for place in ran.found["places"]}["agent.intent_events"] == tally.rows > 300
    assert "Nothing found." in run("--dsn", pg.dsn, "--format", "table").out
    nothing = run("--dsn", pg.dsn, "--until", "2020-01-01", "--format", "table").out
    assert "the beginning to 2020-01-01 00:00:00 UTC" in nothing


def test_as_it_is_typed(pg: Database) -> None:
    """The installed command finds the same, and an empty database is said to be one."""
    command = [sys.executable, "-c", "from intent_events.cli.main import run; run()", "scan"]
    ran = subprocess.run(command, env={"INTENT_EVENTS_DSN": pg.dsn}, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Nothing found." in ran.stdout
