# SPDX-License-Identifier: Apache-2.0
"""Postgres and the network fail in every way they can while a host handles utterances: none is lost, none doubled."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import sleep
from typing import Any, Final

import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.review.ledger_model import Sums
from intent_events_exporter.spool import totals
from support.hosts import Host, accounted, all_stored, drained_by_another, handled, reconciled, talk_through_restarts
from support.postgres import Database
from support.proxy import COMMIT, Fault, Proxy
from support.waiting import until

pytestmark = pytest.mark.postgres

SOAK_S: Final = float(os.environ.get("INTENT_EVENTS_TEST_SOAK", "20"))
"""Seconds that the soak takes."""

_RESTART_EVERY_S: Final = min(15.0, SOAK_S / 4)
_SOAK_RATE: Final = 500
_KILLS: Final = 20
_STATEMENT_S: Final = 2.0


@pytest.fixture
def proxy(writer_dsn: str) -> Iterator[Proxy]:
    """A network between the host and its database."""
    with Proxy(writer_dsn) as proxy:
        yield proxy


@pytest.fixture
def host(tmp_path: Path, proxy: Proxy) -> Iterator[Host]:
    """A host behind that network, which has stored something already."""
    with Host(tmp_path, proxy.dsn, {"HOST_STATEMENT_S": str(_STATEMENT_S)}) as host:
        host.say(20)
        assert host.flush()
        yield host


def drained(report: dict[str, Any]) -> dict[str, int]:
    """What became of the records that the drain took from the spool, as it counts them."""
    return {name.rpartition(":")[2]: n for name, n in report.items() if name.startswith("drain.records:")}


def all_accounted(pg: Database, host: Host, n: int | None = None) -> int:
    """Each utterance is one row, of which there are ``n``; how often a record was found stored already.

    What was taken from the spool is what was handed in: a COMMIT whose answer was lost makes a duplicate of a row that
    nobody has counted as stored.
    """
    became = drained(host.report())
    found = accounted(pg, host.log)
    assert found == all_stored(found.emitted if n is None else n, became["duplicate"])
    assert became["stored"] + became["duplicate"] == found.emitted
    return found.duplicate


def test_down_from_the_start(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A host that begins while Postgres is away handles everything; all of it is stored once Postgres is there."""
    own_server.stop_server()
    with Host(tmp_path, own_server.dsn(user="writer")) as host:
        host.say(400)
        assert all(handled(host.log).values()), "durable, though not stored"
        assert host.report()["spool.records"] == 400
        until(lambda: host.report()["drain.retries"] > 0, "the drain has tried")
        own_server.start_server()
        assert host.flush()
        assert drained(host.report()) == {"stored": 400, "duplicate": 0, "dead": 0}
        assert host.end("return") == 0
        assert "is it running?" in host.errors
    assert accounted(Database(own_server.dsn()), host.log) == all_stored(400)


def test_a_host_that_never_sees_postgres(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A host that ends in an outage does so within its time, and leaves everything to another process."""
    own_server.stop_server()
    with Host(tmp_path, own_server.dsn(user="writer")) as host:
        host.say(100)
        assert host.end("return") == 0
    own_server.start_server()
    drained_by_another(own_server.dsn(user="writer"), tmp_path / "spool")
    assert accounted(Database(own_server.dsn()), host.log) == all_stored(100)


@pytest.mark.timeout(240)
def test_killed_at_random_moments(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Postgres is killed twenty times in the middle of whatever it does; each utterance is one row."""
    random = Random(20)  # noqa: S311 - moments, no secrets
    with Host(tmp_path, own_server.dsn(user="writer")) as host:
        host.talk(400)
        for _ in range(_KILLS):
            sleep(random.uniform(0.05, 0.8))
            own_server.kill_server()
            own_server.start_server()
        host.hush()
        assert host.flush()
        report = host.report()
    became = drained(report)
    found = accounted(Database(own_server.dsn()), host.log)
    assert found.emitted > 1000
    assert found == all_stored(found.emitted, became["duplicate"])
    assert became["stored"] + became["duplicate"] == found.emitted


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET])
def test_connections_break(pg: Database, host: Host, proxy: Proxy, fault: Fault) -> None:
    """Connections are closed or reset at any moment; each utterance is one row."""
    random = Random(fault)  # noqa: S311 - moments, no secrets
    host.talk(400)
    for _ in range(12):
        sleep(random.uniform(0.0, 0.2))
        proxy.cut() if fault is Fault.CUT else proxy.reset()
    host.hush()
    assert host.flush()
    assert proxy.faults[fault] > 1
    all_accounted(pg, host)


def test_a_connection_stalls(pg: Database, host: Host, proxy: Proxy) -> None:
    """Nothing passes for longer than a statement may take: the host goes on, and each utterance is one row."""
    proxy.stall()
    host.talk(200)
    sleep(_STATEMENT_S * 1.5)
    host.hush()
    assert proxy.faults[Fault.STALL] >= 1
    assert host.report()["spool.records"] == len(handled(host.log)) - 20
    proxy.resume()
    assert host.flush()
    all_accounted(pg, host)


