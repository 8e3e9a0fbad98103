# SPDX-License-Identifier: Apache-2.0
"""Code of the host's raises in the middle of ours: a handler of log lines, a signal handler, a garbage collection."""

import asyncio
import gc
import logging
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from intent_events import (
    IntentEventsInstrumentor,
    IntentTrace,
    current_trace,
    record_outcome,
    record_reply,
    record_utterance,
)
from intent_events.delivery import Delivery, settle, track
from intent_events.instrument import troubles
from intent_events.instrument.current import set_recorder
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.spool import Spool
from support.postgres import Database
from support.records import HASH_KEY, record_through
from support.waiting import until

_SIGNALS: Final = 2_000


class Broken(logging.Handler):
    """A handler of log lines whose other end is gone.

    Attributes:
        asked: how many lines it was given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        del record
        self.asked += 1
        raise BrokenPipeError


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    """A host whose log is broken."""
    monkeypatch.setattr(troubles, "_QUIET_S", 0.0)
    monkeypatch.setattr(troubles, "_last", {})
    handler = Broken()
    logging.getLogger("intent_events").addHandler(handler)
    yield handler
    logging.getLogger("intent_events").removeHandler(handler)


@record_utterance
def handle(utterance: str) -> str:
    """Answer."""
    return f"said {utterance}"


@pytest.mark.parametrize("room", [2_000, 1 << 30], ids=["the spool is full", "Postgres is away"])
def test_a_broken_log(pg: Database, writer_dsn: str, tmp_path: Path, broken: Broken, room: int) -> None:
    """Whatever goes wrong, a log that raises too reaches no request and ends no drain; what was kept is stored."""
    address = tmp_path / "dsn"
    settings = DeliverySettings(
        dsn_file=address, spool_dir=tmp_path / "spool", flush_interval=0.01, spool_max_bytes=room
    )
    processor = IntentEventsSpanProcessor(settings=settings)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    record_through(provider)
    try:
        assert [handle("hm") for _ in range(20)] == ["said hm"] * 20
        until(lambda: broken.asked > 1, "something went wrong, and was to be said")
        address.write_text(writer_dsn)
        assert provider.force_flush()
        stored = pg.fetchval_now("SELECT count(*) FROM agent.intent_events")
        assert stored == 20 if room > 2_000 else 0 < stored < 20
    finally:
        set_recorder(None)
        provider.shutdown()


class Failing(SpanProcessor):
    """A span processor of the host's that fails at each tenth span."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def on_end(self, span: ReadableSpan) -> None:
        """Fail, now and then."""
        if next(self._numbers) % 10 == 0:
            raise ValueError(span.name)


@pytest.mark.parametrize("comes", ["before ours", "after ours"])
def test_a_processor_that_raises(
    pg: Database, writer_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, comes: str
) -> None:
    """It takes no record with it, of whatever kind, and reaches no request; each record is one row."""
    monkeypatch.setattr(troubles, "_last", {})
    for name, value in {"HASH_KEY": HASH_KEY, "DSN": writer_dsn}.items():
        monkeypatch.setenv(f"INTENT_EVENTS_{name}", value)
    provider = TracerProvider(resource=Resource({"service.name": "hosts"}), shutdown_on_exit=False)
    if comes == "before ours":
        provider.add_span_processor(Failing())
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    if comes == "after ours":
        provider.add_span_processor(Failing())
    try:
        traces = [remember("hm") for _ in range(100)]
        assert all(trace.telemetry_persisted for trace in traces)
        for trace in traces:
            record_reply(trace.event_id, "hm")
            record_outcome(trace.event_id, "picked")
    finally:
        IntentEventsInstrumentor().uninstrument()
        provider.shutdown()
    assert all(trace.telemetry_committed for trace in traces)
    for table in ("intent_events", "chat_events", "intent_outcomes"):
        assert pg.fetchval_now(f"SELECT count(*) FROM agent.{table}") == 100
    assert pg.fetchval_now("SELECT count(*) FROM agent.intent_events WHERE service_name = 'hosts'") == 100
    assert [line.getMessage() for line in caplog.records if "span processor failed" in line.getMessage()]


@record_utterance
def remember(utterance: str) -> IntentTrace:
    """Answer with the trace."""
    del utterance
    return current_trace()


class SoftLimitError(Exception):
    """What a signal handler of the host's raises: a soft time limit."""


def test_signal_handlers_that_raise(tmp_path: Path) -> None:
    """Wherever in an append a signal handler raises, the spool is free for others afterwards."""
    spool = Spool(tmp_path / "spool", max_bytes=1 << 40)
    random = Random(7)  # noqa: S311 - moments, no secrets

    def interrupt(*_: object) -> None:
        raise SoftLimitError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(_SIGNALS):
            with pytest.raises(SoftLimitError):  # noqa: PT012 - whichever of them is interrupted
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.0005))
                while True:
                    spool.append(b"x" * 500)
            assert _is_free(spool)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        spool.close()


def _is_free(spool: Spool) -> bool:
    free: list[bool] = []

    def take() -> None:
        lock = spool._chain.lock  # pyright: ignore[reportPrivateUsage] - nothing else tells
        free.append(lock.acquire(timeout=10))
        lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return free[0]


def test_a_collection_while_records_are_settled() -> None:
    """A garbage collection that ends an abandoned wait, on the thread that settles records, holds up nobody."""
    kept = track(uuid4())

    def ids() -> Iterator[UUID]:
        _abandon(track(uuid4()))
        gc.collect()
        yield kept.event_id

    thread = threading.Thread(target=lambda: settle(ids(), committed=True), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert kept.committed
    began = monotonic()
    assert not asyncio.run(track(uuid4()).wait_async(0.01))
    assert monotonic() - began < 20


def _abandon(delivery: Delivery) -> None:
    """Wait for a record on an event loop that is closed before it is settled."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(delivery.wait_async(3600))
    task._log_destroy_pending = False  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue] - that it is abandoned is what is tested
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
