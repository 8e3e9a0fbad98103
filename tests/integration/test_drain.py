# SPDX-License-Identifier: Apache-2.0
"""The drain: it outlives every failure, tells the loss ledger at the right moments, and holds nothing up."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from integration.test_processor import COUNT, NOWHERE, QUICK, handle, kept, said
from integration.test_processor_ends import in_time
from intent_events import semconv
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.errors import SettingsError
from intent_events.instrument.recorder import EMITTER
from intent_events.review.ledger_model import Reconciliation
from intent_events.review.reconcile import Spooled, reconcile
from intent_events.review.windows import Window
from intent_events.semconv import Record
from intent_events.settings import DeliverySettings
from intent_events.store.write import BATCH_ROWS, Writer
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Batch, Refusal, Round, Spool, SpoolError, totals
from support.outages import frozen
from support.postgres import Database
from support.processes import run_app
from support.proxy import COMMIT, Proxy
from support.records import HASH_KEY, span_view
from support.stored import tampering
from support.waiting import until, until_async

_BEATS: Final = "SELECT * FROM agent.emitters WHERE emitter_id = $1 ORDER BY beat"


async def beats_of(pg: Database, emitter_id: str = "") -> list[Any]:
    """Heartbeats of a process, this one unless another is named."""
    return await pg.fetch(_BEATS, UUID(emitter_id or EMITTER.emitter_id))


async def account(pg: Database) -> Reconciliation:
    """What ``intent-events reconcile`` says of the last hour, with no spool to look at."""
    now = datetime.now(UTC)
    return await reconcile(pg.dsn, Window(since=now - timedelta(hours=1), until=now + timedelta(minutes=1)), Spooled)


# The loss ledger.


RUN: Final = """
import sys
import time
from opentelemetry.sdk.trace import TracerProvider
from intent_events import record_outcome, record_reply, record_utterance
from intent_events.instrument.recorder import EMITTER
from intent_events_exporter import IntentEventsSpanProcessor
from support.records import record_through
provider = TracerProvider(shutdown_on_exit=False)
processor = IntentEventsSpanProcessor()
provider.add_span_processor(processor)
record_through(provider)

@record_utterance
def handle(utterance):
    return utterance

from intent_events import recording
for number in range(40):
    with recording("one") as trace:
        pass
    record_reply(trace.event_id, "two")
    record_outcome(trace.event_id, "picked")
    time.sleep(0.06)
provider.shutdown()
print(EMITTER.emitter_id)
"""


async def test_a_real_run_is_accounted_for_and_a_loss_is_named(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Heartbeats count from 1 and say what was done; reconciling finds nothing missing until rows are deleted."""
    env = {
        "INTENT_EVENTS_DSN": writer_dsn,
        "INTENT_EVENTS_SPOOL_DIR": str(folder),
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
        "INTENT_EVENTS_HEARTBEAT": "200ms",
    }
    ran = run_app("-c", RUN, env=env)
    assert (ran.returncode, ran.stderr) == (0, "")
    beats = await beats_of(pg, ran.stdout.strip())
    assert [beat["beat"] for beat in beats] == list(range(1, len(beats) + 1))
    assert len(beats) >= 3, "one at the start, one each so often, one at the end"
    assert 0 < beats[0]["emitted"] < 120
    for name in ("emitted", "stored", "duplicates", "dead"):
        counts = [beat[name] for beat in beats]
        assert counts == sorted(counts)
    last = beats[-1]
    assert (last["emitted"], last["stored"], last["duplicates"], last["dead"]) == (120, 120, 0, 0)
    assert (last["dropped"], last["spooled"]) == ("{}", 0)
    assert last["service_name"] is not None
    assert last["started_at"] <= beats[0]["at"] <= last["at"]

    ledger = await account(pg)
    assert (ledger.total.emitted, ledger.total.stored, ledger.total.missing) == (120, 120, 0)

    await pg.execute(tampering("DELETE FROM agent.chat_events WHERE emitter_seq BETWEEN 20 AND 30"))
    # The process counts as living, since its rows are of now: what is newer than its last heartbeat but one is not due.
    utterance = max(number for number in range(31, beats[-2]["emitted"] + 1) if number % 3 == 1)
    await pg.execute(tampering(f"DELETE FROM agent.intent_events WHERE emitter_seq = {utterance}"))
    await pg.execute(tampering("UPDATE agent.emitters SET received_at = received_at - interval '1 day'"))
    gone = [*(number for number in range(20, 31) if number % 3 == 2), utterance]
    ledger = await account(pg)
    (emitter,) = ledger.emitters
    assert ledger.total.missing == len(gone)
    assert [(gap.first, gap.last) for gap in emitter.gaps] == [(number, number) for number in gone]


