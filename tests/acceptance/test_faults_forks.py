# SPDX-License-Identifier: Apache-2.0
"""Hosts that fork, in every way that Python has: each utterance of each process is one row, and each process counts."""

from pathlib import Path

import pytest

from intent_events.review.ledger_model import Sums
from support.hosts import (
    SAID_BY_MASTER,
    SAID_BY_WORKER,
    Counts,
    accounted,
    all_stored,
    drained_by_another,
    reconciled,
    started_family,
)
from support.postgres import Database

pytestmark = pytest.mark.postgres


def ran(mode: str, folder: Path, dsn: str) -> None:
    """Run such a host to its end, and store what its processes have left."""
    with started_family(mode, folder, dsn) as process:
        assert process.wait(60) == 0, (folder / "host.err").read_text()
    drained_by_another(dsn, folder / "spool")
    assert (folder / "host.err").read_text() == ""


def processes(pg: Database) -> dict[str, list[int]]:
    """The numbers that each process gave its records, in order."""
    rows = pg.fetch_now(
        "SELECT emitter_id::text AS id, array_agg(emitter_seq ORDER BY emitter_seq) AS numbers "
        "FROM agent.intent_events GROUP BY emitter_id"
    )
    return {row["id"]: list(row["numbers"]) for row in rows}


def in_order(*counts: int) -> list[list[int]]:
    """Numbers without a gap, for processes with so many records."""
    return sorted(list(range(1, count + 1)) for count in counts)


def all_accounted(pg: Database, log: Path, n: int) -> Counts:
    """Each of so many utterances is one row, and the loss ledger misses none of them."""
    found = accounted(pg, log)
    assert found == all_stored(n, found.duplicate)
    assert reconciled(pg) == Sums(emitted=n, stored=n)
    return found


def test_preforked_workers(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """Workers of a preloaded server that leave in order, at once, by SIGKILL and by SIGTERM, and one more."""
    ran("prefork", tmp_path, writer_dsn)
    all_accounted(pg, tmp_path / "host.log", 2 * SAID_BY_MASTER + 5 * SAID_BY_WORKER)
    assert sorted(processes(pg).values()) == in_order(2 * SAID_BY_MASTER, *[SAID_BY_WORKER] * 5)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(pg: Database, writer_dsn: str, tmp_path: Path, method: str) -> None:
    """Workers of multiprocessing, which end without what the interpreter does at its end."""
    ran(method, tmp_path, writer_dsn)
    all_accounted(pg, tmp_path / "host.log", 2 * SAID_BY_MASTER + 2 * SAID_BY_WORKER)
    assert sorted(processes(pg).values()) == in_order(2 * SAID_BY_MASTER, SAID_BY_WORKER, SAID_BY_WORKER)


def test_a_fork_in_the_middle_of_an_utterance(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """Both processes handle the utterance to its end, and it is one row; what each says afterwards is its own."""
    ran("part", tmp_path, writer_dsn)
    said = 1 + 2 * SAID_BY_WORKER
    assert all_accounted(pg, tmp_path / "host.log", said).duplicate == 1
    assert len(processes(pg)) == 2
