# SPDX-License-Identifier: Apache-2.0
"""The drain has several things to do, and none of them waits for ever behind another one."""

from pathlib import Path
from typing import Final

import pytest

from integration.test_drain import account, leave, processor_of
from integration.test_processor import handle, kept
from integration.test_processor_ends import in_time
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.instrument import troubles
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.drain import Drain
from intent_events_exporter.spool import Spool
from support.postgres import Database, run_apart
from support.spool_process import PLENTY, adopted
from support.waiting import until

DROPPED: Final = "SELECT dropped FROM agent.emitters ORDER BY beat DESC"


@pytest.fixture(autouse=True)
def _troubles_are_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears the log lines that another test heard a moment ago."""
    monkeypatch.setattr(troubles, "_last", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the spool."""
    return tmp_path / "spool"


def drain_of(processor: IntentEventsSpanProcessor) -> Drain:
    """What drains the spool of a processor."""
    return vars(processor)["_drain"]


# Postgres is asked, although nothing waits.


def test_drops_are_told_when_the_address_comes_late(
    pg: Database, writer_dsn: str, folder: Path, tmp_path: Path
) -> None:
    """A process that drops everything, and had no address at first, writes a heartbeat, and the ledger knows why."""
    folder.write_text("no folder")
    secret = tmp_path / "dsn"
    with kept(None, folder, dsn_file=secret) as opened:
        assert not handle("one").telemetry_persisted
        until(lambda: drain_of(opened.processor).breaker.failing, "there is no address")
        secret.write_text(writer_dsn)
        until(lambda: pg.fetch_now(DROPPED), "it is told while the process lives")
        until(lambda: not drain_of(opened.processor).breaker.failing, "the way is clear")
    assert pg.fetchval_now(DROPPED) == '{"spool_unwritable": 1}'
    total = run_apart(account(pg)).total
    assert (total.emitted, total.dropped, total.missing) == (1, 1, 0)


def test_another_process_stored_what_could_not_be(own_server: EmbeddedPostgres, folder: Path) -> None:
    """With nothing left to try it with, Postgres is asked until it is there; then all is as if it had never failed."""
    own_server.stop_server()
    leave(folder)
    processor = processor_of(own_server.dsn(user="writer"), folder)
    drain = drain_of(processor)
    until(lambda: drain.retries, "it was tried")
    other = Spool(folder, max_bytes=PLENTY)
    until(lambda: adopted(other), "another process takes it")
    other.close()
    retries = drain.retries
    until(lambda: drain.retries >= retries + 2, "it is tried again and again")
    own_server.start_server()
    until(lambda: not drain.breaker.failing, "Postgres is there")
    in_time(processor.shutdown)