def test_a_slow_connection(pg: Database, host: Host, proxy: Proxy) -> None:
    """A network of 200 kB a second takes its time, and each utterance is one row."""
    proxy.slow(200_000)
    host.say(400)
    assert host.flush()
    assert proxy.faults[Fault.SLOW] >= 1
    all_accounted(pg, host, 420)


def test_a_half_open_connection(pg: Database, host: Host, proxy: Proxy) -> None:
    """A server that vanished without a word is given up when the time of a statement is over."""
    proxy.half_open()
    host.say(100)
    assert host.flush()
    assert proxy.faults[Fault.HALF_OPEN] == 1
    all_accounted(pg, host, 120)


@pytest.mark.parametrize("n_bytes", [9_000, 40_000, 120_000])
def test_cut_in_the_middle_of_copy(pg: Database, host: Host, proxy: Proxy, n_bytes: int) -> None:
    """A COPY of which a part has arrived stores nothing, and its rows are stored once by the next one."""
    proxy.cut_after(n_bytes)
    host.say(1000)
    assert host.flush()
    assert proxy.faults[Fault.CUT_AFTER] == 1
    all_accounted(pg, host, 1020)


@pytest.mark.parametrize("forward", [False, True], ids=["before COMMIT arrives", "before its answer arrives"])
def test_cut_around_commit(pg: Database, host: Host, proxy: Proxy, *, forward: bool) -> None:
    """Whether or not the COMMIT arrived, nobody knows, and each utterance is one row; found again, it is counted so."""
    proxy.cut_on(COMMIT, forward=forward)
    host.say(300)
    assert host.flush()
    assert proxy.faults[Fault.CUT_ON] == 1
    assert (all_accounted(pg, host, 320) > 0) is forward


@pytest.mark.parametrize(
    ("breaks", "mends", "says"),
    [
        (
            "ALTER TABLE agent.intent_events RENAME TO hidden",
            "ALTER TABLE agent.hidden RENAME TO intent_events",
            "run `intent-events migrate`",
        ),
        (
            "ALTER TABLE agent.intent_events RENAME COLUMN prompt_version TO hidden",
            "ALTER TABLE agent.intent_events RENAME COLUMN hidden TO prompt_version",
            "run `intent-events migrate`",
        ),
        (
            "REVOKE INSERT ON agent.intent_events FROM intent_writer",
            "GRANT INSERT ON agent.intent_events TO intent_writer",
            "permission denied for table intent_events",
        ),
    ],
    ids=["table missing", "column missing", "permission revoked"],
)
def test_the_schema_is_broken_and_mended(pg: Database, host: Host, breaks: str, mends: str, says: str) -> None:
    """What an administrator broke is said in one line with its remedy; everything is stored once it is mended."""
    pg.execute_now(breaks)
    try:
        host.say(100)
        until(lambda: says in host.errors, f"the log says {says}")
    finally:
        pg.execute_now(mends)
    assert host.flush()
    assert accounted(pg, host.log) == all_stored(120)
    assert pg.fetchval_now("SELECT count(*) FROM agent.dead_letters") == 0, "nothing is given up for it"


def test_poison_among_good_rows(pg: Database, host: Host) -> None:
    """Rows that Postgres refuses become dead letters with their reason; their neighbours are rows."""
    pg.execute_now("ALTER TABLE agent.intent_events ADD CONSTRAINT no_poison CHECK (scope <> 'poison')")
    for _ in range(5):
        host.say(40)
        host.say(2, "poison")
    assert host.flush()
    assert accounted(pg, host.log) == all_stored(230)._replace(stored=220, dead=10)
    letters = pg.fetch_now("SELECT dead_letter_id::text AS key, reason FROM agent.dead_letters")
    rows = {str(row["event_id"]) for row in pg.fetch_now("SELECT event_id FROM agent.intent_events")}
    assert {letter["key"] for letter in letters} == handled(host.log).keys() - rows
    assert [letter["reason"] for letter in letters] == ["row_refused"] * 10
    assert drained(host.report()) == {"stored": 220, "duplicate": 0, "dead": 10}


@pytest.mark.timeout(SOAK_S + 120)
def test_soak_with_restarts(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Five hundred utterances a second while Postgres is restarted again and again; each of them is one row."""
    with Host(tmp_path, own_server.dsn(user="writer")) as host:
        restarts = talk_through_restarts(host, own_server, _SOAK_RATE, SOAK_S, _RESTART_EVERY_S)
        assert host.flush()
        assert host.end("return") == 0
    found = accounted(Database(own_server.dsn()), host.log)
    sys.stdout.write(f"{restarts} restarts\n")
    assert restarts >= 2
    assert found == all_stored(found.emitted, found.duplicate)
    assert reconciled(Database(own_server.dsn())) == Sums(emitted=found.emitted, stored=found.emitted)
    assert not totals(tmp_path / "spool").bytes