async def test_a_heartbeat_goes_before_the_backlog(own_server: EmbeddedPostgres, folder: Path) -> None:
    """After an outage the first thing that is heard, with the first few records, is how many there are."""
    dsn, database = own_server.dsn(user="writer"), Database(own_server.dsn())
    with kept(dsn, folder) as opened:
        handle("before")
        assert opened.processor.force_flush()
        await until_async(lambda: beats_of(database), "the first heartbeat is there")
        own_server.stop_server()
        traces = [handle("in the outage") for _ in range(500)]
        until(lambda: opened.metric("drain.retries")[""], "it was tried")
        own_server.start_server()
        assert await traces[-1].committed(60.0)
        assert opened.processor.force_flush()
    first, second, *_, last = await beats_of(database)
    assert first["beat"] == 1
    assert (first["stored"], first["spooled"]) == (1, 0)
    assert (second["stored"], second["spooled"]) == (51, 450)
    assert second["emitted"] == last["emitted"] == EMITTER.emitted
    assert (last["stored"], last["spooled"]) == (501, 0)


async def test_a_heartbeat_that_failed_is_said_later(
    pg: Database, writer_dsn: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where heartbeats are refused rows are stored all the same, and the next one says everything."""
    await pg.execute("REVOKE INSERT ON agent.emitters FROM intent_writer")
    with kept(writer_dsn, folder, heartbeat=0.1) as opened:
        traces = [handle("one") for _ in range(5)]
        assert await traces[-1].committed(60.0)
        until(lambda: said(caplog), "it is said")
        assert await beats_of(pg) == []
        await pg.execute("GRANT INSERT ON agent.emitters TO intent_writer")
        await until_async(lambda: beats_of(pg), "what was not said is said, although nothing has changed")
        assert opened.metric("drain.retries") == {"": 0}
    (beat,) = await beats_of(pg)
    assert (beat["stored"], beat["spooled"]) == (5, 0)
    (line,) = said(caplog)
    assert "No heartbeat is written" in line


async def test_only_numbered_drops_are_told_to_the_ledger(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A record that never had a number of ours explains no number that is missing; the metric counts all."""
    with kept(writer_dsn, folder, spool_max_bytes=64 << 10) as opened:
        assert opened.processor.accept(span_view(1))
        assert opened.processor.force_flush()
        opened.spool.max_bytes = 100
        assert not opened.processor.accept(span_view(2))
        assert not opened.processor.accept(span_view(3, {semconv.EMITTER_ID: EMITTER.emitter_id}))
        other = {semconv.EMITTER_ID: "7d444840-9dc0-41d1-b245-5ffdce74fad2", semconv.EMITTER_SEQ: 5}
        assert not opened.processor.accept(span_view(4, other))
        assert not handle("one").telemetry_persisted
        assert opened.metric("processor.records") == {"spooled": 1, "dropped:spool_full": 4}
    assert (await beats_of(pg))[-1]["dropped"] == '{"spool_full": 1, "spool_full 1": 0}'


async def test_a_process_without_records_says_nothing(pg: Database, writer_dsn: str, folder: Path) -> None:
    """There is nothing to account for, so there is no heartbeat and no connection."""
    with kept(writer_dsn, folder) as opened:
        assert opened.processor.force_flush()
    assert await pg.fetchval("SELECT count(*) FROM agent.emitters") == 0


# Failures.


async def test_a_spool_that_cannot_be_read_for_a_while(
    pg: Database, writer_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk fails under the drain: one line says so, and it goes on when the disk is back."""
    read, failing = Spool.read, threading.Event()
    failing.set()

    def broken(spool: Spool, max_records: int, max_bytes: int) -> Batch:
        if failing.is_set():
            raise SpoolError(Refusal.SPOOL_UNWRITABLE, "the disk fails")
        return read(spool, max_records, max_bytes)

    monkeypatch.setattr(Spool, "read", broken)
    with kept(writer_dsn, folder) as opened:
        traces = [handle("one") for _ in range(3)]
        until(lambda: opened.metric("drain.retries")[""] >= 2, "it was tried again")
        assert [line for line in said(caplog) if "the disk fails" in line]
        failing.clear()
        assert await traces[-1].committed(60.0)
    assert await pg.fetchval(COUNT) == 3
    assert len(said(caplog)) == 1


async def test_a_failure_of_ours_that_nobody_expected(
    pg: Database, writer_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The drain survives it, says it in one line without the text of the error, and tries again."""
    write, failures = Writer.write, iter(range(3))

    async def broken(writer: Writer, rows: Sequence[Any], rejections: Sequence[Any] = ()) -> Any:
        if next(failures, None) is not None:
            raise ZeroDivisionError("assign Zebedee")
        return await write(writer, rows, rejections)

    monkeypatch.setattr(Writer, "write", broken)
    with kept(writer_dsn, folder):
        traces = [handle("one") for _ in range(3)]
        assert await traces[-1].committed(60.0)
    assert await pg.fetchval(COUNT) == 3
    (line,) = said(caplog)
    assert "the drain failed" in line
    assert "Zebedee" not in line


async def test_a_record_that_breaks_its_reader(
    pg: Database, writer_dsn: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What no version could have written is given up, counted and said once; its neighbours are stored."""
    with kept(writer_dsn, folder, flush_interval=0.5) as opened:
        for number in range(200):
            assert opened.processor.accept(span_view(number))
            opened.spool.append(bytes([number]) * number)
        assert opened.processor.force_flush()
        assert opened.metric("drain.records") == {"stored": 200, "duplicate": 0, "dead": 0, "dropped:unreadable": 200}
    assert await pg.fetchval(COUNT) == 200
    assert (await beats_of(pg))[-1]["dropped"] == '{"unreadable": 200}'
    assert len(said(caplog)) == 1


async def test_the_password_changes(own_server: EmbeddedPostgres, folder: Path, tmp_path: Path) -> None:
    """An address that is replaced in its file while the old one fails is found without a restart."""
    file = tmp_path / "dsn"
    file.write_text(NOWHERE)
    with kept(None, folder, dsn_file=file) as opened:
        trace = handle("one")
        until(lambda: opened.metric("drain.retries")[""], "the old one has failed")
        file.write_text(own_server.dsn(user="writer"))
        assert await trace.committed(60.0)


async def test_an_answer_that_is_lost(pg: Database, folder: Path, writer_dsn: str) -> None:
    """Cut after COMMIT and before its answer, the records are stored and found stored already: each is one row."""
    with Proxy(writer_dsn) as proxy, kept(proxy.dsn, folder) as opened:
        proxy.cut_on(COMMIT, forward=True)
        traces = [handle("one") for _ in range(20)]
        assert opened.processor.force_flush()
        assert all(trace.telemetry_committed for trace in traces)
        delivered = opened.metric("drain.records")
        assert delivered["duplicate"] > 0
        assert delivered["stored"] + delivered["duplicate"] == 20
    assert await pg.fetchval(COUNT) == 20


def test_the_disk_is_synced_while_postgres_does_not_answer(
    own_server: EmbeddedPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``INTENT_EVENTS_SPOOL_FSYNC=interval`` keeps its promise while a statement waits."""
    synced: list[int] = []
    sync = Spool.sync

    def counting(spool: Spool) -> None:
        sync(spool)
        synced.append(1)

    with kept(own_server.dsn(user="writer"), folder, spool_fsync="interval", shutdown_timeout=0.2) as opened:
        handle("before")
        assert opened.processor.force_flush()
        with frozen(own_server):
            handle("one")
            monkeypatch.setattr(Spool, "sync", counting)
            until(lambda: len(synced) >= 3, "it was synced three times within one try")
            assert opened.metric("drain.retries") == {"": 0}
            in_time(opened.provider.shutdown)


# Connections.


_OURS: Final = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'intent-events'"
_HELD: Final = f"SELECT count(*) {_OURS} AND wait_event_type = 'Lock'"


async def held(pg: Database, batches: int) -> bool:
    """Whether so many batches are under way, held up by a lock."""
    return await pg.fetchval(_HELD) == batches


@pytest.mark.parametrize("connections", [1, 2])
async def test_as_many_connections_as_are_set(pg: Database, writer_dsn: str, folder: Path, connections: int) -> None:
    """``INTENT_EVENTS_CONNECTIONS`` is how many batches are stored at once; however many, each record is one row."""
    records = 3 * BATCH_ROWS
    with kept(writer_dsn, folder, connections=connections) as opened:
        assert await handle("one").committed(60.0)
        until(lambda: opened.metric("drain.duration") == {"": 1}, "the drain sleeps")
        for number in range(records):
            opened.spool.append(encode(span_view(number), Record.UTTERANCE))
        locker = await asyncpg.connect(pg.dsn)
        try:
            await locker.execute("BEGIN; LOCK TABLE agent.intent_events IN EXCLUSIVE MODE")
            assert opened.processor.accept(span_view(records)), "it wakes the drain"
            await until_async(lambda: held(pg, connections), "each connection has a batch", timeout_s=30.0)
        finally:
            await locker.close()
        assert opened.processor.force_flush()
        assert await pg.fetchval(f"SELECT count(*) {_OURS}") == connections
        assert opened.metric("drain.records") == {"stored": records + 2, "duplicate": 0, "dead": 0}
    assert await pg.fetchval(COUNT) == records + 2


# What dead processes left.


LEAVE: Final = """
import os
from intent_events_exporter import IntentEventsSpanProcessor
from support.records import span_view
processor = IntentEventsSpanProcessor()
for number in range(100):
    assert processor.accept(span_view(number))
os._exit(0)
"""


def leave(folder: Path) -> None:
    """A process dies with a hundred records in its spool."""
    # Its own drain sleeps until then, so that it has nothing to say of an address that is not set.
    env = {"INTENT_EVENTS_SPOOL_DIR": str(folder), "INTENT_EVENTS_FLUSH_INTERVAL": "10s"}
    ran = run_app("-c", LEAVE, env=env)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert totals(folder).bytes > 0


def processor_of(dsn: str | Callable[[], str] | None, folder: Path) -> IntentEventsSpanProcessor:
    """A processor that records nothing itself."""
    return IntentEventsSpanProcessor(
        dsn if isinstance(dsn, str) else None, folder, settings=DeliverySettings.model_validate(QUICK)
    )


def test_orphans_and_no_address(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address they are left alone: nobody turns round and round over them, and shutdown ends."""
    leave(folder)
    taken: list[object] = []
    adopt = Spool.adopt

    def counting(spool: Spool, turns: Round | None = None) -> Any:
        orphans = adopt(spool, turns)
        taken.append(orphans)
        return orphans

    monkeypatch.setattr(Spool, "adopt", counting)
    before = totals(folder).bytes
    processor = processor_of(None, folder)
    threading.Event().wait(0.5)
    in_time(processor.shutdown)
    assert len(taken) <= 3
    assert totals(folder).bytes == before


async def test_orphans_and_an_outage(own_server: EmbeddedPostgres, folder: Path) -> None:
    """A process that records nothing stores them once Postgres is there, each once."""
    own_server.stop_server()
    leave(folder)
    processor = processor_of(own_server.dsn(user="writer"), folder)
    drain: Any = vars(processor)["_drain"]
    until(lambda: drain.retries, "it was tried")
    own_server.start_server()
    until(lambda: not totals(folder).bytes, "they are stored")
    in_time(processor.shutdown)
    assert await Database(own_server.dsn()).fetchval(COUNT) == 100


def test_one_process_left_many(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Those of several dead processes are all taken, and nothing is left of their folders."""
    for _ in range(3):
        leave(folder)
    processor = processor_of(writer_dsn, folder)
    until(lambda: not totals(folder).bytes, "they are stored")
    in_time(processor.shutdown)
    assert totals(folder).owners == 0
    assert pg.fetchval_now(COUNT) == 100


def test_the_address_is_checked_where_it_is_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An address of the wrong form is said without any of it, and nothing is lost."""
    with pytest.raises(SettingsError):
        DeliverySettings.model_validate({"dsn_file": "/nowhere/at/all"}).read_dsn()
    with kept("mysql://u:hunter2@h/x", folder) as opened:
        assert handle("one").telemetry_persisted
        until(lambda: said(caplog), "it is said")
        assert opened.metric("spool.records") == {"": 1}
    (line,) = said(caplog)
    assert "hunter2" not in line
