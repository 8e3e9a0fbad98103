# SPDX-License-Identifier: Apache-2.0
"""The end of a process and the next one: what is not stored in time stays in the spool, and somebody stores it."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from integration.test_processor import COUNT, handle, kept, said
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events_exporter.spool import totals
from support.outages import frozen
from support.postgres import Database
from support.processes import run_app
from support.records import HASH_KEY
from support.waiting import until, until_async

QUIET_FORK: Final = {"PYTHONWARNINGS": "default,ignore::DeprecationWarning"}


ADOPT: Final = """
import sys
import time
from pathlib import Path
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.spool import totals
processor = IntentEventsSpanProcessor(settings=DeliverySettings.from_environment())
folder = DeliverySettings.from_environment().spool_folder()
deadline = time.monotonic() + 60
while totals(folder).bytes and time.monotonic() < deadline:
    time.sleep(0.01)
print(totals(folder).bytes)
processor.shutdown()
"""


def adopted(dsn: str, folder: Path) -> bool:
    """Whether another process, which records nothing, stores everything that waits in a spool."""
    ran = run_app("-c", ADOPT, env={"INTENT_EVENTS_DSN": dsn, "INTENT_EVENTS_SPOOL_DIR": str(folder)})
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.strip() == "0"


def in_time(work: Callable[[], object]) -> None:
    """Do something that must not take for ever."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30.0)
    assert not thread.is_alive(), "it does not come to an end"


@contextmanager
def gone(server: EmbeddedPostgres) -> Generator[None]:
    """The server is stopped."""
    server.stop_server()
    yield
    server.start_server()


@pytest.mark.parametrize("outage", [gone, frozen])
async def test_shutdown_within_an_outage(own_server: EmbeddedPostgres, folder: Path, outage: Any) -> None:
    """It is bounded, keeps what is not stored, and the next process stores that without a record of its own."""
    dsn = own_server.dsn(user="writer")
    with kept(dsn, folder, shutdown_timeout=0.5) as opened:
        traces = [handle("before")]
        assert opened.processor.force_flush()
        with outage(own_server):
            traces += [handle("in the outage") for _ in range(5)]
            in_time(opened.provider.shutdown)
            in_time(opened.provider.shutdown)
            assert not opened.processor.force_flush(), "what waits for another process is not stored"
            assert all(trace.telemetry_persisted for trace in traces)
            assert totals(folder).bytes > 0
    assert adopted(dsn, folder)
    rows = await Database(own_server.dsn()).fetch("SELECT event_id FROM agent.intent_events")
    assert sorted(row[0] for row in rows) == sorted(trace.event_id for trace in traces)
    assert totals(folder).owners == 0


async def test_shutdown_stores_what_waits(pg: Database, writer_dsn: str, folder: Path) -> None:
    """With Postgres there, nothing is left when the SDK has been shut down, and nothing runs on."""
    with kept(writer_dsn, folder, flush_interval=10.0) as opened:
        traces = [handle("one") for _ in range(200)]
        in_time(opened.provider.shutdown)
        assert opened.processor.force_flush()
        assert all(trace.telemetry_committed for trace in traces)
        assert not [thread for thread in threading.enumerate() if thread.name == "intent-events-drain"]
    assert await pg.fetchval(COUNT) == 200
    assert totals(folder).owners == 0


