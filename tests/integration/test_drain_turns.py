# SPDX-License-Identifier: Apache-2.0
"""The drain has several things to do, and none of them waits for ever behind another one."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from integration.test_drain import account, leave
from integration.test_processor import COUNT, NOWHERE, QUICK, QUIET_FORK, handle, kept
from integration.test_processor_ends import in_time
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.rows import Rejection
from intent_events.semconv import Record
from intent_events.settings import DeliverySettings
from intent_events.store.copy_format import Sealed
from intent_events.store.write import Writer, Written
from intent_events_exporter import IntentEventsSpanProcessor, flush
from intent_events_exporter.drain import Drain
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Spool, totals
from intent_events_exporter.spool.folder import owners_in
from support.postgres import Database, run_apart
from support.processes import run_app
from support.records import span_view
from support.spool_process import PLENTY, adopted
from support.waiting import until

DROPPED: Final = "SELECT dropped FROM agent.emitters ORDER BY beat DESC"


def processor_of(dsn: str, folder: Path, **settings: float) -> IntentEventsSpanProcessor:
    """A processor that records nothing itself."""
    return IntentEventsSpanProcessor(dsn, folder, settings=DeliverySettings.model_validate({**QUICK, **settings}))


def drain_of(processor: IntentEventsSpanProcessor) -> Drain:
    """What drains the spool of a processor."""
    return vars(processor)["_drain"]


# Postgres is asked, although nothing waits.


def test_drops_are_told_when_the_address_comes_late(
    pg: Database, writer_dsn: str, folder: Path, tmp_path: Path
) -> None:
    """A process that drops everything, and had no address at first, writes a heartbeat, and the ledger knows why."""
    folder.parent.mkdir()
    folder.write_text("no folder")
    secret = tmp_path / "dsn"
    with kept(None, folder, dsn_file=secret) as opened:
        assert not handle("one").telemetry_persisted
        until(lambda: drain_of(opened.processor).breaker.failing, "there is no address")
        secret.write_text(writer_dsn)
        until(lambda: pg.fetch_now(DROPPED), "it is told while the process lives")
        until(lambda: not drain_of(opened.processor).breaker.failing, "the way is clear")
    assert pg.fetchval_now(DROPPED) == '{"spool_unwritable": 1, "spool_unwritable 1": 0}'
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


# What dead processes left, and what is to do meanwhile.


LEFT: Final = 2_000
BATCH: Final = 20


def leave_many(folder: Path, processes: int, records: int) -> None:
    """So many processes die with so many records each."""
    for process in range(processes):
        spool = Spool(folder, max_bytes=PLENTY)
        for number in range(records):
            spool.append(encode(span_view(process * records + number), Record.UTTERANCE))
        spool.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Keys of the rows of each batch that is written; batches are small."""
    monkeypatch.setattr(flush, "BATCH_ROWS", BATCH)
    written: list[set[int]] = []
    write = Writer.write

    async def noting(writer: Writer, rows: Sequence[Sealed], rejections: Sequence[Rejection] = ()) -> Written:
        written.append({row.key for row in rows})
        return await write(writer, rows, rejections)

    monkeypatch.setattr(Writer, "write", noting)
    return written


@pytest.fixture
def at_batch(monkeypatch: pytest.MonkeyPatch, batches: list[set[int]]) -> Callable[[Callable[[], object]], None]:
    """Does something, once, when half a dozen batches have been written; the writer waits for it."""

    def at(work: Callable[[], object]) -> None:
        write, once = Writer.write, iter((work,))

        async def working(writer: Writer, rows: Sequence[Sealed], rejections: Sequence[Rejection] = ()) -> Written:
            if len(batches) >= 6 and (due := next(once, None)):
                due()
            return await write(writer, rows, rejections)

        monkeypatch.setattr(Writer, "write", working)

    return at


def test_the_dead_wait_for_a_record_of_our_own(
    pg: Database,
    writer_dsn: str,
    folder: Path,
    batches: list[set[int]],
    at_batch: Callable[[Callable[[], object]], None],
) -> None:
    """A record that comes while much of a dead process is being stored is in the next few batches; nothing is lost."""
    leave_many(folder, 1, LEFT)
    begun, recorded = threading.Event(), threading.Event()
    at_batch(lambda: (begun.set(), recorded.wait(30.0)))
    with kept(writer_dsn, folder) as opened:
        assert begun.wait(30.0)
        trace = handle("one")
        recorded.set()
        until(lambda: opened.metric("drain.records")["stored"] == LEFT + 1, "all is stored")
        assert opened.metric("drain.records") == {"stored": LEFT + 1, "duplicate": 0, "dead": 0}
    key = UUID(str(trace.event_id)).int
    assert next(place for place, keys in enumerate(batches) if key in keys) < 15, "of a hundred"
    assert pg.fetchval_now(COUNT) == LEFT + 1
    assert totals(folder).owners == 0


def test_the_dead_wait_for_the_end_of_the_process(
    pg: Database,
    writer_dsn: str,
    folder: Path,
    at_batch: Callable[[Callable[[], object]], None],
) -> None:
    """Shut down meanwhile, a process stores what it recorded itself, and leaves the rest to another one, each once."""
    leave_many(folder, 1, LEFT)
    begun = threading.Event()
    with kept(writer_dsn, folder) as opened:
        stopping: threading.Event = vars(drain_of(opened.processor))["_stopping"]
        at_batch(lambda: (begun.set(), stopping.wait(30.0)))
        assert begun.wait(30.0)
        trace = handle("one")
        in_time(opened.provider.shutdown)
        assert trace.telemetry_committed
        stored = pg.fetchval_now(COUNT)
        assert stored < LEFT
        assert opened.metric("drain.records") == {"stored": stored, "duplicate": 0, "dead": 0}
    processor = processor_of(writer_dsn, folder)
    until(lambda: not totals(folder).bytes, "another one stores the rest")
    in_time(processor.shutdown)
    tally = drain_of(processor).tally
    assert (tally.stored, tally.duplicates) == (LEFT + 1 - stored, 0)
    assert pg.fetchval_now(COUNT) == LEFT + 1


