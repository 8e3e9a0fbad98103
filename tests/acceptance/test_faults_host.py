# SPDX-License-Identifier: Apache-2.0
"""The host ends in every way that it can, in the middle of threads and tasks: what it had handled is stored, once."""

import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from time import sleep
from typing import Final

import pytest

from intent_events_exporter.spool import totals
from support.hosts import WORKERS, Host, accounted, all_stored, drained_by_another, handled, reconciled, started_family
from support.postgres import Database
from support.proxy import Proxy
from support.waiting import until

pytestmark = pytest.mark.postgres

_KILLS: Final = 50


def test_killed_at_fifty_random_moments(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """Whenever hosts are killed, whatever they had handled is stored once, by those that came after them."""
    random = Random(50)  # noqa: S311 - moments, no secrets
    log = tmp_path / "host.log"
    living: list[int] = []
    with started_family("nursery", tmp_path, writer_dsn) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        try:
            for _ in range(_KILLS):
                nursery.stdin.write("another\n")
                nursery.stdin.flush()
                living.append(int(nursery.stdout.readline()))
                sleep(random.uniform(0.0, 0.4))
                if len(living) == 2:  # so that some die while another one adopts, and some while nobody does
                    os.kill(living.pop(random.randrange(2)), signal.SIGKILL)
        finally:
            for pid in living:
                with suppress(ProcessLookupError):  # it came to its end by itself
                    os.kill(pid, signal.SIGKILL)
    drained_by_another(writer_dsn, tmp_path / "spool")
    found = accounted(pg, log)
    assert found.emitted > 1000
    assert found == all_stored(found.emitted, found.duplicate)._replace(beyond=found.beyond)
    beyond = beyond_by_process(pg, log)
    assert len(beyond) <= _KILLS
    assert max(beyond.values(), default=0) <= WORKERS, "each was in the middle of so many at most"
    assert pg.fetchval_now("SELECT count(*) FROM agent.intent_events WHERE emitter_seq IS NULL") == 0
    sums = reconciled(pg)
    assert (sums.stored, sums.missing) == (found.stored + found.beyond, 0)
    assert sums.underway <= _KILLS * WORKERS, "numbers of utterances that a host died in the middle of"


def beyond_by_process(pg: Database, log: Path) -> Counter[str]:
    """How many rows each process has of utterances that are not in the log."""
    rows = pg.fetch_now("SELECT event_id::text, emitter_id::text FROM agent.intent_events")
    said = handled(log)
    return Counter(row["emitter_id"] for row in rows if row["event_id"] not in said)


@pytest.mark.parametrize("postgres", ["up", "away"])
@pytest.mark.parametrize(
    ("how", "code"), [("SIGTERM", -signal.SIGTERM), ("_exit", 0), ("sys.exit", 3), ("raise", 1), ("return", 0)]
)
def test_ends_in_the_middle_of_its_work(
    pg: Database, writer_dsn: str, tmp_path: Path, how: str, code: int, postgres: str
) -> None:
    """A host that ends as this one does ends as it would without us; what it had handled is stored once."""
    with Proxy(writer_dsn) as proxy:
        if postgres == "away":
            proxy.refuse()
        with Host(tmp_path, proxy.dsn) as host:
            host.talk()
            until(lambda: len(handled(host.log)) > 100, "it has handled something")
            ended = host.signal(signal.SIGTERM) if how == "SIGTERM" else host.end(how)
            assert ended == code
        proxy.accept()
        drained_by_another(proxy.dsn, tmp_path / "spool")
    found = accounted(pg, host.log)
    assert found.beyond <= WORKERS
    assert found == all_stored(found.emitted, found.duplicate)._replace(beyond=found.beyond)
    assert ("a failure of the host's own" in host.errors) is (code == 1)


@pytest.mark.parametrize("how", ["sys.exit", "raise", "return"])
def test_an_orderly_end_stores_everything_by_itself(pg: Database, writer_dsn: str, tmp_path: Path, how: str) -> None:
    """With Postgres there, nothing is left to anybody else."""
    with Host(tmp_path, writer_dsn) as host:
        host.say(200)
        host.end(how)
    assert accounted(pg, host.log) == all_stored(200)
    assert totals(tmp_path / "spool").owners == 0


def test_ends_with_open_spans(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """An utterance in a task is cancelled by the end and is a row; one in a thread never ends, and hurts nobody."""
    with Host(tmp_path, writer_dsn) as host:
        host.say(50)
        assert host.end("open") == 0
    assert accounted(pg, host.log) == all_stored(50)._replace(beyond=1)
    outcomes = pg.fetch_now("SELECT outcome, count(*) AS n FROM agent.intent_events GROUP BY outcome")
    assert {row["outcome"]: row["n"] for row in outcomes} == {"matched": 50, "cancelled": 1}
    assert host.errors == ""


def test_the_clock_steps_back_and_forth(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """A clock that jumps by hours and weeks costs no record, doubles none, and stops nothing."""
    with Host(tmp_path, writer_dsn, {"HOST_CLOCK": "stepping"}) as host:
        host.say(200)
        assert host.flush()
        host.say(200)
        assert host.end("return") == 0
        assert host.errors == ""
    assert accounted(pg, host.log) == all_stored(400)
    span = pg.fetchval_now("SELECT max(ts) - min(ts) FROM agent.intent_events")
    assert span.days >= 30