async def test_what_ends_after_the_shutdown(
    pg: Database, writer_dsn: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is durable all the same, is said once, and another process stores it."""
    late = """
from opentelemetry.sdk.trace import TracerProvider
from intent_events import record_utterance
from intent_events_exporter import IntentEventsSpanProcessor
from support.records import record_through
provider = TracerProvider(shutdown_on_exit=False)
processor = IntentEventsSpanProcessor()
provider.add_span_processor(processor)
record_through(provider)

@record_utterance
def handle(utterance):
    return utterance

@record_utterance
def stream(utterance):
    yield utterance

handle("one")
left_open = stream("two")
next(left_open)
provider.shutdown()
assert processor.force_flush()
handle("three")
assert not processor.force_flush()
"""
    env = {"INTENT_EVENTS_DSN": writer_dsn, "INTENT_EVENTS_SPOOL_DIR": str(folder)}
    ran = run_app("-c", late, env=env)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert "they wait in the spool" in ran.stderr
    assert await pg.fetchval(COUNT) == 1
    assert adopted(writer_dsn, folder)
    assert await pg.fetchval(COUNT) == 3
    assert not said(caplog)


def test_without_an_address_records_wait(
    pg: Database, writer_dsn: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are durable and said in one line; a process that has an address stores them."""
    with kept(None, folder) as opened:
        traces = [handle("one") for _ in range(10)]
        assert all(trace.telemetry_persisted for trace in traces)
        assert not opened.processor.force_flush(300)
        until(lambda: said(caplog), "it is said")
        in_time(opened.provider.shutdown)
    (line,) = said(caplog)
    assert "INTENT_EVENTS_DSN is not set" in line
    assert adopted(writer_dsn, folder)
    assert pg.fetchval_now(COUNT) == 10


FORKING: Final = """
import gc
import json
import os
import sys
from opentelemetry.sdk.trace import TracerProvider
from intent_events import record_utterance, recording
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

parent = EMITTER.emitter_id
handle("before")
assert processor.force_flush()
with recording("open in the fork") as trace:
    child = os.fork()
if child == 0:
    assert EMITTER.emitter_id != parent
    for _ in range(3):
        handle("in the child")
    gc.collect()
    assert processor.force_flush()
    provider.shutdown()
    print(json.dumps([EMITTER.emitter_id, str(trace.event_id)]))
    sys.stdout.flush()
    if sys.argv[1] == "_exit":
        os._exit(0)
    sys.exit(0)
status = os.waitpid(child, 0)[1]
handle("after")
provider.shutdown()
print(json.dumps([EMITTER.emitter_id, str(trace.event_id)]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("end", ["exit", "_exit"])
async def test_a_fork(pg: Database, writer_dsn: str, folder: Path, end: str) -> None:
    """Each process has a spool, a drain and numbers of its own; a copy of an open span is the parent's, and one row."""
    env = {
        "INTENT_EVENTS_DSN": writer_dsn,
        "INTENT_EVENTS_SPOOL_DIR": str(folder),
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
        **QUIET_FORK,
    }
    ran = run_app("-c", FORKING, end, env=env)
    assert (ran.returncode, ran.stderr) == (0, "")
    child, parent = (json.loads(line) for line in ran.stdout.splitlines())
    assert child[1] == parent[1]
    rows = await pg.fetch("SELECT event_id::text, emitter_id::text, emitter_seq FROM agent.intent_events")
    (copied,) = [row for row in rows if row["event_id"] == parent[1]]
    assert (copied["emitter_id"], copied["emitter_seq"] in {None, 2}) == (parent[0], True)
    numbers = {
        emitter: sorted(row["emitter_seq"] or 2 for row in rows if row["emitter_id"] == emitter)
        for emitter in (child[0], parent[0])
    }
    assert numbers == {child[0]: [1, 2, 3], parent[0]: [1, 2, 3]}
    assert len(rows) == 6
    for emitter in (child[0], parent[0]):
        beats = await pg.fetch(
            "SELECT beat, emitted, stored, duplicates FROM agent.emitters WHERE emitter_id = $1::uuid ORDER BY beat",
            emitter,
        )
        assert beats[0]["beat"] == 1
        assert beats[-1]["emitted"] == 3
    assert await pg.fetchval("SELECT count(DISTINCT pid) FROM agent.emitters") == 2
    assert totals(folder).owners == 0


def test_no_thread_can_be_started(pg: Database, writer_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python starts no thread any more, shutdown stores what waits by itself."""
    _no_threads(monkeypatch)
    with kept(writer_dsn, folder) as opened:
        traces = [handle("one") for _ in range(3)]
        opened.provider.shutdown()
        assert all(trace.telemetry_committed for trace in traces)
    assert opened.processor.force_flush()
    monkeypatch.undo()
    assert pg.fetchval_now(COUNT) == 3


async def test_no_thread_can_be_started_on_a_running_loop(
    pg: Database, writer_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop of the host is not disturbed: records stay in the spool, and this is said to whoever asks."""
    _no_threads(monkeypatch)
    with kept(writer_dsn, folder) as opened:
        handle("one")
        opened.provider.shutdown()
        assert not opened.processor.force_flush()
    monkeypatch.undo()
    assert adopted(writer_dsn, folder)
    await until_async(lambda: pg.fetchval(COUNT), "the row is there")


def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "intent-events-drain":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
