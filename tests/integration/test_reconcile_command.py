# SPDX-License-Identifier: Apache-2.0
"""``intent-events reconcile`` as it is typed: what it finds, its formats, its exit codes."""

import csv
import io
import json
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner

from integration.test_ledger import put
from intent_events import semconv
from intent_events.cli.reconcile import reconcile
from intent_events.cli.reconcile_sheets import CSV_HEADER, SHOWN
from intent_events.review.ledger_model import Reconciliation
from intent_events.semconv import Record
from intent_events.spans import SpanView
from intent_events_exporter import record
from intent_events_exporter.spool import Spool
from support.histories import START, History, live
from support.postgres import Database, run_apart

pytestmark = pytest.mark.postgres

WINDOW = ("--since", f"{START - timedelta(days=1):%Y-%m-%d}", "--until", f"{START + timedelta(days=1):%Y-%m-%d}")
HOST = socket.gethostname()
FIRST = UUID(int=1)


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str

    @property
    def ledger(self) -> Reconciliation:
        """Its JSON."""
        return Reconciliation.model_validate_json(self.out)


def run(*args: str, **environment: str) -> Ran:
    """Run ``reconcile`` over the days of the test's records."""
    app = typer.Typer(add_completion=False)
    app.command()(reconcile)
    result = CliRunner(env={"XDG_STATE_HOME": "/nowhere", **environment}).invoke(app, [*WINDOW, *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def payload(emitter: UUID, number: int) -> bytes:
    """A spooled record."""
    attributes = {semconv.EMITTER_ID: str(emitter), semconv.EMITTER_SEQ: number}
    return record.encode(SpanView(number, 1, 0, 1, attributes), Record.OUTCOME)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """The spool of this host, which the command looks at."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("INTENT_EVENTS_SPOOL_DIR", str(folder))
    spool = Spool(folder, max_bytes=1 << 20)
    yield spool
    spool.close()


def wait(spool: Spool, *numbers: int, emitter: UUID = FIRST) -> None:
    """Let records of these numbers wait in the spool."""
    for number in numbers:
        spool.append(payload(emitter, number))


def left_behind(pg: Database, *histories: History) -> None:
    """Store what processes left behind."""
    run_apart(put(pg, *histories))


def ten(emitter: UUID = FIRST, host: str = HOST, lost: Iterable[int] = ()) -> History:
    """A dead process that recorded ten things: six rows, a dead letter, a drop, and two that wait in its spool."""
    steps = [("emit", 0)] * 9 + [("drop", 1)] + [("store", 0)] * 6 + [("bury", 0), ("beat", 0)]
    history = live(steps, killed=True, host=host, emitter=emitter)
    history.lose(lost)
    return history


def test_all_accounted_for(pg: Database, spool: Spool) -> None:
    """Every record is stored, spooled, dropped for a reason or dead: exit 0, and the counts add up."""
    left_behind(pg, ten())
    wait(spool, 8, 9)
    ran = run("--format", "json", "--dsn", pg.dsn)
    assert (ran.code, ran.err) == (0, "")
    [account] = ran.ledger.emitters
    counts = (account.emitted, account.stored, account.spooled, account.dropped, account.dead, account.missing)
    assert counts == (10, 6, 2, 1, 1, 0)
    assert account.dropped_by == {"disk_full": 1}
    assert (ran.ledger.spool.host, ran.ledger.spool.records, ran.ledger.spool.unreadable) == (HOST, 2, 0)
    assert ran.ledger.total.model_dump().items() <= account.model_dump().items()


def test_a_removed_row_is_missing(pg: Database, spool: Spool) -> None:
    """A row that is gone is missing: exit 1, with its number, in every format."""
    left_behind(pg, ten(lost=[3]), ten(UUID(int=2)))
    wait(spool, 8, 9)
    wait(spool, 8, 9, emitter=UUID(int=2))
    ran = run("--format", "json", "--dsn", pg.dsn)
    assert ran.code == 1
    assert [(one.emitter_id, one.missing) for one in ran.ledger.emitters] == [(FIRST, 1), (UUID(int=2), 0)]
    assert (3, 3) in ran.ledger.emitters[0].gaps
    table = run(INTENT_EVENTS_DSN=pg.dsn, COLUMNS="120")
    assert table.code == 1
    assert "1 record of 1 process missing." in table.out
    assert str(FIRST) in table.out
    assert str(FIRST) in run("--dsn", pg.dsn, COLUMNS="80", FORCE_COLOR="1").out
    assert "disk_full" in table.out
    markdown = run("--dsn", pg.dsn, "--format", "markdown")
    assert markdown.code == 1
    assert "**1 record of 1 process missing.**" in markdown.out
    rows = list(csv.DictReader(io.StringIO(run("--dsn", pg.dsn, "--format", "csv").out)))
    assert tuple(rows[0]) == CSV_HEADER
    assert [(row["missing"], row["gaps"], row["dropped_by"]) for row in rows] == [
        ("1", "3", "disk_full=1"),
        ("0", "", "disk_full=1"),
    ]


def test_a_lost_spool_of_this_host_is_missing(pg: Database, spool: Spool) -> None:
    """What a dead process of this host left in its spool must be in it."""
    left_behind(pg, ten())
    wait(spool, 9)
    ran = run("--format", "json", "--dsn", pg.dsn)
    assert ran.code == 1
    assert (ran.ledger.total.spooled, ran.ledger.total.missing) == (1, 1)


@pytest.mark.usefixtures("spool")
def test_the_address_from_a_file(pg: Database, tmp_path: Path) -> None:
    """The file of an application gives the address where neither flag nor variable does; a missing one is named."""
    file = tmp_path / "dsn"
    file.write_text(f"{pg.dsn}\n")
    assert run(INTENT_EVENTS_DSN_FILE=str(file)).code == 0
    nowhere = "postgresql://localhost:1/none"
    assert run(INTENT_EVENTS_DSN=nowhere, INTENT_EVENTS_DSN_FILE=str(file)).code == 3
    missing = run(INTENT_EVENTS_DSN_FILE=str(tmp_path / "none"))
    assert (missing.code, missing.out) == (2, "")
    assert "INTENT_EVENTS_DSN_FILE" in missing.err


@pytest.mark.usefixtures("spool")
def test_the_spool_of_another_host_is_told_as_of_its_heartbeat(pg: Database) -> None:
    """What waits on another host is believed, with the moment when it was said."""
    history = ten(host="elsewhere")
    left_behind(pg, history)
    ran = run("--format", "json", "--dsn", pg.dsn)
    assert ran.code == 0
    [account] = ran.ledger.emitters
    assert (account.spooled, account.spooled_as_of) == (2, history.beats[-1].at)
    table = run("--dsn", pg.dsn, COLUMNS="120").out
    assert "Spools that were not looked at" in table
    assert f"{history.beats[-1].at:%Y-%m-%d %H:%M:%S}" in table


def test_records_that_cannot_be_read_are_told(pg: Database, spool: Spool) -> None:
    """A payload that is none is counted and said, and does not stop the rest."""
    left_behind(pg, ten())
    spool.append(b"\xff")
    wait(spool, 8, 9)
    ran = run("--dsn", pg.dsn, COLUMNS="120")
    assert ran.code == 0
    assert "In that spool: 1 record that this version cannot read." in ran.out


def test_without_a_spool_folder(pg: Database, tmp_path: Path) -> None:
    """Where there is no spool at all, that is said, and heartbeats of this host are believed like those of others."""
    left_behind(pg, ten())
    ran = run("--dsn", pg.dsn, "--spool-dir", str(tmp_path / "none"), COLUMNS="120")
    assert ran.code == 0
    assert "No spool was looked at" in ran.out


@pytest.mark.usefixtures("spool")
def test_nothing_recorded_is_said(pg: Database) -> None:
    """An empty window is no failure, and is not called accounted for."""
    ran = run("--dsn", pg.dsn, COLUMNS="120")
    assert ran.code == 0
    assert "No process recorded anything in this window." in ran.out
    assert json.loads(run("--dsn", pg.dsn, "--format", "json").out)["emitters"] == []


@pytest.mark.usefixtures("spool")
def test_many_processes_are_summed_up(pg: Database) -> None:
    """People are shown the first processes and the sum of the rest; programs get all of them."""
    steps = [("emit", 0), ("store", 0), ("beat", 0)]
    left_behind(pg, *(live(steps, killed=True, host=HOST, emitter=UUID(int=n)) for n in range(1, SHOWN + 4)))
    assert "and 3 processes more: 3 emitted, 0 missing" in run("--dsn", pg.dsn, COLUMNS="120").out
    assert len(run("--dsn", pg.dsn, "--format", "json").ledger.emitters) == SHOWN + 3


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("--since", "yesterday"), "INTENT_EVENTS_RECONCILE_SINCE"),
        (("--until", "1999-01-01"), "INTENT_EVENTS_RECONCILE_UNTIL"),
        (("--timeout", "soon"), "INTENT_EVENTS_RECONCILE_TIMEOUT"),
        (("--dsn", "mysql://x"), "INTENT_EVENTS_DSN"),
        (("--dsn", ""), "INTENT_EVENTS_DSN"),
    ],
)
@pytest.mark.usefixtures("spool")
def test_wrong_use(args: tuple[str, str], named: str) -> None:
    """A flag that cannot be used is named with its variable: exit 2, nothing on stdout."""
    ran = run("--dsn", "postgresql://localhost/none", *args)
    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err


@pytest.mark.usefixtures("spool")
def test_could_not_ask(empty_pg: Database) -> None:
    """A database that is not migrated is exit 3 with the remedy, never an empty answer."""
    ran = run("--dsn", empty_pg.dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "intent-events migrate" in ran.err


@pytest.mark.usefixtures("spool")
def test_a_spool_that_is_closed_is_could_not_ask(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that this user may not read is exit 3: it must not look like an empty one."""

    def closed(_: Path) -> Iterator[Path]:
        raise PermissionError(13, "closed")

    monkeypatch.setattr(Path, "iterdir", closed)
    ran = run("--dsn", pg.dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "the service's user" in ran.err


def test_without_the_exporter(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the core is installed, the database is asked alone; a spool that is named cannot be read."""
    monkeypatch.setitem(sys.modules, "intent_events_exporter.spool", None)
    monkeypatch.delenv("INTENT_EVENTS_SPOOL_DIR")
    assert run("--dsn", pg.dsn).code == 0
    ran = run("--dsn", pg.dsn, "--spool-dir", "/somewhere")
    assert (ran.code, ran.out) == (2, "")
    assert "install" in ran.err