def test_heartbeats_go_while_much_is_adopted(
    pg: Database, writer_dsn: str, folder: Path, batches: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reconciles sees how far it is: heartbeats go at their time."""
    leave_many(folder, 1, LEFT)
    write = Writer.write

    async def slow(writer: Writer, rows: Sequence[Sealed], rejections: Sequence[Rejection] = ()) -> Written:
        await asyncio.sleep(0.05)
        return await write(writer, rows, rejections)

    monkeypatch.setattr(Writer, "write", slow)
    processor = processor_of(writer_dsn, folder, heartbeat=0.1)
    until(lambda: not totals(folder).bytes, "all is stored")
    in_time(processor.shutdown)
    stored = [row["stored"] for row in pg.fetch_now("SELECT stored FROM agent.emitters ORDER BY beat")]
    assert [number for number in stored if 50 < number < LEFT]
    assert stored[-1] == LEFT
    assert max(map(len, batches)) <= 50


def test_the_dead_are_listed_once(pg: Database, writer_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the spool is not read anew for each of the dead in it, which may be thousands."""
    leave_many(folder, 60, 1)
    listed: list[Path] = []

    def listing(of: Path) -> Iterator[Path]:
        listed.append(of)
        return owners_in(of)

    monkeypatch.setattr("intent_events_exporter.spool.orphans.owners_in", listing)
    processor = processor_of(writer_dsn, folder)
    until(lambda: not totals(folder).bytes, "all is stored")
    in_time(processor.shutdown)
    assert pg.fetchval_now(COUNT) == 60
    assert totals(folder).owners == 0
    assert len(listed) < 20


# The disk.


def syncers() -> list[threading.Thread]:
    """Threads that sync a spool."""
    return [thread for thread in threading.enumerate() if thread.name == "intent-events-sync"]


def test_the_disk_is_synced_while_a_name_is_resolved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``INTENT_EVENTS_SPOOL_FSYNC=interval`` keeps its promise while no name server answers; the thread ends."""
    asked, answered = threading.Event(), threading.Event()

    def unanswered(*_: object, **__: object) -> None:
        asked.set()
        answered.wait(60.0)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    monkeypatch.setattr(socket, "getaddrinfo", unanswered)
    synced: list[int] = []
    fdatasync = os.fdatasync

    def counting(fd: int) -> None:
        fdatasync(fd)
        synced.append(fd)

    with kept("postgresql://u@db.example/x", folder, spool_fsync="interval") as opened:
        handle("one")
        assert asked.wait(30.0)
        monkeypatch.setattr(os, "fdatasync", counting)
        until(lambda: len(synced) >= 2, "it was synced twice within one question")
        assert len(syncers()) == 1
        answered.set()
        in_time(opened.provider.shutdown)
    until(lambda: not syncers(), "the thread has ended")


@pytest.mark.parametrize("mode", ["none", "always"])
def test_no_thread_syncs_where_none_has_to(folder: Path, mode: str) -> None:
    """In the other modes nobody needs it."""
    with kept(NOWHERE, folder, spool_fsync=mode) as opened:
        handle("one")
        until(lambda: opened.metric("drain.retries")[""], "the drain runs")
        assert not syncers()


CHILD: Final = """
import os
import threading
from intent_events_exporter import IntentEventsSpanProcessor
from support.records import span_view
from support.waiting import until

def names():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("intent-events"))

both = ["intent-events-drain", "intent-events-sync"]
processor = IntentEventsSpanProcessor()
assert processor.accept(span_view(1))
until(lambda: names() == both, "both threads run")
child = os.fork()
if not child:
    assert not names()
    assert processor.accept(span_view(2))
    until(lambda: names() == both, "both threads run in the child")
    processor.shutdown()
    until(lambda: not names(), "both have ended in the child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert names() == both
processor.shutdown()
until(lambda: not names(), "both have ended")
"""


def test_a_child_syncs_its_own(folder: Path) -> None:
    """A forked child starts a thread of its own with its drain, and the parent's goes on."""
    env = {"INTENT_EVENTS_DSN": NOWHERE, "INTENT_EVENTS_SPOOL_DIR": str(folder)}
    ran = run_app("-c", CHILD, env={**env, **QUIET_FORK, "INTENT_EVENTS_SPOOL_FSYNC": "interval"})
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_thread_can_be_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain syncs itself until one can."""
    start, refused = threading.Thread.start, threading.Event()
    refused.set()

    def refusing(thread: threading.Thread) -> None:
        if refused.is_set() and thread.name == "intent-events-sync":
            raise RuntimeError("can't start new thread")
        start(thread)

    synced: list[int] = []
    sync = Spool.sync

    def counting(spool: Spool) -> None:
        sync(spool)
        synced.append(1)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    monkeypatch.setattr(Spool, "sync", counting)
    with kept(NOWHERE, folder, spool_fsync="interval"):
        handle("one")
        until(lambda: len(synced) >= 2, "it is synced all the same")
        assert not syncers()
        refused.clear()
        until(syncers, "one could be started")
