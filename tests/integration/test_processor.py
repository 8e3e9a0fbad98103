# SPDX-License-Identifier: Apache-2.0
"""The processor behind a real SDK: what has ended is durable, is stored once, and is accounted for; nobody is hurt."""

import contextvars
import errno
import gc
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Span

from integration.test_exporter import HOSTILE, finished
from intent_events import IntentTrace, current_trace, record_outcome, record_reply, record_utterance, semconv
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.instrument.current import set_recorder
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.spool import Spool, totals
from support.postgres import Database
from support.records import START_NS, record_through, span_view
from support.waiting import until

COUNT: Final = "SELECT count(*) FROM agent.intent_events"
NOWHERE: Final = "postgresql://127.0.0.1:1/nowhere"
QUICK: Final[dict[str, Any]] = {"flush_interval": 0.02, "shutdown_timeout": 20.0}
QUIET_FORK: Final = {"PYTHONWARNINGS": "default,ignore::DeprecationWarning"}


class Kept:
    """A real SDK with our processor.

    Attributes:
        provider: the SDK's tracer provider.
        processor: ours.
    """

    def __init__(self, dsn: str | None, folder: Path, **settings: Any) -> None:
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.provider = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
        self.processor = IntentEventsSpanProcessor(
            dsn,
            folder,
            settings=DeliverySettings.model_validate({**QUICK, **settings}),
            meter_provider=self.meter_provider,
        )
        self.provider.add_span_processor(self.processor)

    @property
    def spool(self) -> Spool:
        """Where records wait."""
        return vars(self.processor)["_spool"]

    def metric(self, name: str) -> dict[str, float]:
        """Points of a metric, by ``delivery`` or ``delivery:reason``; by an empty text where it has no attributes.

        Of a histogram, how often something was noted.
        """
        return {label: _value(point) for label, point in self._points(name).items()}

    def noted(self, name: str) -> float:
        """Sum of all that was noted in a histogram."""
        return sum(point.sum for point in self._points(name).values())

    def _points(self, name: str) -> dict[str, Any]:
        points: dict[str, Any] = {}
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.data.data_points if metric.name == f"intent_events.{name}" else ():
                    attributes = point.attributes or {}
                    label = ":".join(
                        str(attributes[key]) for key in ("intent.delivery", "error.type") if key in attributes
                    )
                    points[label] = point
        return points

    def close(self) -> None:
        """Shut everything down."""
        self.provider.shutdown()
        self.meter_provider.shutdown()


def _value(point: Any) -> float:
    return point.count if isinstance(point, HistogramDataPoint) else point.value


@contextmanager
def kept(dsn: str | None, folder: Path, **settings: Any) -> Generator[Kept]:
    """A processor for this database, with a recorder of this process that records through it."""
    opened = Kept(dsn, folder, **settings)
    record_through(opened.provider)
    try:
        yield opened
    finally:
        set_recorder(None)
        opened.close()


@record_utterance
def handle(utterance: str) -> IntentTrace:
    """Handle one utterance."""
    trace = current_trace()
    trace.outcome = "matched" if utterance else "no_match"
    return trace


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Log lines of ours."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("intent_events")]


# What a trace says of its record.


async def test_durable_at_once_and_committed_once_postgres_is_back(own_server: EmbeddedPostgres, folder: Path) -> None:
    """Right after the handler the record is durable although Postgres is down; whoever waits learns of the commit."""
    own_server.stop_server()
    with kept(own_server.dsn(user="writer"), folder) as opened:
        trace = handle("one")
        assert trace.telemetry_persisted
        assert not trace.telemetry_committed
        assert not await trace.committed(0.3)
        assert not trace.wait_committed(0.01)
        assert not opened.processor.force_flush(300), "it says so when not everything is stored"
        assert totals(folder).bytes > 0
        waited: list[bool] = []
        waiter = threading.Thread(target=lambda: waited.append(trace.wait_committed(60.0)))
        waiter.start()
        own_server.start_server()
        assert await trace.committed(60.0)
        waiter.join()
        assert waited == [True]
        assert trace.telemetry_persisted
        assert trace.telemetry_committed
        assert opened.processor.force_flush()
        assert opened.spool.waiting()[:2] == (0, 0)
    assert await Database(own_server.dsn()).fetchval(f"{COUNT} WHERE event_id = $1", trace.event_id) == 1


async def test_replies_and_outcomes(pg: Database, writer_dsn: str, folder: Path) -> None:
    """What follows an utterance goes to its own tables, and refers to it."""
    with kept(writer_dsn, folder) as opened:
        trace = handle("one")
        record_reply(trace.event_id, "two")
        record_outcome(trace.event_id, "picked")
        assert opened.processor.force_flush()
        for table in ("chat_events", "intent_outcomes"):
            assert await pg.fetchval(f"SELECT intent_event_id FROM agent.{table}") == trace.event_id
        assert await pg.fetchval("SELECT service_name FROM agent.intent_events") == "tests"


def test_a_record_that_no_disk_takes(
    pg: Database, writer_dsn: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted with its reason, here and in the ledger, and said once; its trace is true, and nothing fails."""
    folder.parent.mkdir()
    folder.write_text("no folder")
    with kept(writer_dsn, folder) as opened:
        traces = [handle("one") for _ in range(3)]
        assert [trace.outcome for trace in traces] == ["matched"] * 3
        assert not any(trace.telemetry_persisted for trace in traces)
        assert opened.metric("processor.records") == {"spooled": 0, "dropped:spool_unwritable": 3}
    last = "SELECT dropped FROM agent.emitters ORDER BY beat DESC LIMIT 1"
    assert pg.fetchval_now(last) == '{"spool_unwritable": 3, "spool_unwritable 1-3": 0}'
    (line,) = said(caplog)
    assert "a record is dropped" in line
    assert "INTENT_EVENTS_SPOOL_DIR" in line


async def test_a_record_that_the_disk_takes_but_does_not_sync(
    pg: Database, writer_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not durable, as its trace says, but neither is it dropped: it is stored, and metrics and ledger agree."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with kept(writer_dsn, folder, spool_fsync="always") as opened:
        monkeypatch.setattr(os, "fdatasync", fail)
        traces = [handle("one") for _ in range(3)]
        assert not any(trace.telemetry_persisted for trace in traces)
        assert opened.processor.force_flush()
        assert all([await trace.committed(10.0) for trace in traces])
        assert opened.metric("processor.records") == {"spooled": 3}
        assert opened.metric("drain.records") == {"stored": 3, "duplicate": 0, "dead": 0}
    assert await pg.fetchval(COUNT) == 3
    assert await pg.fetchval("SELECT dropped FROM agent.emitters ORDER BY beat DESC LIMIT 1") == "{}"
    (line,) = said(caplog)
    assert "would not survive a loss of power" in line
    assert str(folder) in line
    assert "EIO" in line


# Metrics.


async def test_metrics_of_what_was_delivered(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Stored, duplicate, dead and unreadable add up to what was spooled."""
    await pg.execute("ALTER TABLE agent.intent_events ADD CHECK (actor_id <> 'poison')")
    with kept(writer_dsn, folder) as opened:
        views = [
            *(span_view(number) for number in (1, 2, 2, 3)),
            span_view(4, {semconv.ACTOR_ID: "poison"}),
            span_view(5)._replace(start_ns=START_NS * 167),
        ]
        assert all(opened.processor.accept(view) for view in views)
        opened.spool.append(b"of another age")
        assert opened.processor.force_flush()
        assert not opened.processor.accept(span_view(6, {semconv.RECORD: "of a later version"}))
        assert not opened.processor.accept(span_view(7, {semconv.ROOT: False}))
        assert opened.metric("processor.records") == {"spooled": 6}
        delivered = opened.metric("drain.records")
        assert delivered == {"stored": 3, "duplicate": 1, "dead": 2, "dropped:unreadable": 1}
        assert opened.metric("drain.retries") == opened.metric("drain.circuit") == {"": 0}
        for name in ("records", "size", "age", "torn"):
            assert opened.metric(f"spool.{name}") == {"": 0}
    assert await pg.fetchval(COUNT) == 3
    assert await pg.fetchval("SELECT count(*) FROM agent.dead_letters") == 2


def test_metrics_of_what_waits(folder: Path) -> None:
    """While Postgres is away they show what waits, that it was tried, and that the circuit is open."""
    with kept(NOWHERE, folder) as opened:
        for _ in range(3):
            handle("one")
        assert opened.metric("processor.records") == {"spooled": 3}
        assert opened.metric("spool.records") == {"": 3}
        assert opened.metric("spool.size")[""] == totals(folder).bytes
        until(lambda: opened.metric("drain.circuit") == {"": 2}, "the circuit is open")
        assert opened.metric("drain.retries")[""] >= 5
        assert opened.metric("drain.records") == {"stored": 0, "duplicate": 0, "dead": 0}
        assert opened.metric("spool.age")[""] > 0
        assert opened.metric("spool.records") == {"": 3}


def test_a_spool_that_is_full(folder: Path) -> None:
    """What goes beyond its size is counted, and not durable; what was there before is."""
    with kept(NOWHERE, folder, spool_max_bytes=4_000) as opened:
        traces = [handle("one") for _ in range(30)]
        durable = sum(trace.telemetry_persisted for trace in traces)
        assert 0 < durable < 30
        assert opened.metric("processor.records") == {"spooled": durable, "dropped:spool_full": 30 - durable}
        assert opened.metric("spool.records") == {"": durable}


# Nobody is hurt.


async def test_hostile_spans_hurt_nobody(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Whatever a span holds, its end does not raise, and the records beside it are stored."""
    with kept(writer_dsn, folder) as opened:
        good = [finished(100 + number, {semconv.ROOT: True}) for number in range(len(HOSTILE))]
        for pair in zip(good, HOSTILE, strict=True):
            for span in pair:
                opened.processor.on_end(cast("ReadableSpan", span))
        assert opened.processor.force_flush()
        stored = await pg.fetch("SELECT span_id FROM agent.intent_events")
        assert {f"{span.context.span_id:016x}" for span in good if span.context} <= {row[0] for row in stored}
        counted = opened.metric("processor.records")
        assert set(counted) <= {"spooled", "dropped:internal"}
        assert sum(opened.metric("drain.records").values()) == counted["spooled"]


async def test_strangers_are_passed_over(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Spans that are no records cost nothing: no file, no thread, no connection."""
    with kept(writer_dsn, folder) as opened:
        tracer = opened.provider.get_tracer("host")
        for _ in range(100):
            with tracer.start_as_current_span("GET", attributes={"http.route": "/chat"}):
                tracer.start_span("SELECT").end()
        assert totals(folder).owners == 0
        assert not [thread for thread in threading.enumerate() if thread.name == "intent-events-drain"]
        assert opened.processor.force_flush()
    assert await pg.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'intent-events'") == 0


def test_a_signal_handler_that_records(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A handler that interrupts the end of a span and records itself waits for nobody, and both are rows."""
    signalled = 0

    def on_signal(*_: object) -> None:
        nonlocal signalled
        signalled += 1
        contextvars.Context().run(handle, "in the signal")

    with kept(writer_dsn, folder) as opened:
        before = signal.signal(signal.SIGVTALRM, on_signal)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
        try:
            ended = 0
            while signalled < 100:
                handle("one")
                ended += 1
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        assert opened.processor.force_flush(60_000)
        assert opened.metric("processor.records") == {"spooled": ended + signalled}
    assert pg.fetchval_now(COUNT) == ended + signalled


class _Abandoned:
    """Holds a span that ends when the garbage collector finds it, as that of a stream which nobody finishes."""

    def __init__(self, span: Span, ended: list[bool]) -> None:
        self._itself = self
        self._span = span
        self._ended = ended

    def __del__(self) -> None:
        self._span.end()
        self._ended.append(True)


def test_spans_that_the_garbage_collector_ends(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A span may end wherever the collector runs, also within the end of another one: nobody waits, both are rows."""
    thresholds = gc.get_threshold()
    ended: list[bool] = []
    with kept(writer_dsn, folder) as opened:
        tracer = opened.provider.get_tracer("foreign")
        gc.set_threshold(20)
        try:
            for _ in range(300):
                _Abandoned(tracer.start_span("any name", attributes={semconv.ROOT: True}), ended)
                handle("two")
        finally:
            gc.set_threshold(*thresholds)
        # While another thread collects, as the drain may, this one's collection does nothing at all.
        until(lambda: gc.collect() >= 0 and len(ended) == 300, "the collector has ended every span")
        assert opened.processor.force_flush(60_000)
    assert pg.fetchval_now(COUNT) == 600


def test_many_threads_at_the_very_first_record(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """They start one drain between them, and each of their records is a row."""
    for number in range(10):
        with kept(writer_dsn, tmp_path / str(number)) as opened:
            together = threading.Barrier(8)

            def say(together: threading.Barrier = together) -> None:
                together.wait()
                for _ in range(5):
                    handle("one")

            threads = [threading.Thread(target=say) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            drains = [thread for thread in threading.enumerate() if thread.name == "intent-events-drain"]
            assert len(drains) == 1
            assert opened.processor.force_flush()
            assert opened.metric("drain.records") == {"stored": 40, "duplicate": 0, "dead": 0}
    assert pg.fetchval_now(COUNT) == 400


def test_bad_settings(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Variables that cannot be used are named in one line, without their values, and the defaults are taken."""
    monkeypatch.setenv("INTENT_EVENTS_FLUSH_INTERVAL", "soonish")
    monkeypatch.setenv("INTENT_EVENTS_CONNECTIONS", "4711")
    processors = [IntentEventsSpanProcessor(NOWHERE, folder) for _ in range(2)]
    (line,) = said(caplog)
    assert "INTENT_EVENTS_FLUSH_INTERVAL" in line
    assert "INTENT_EVENTS_CONNECTIONS" in line
    assert "soonish" not in line
    assert "4711" not in line
    for processor in processors:
        defaults = DeliverySettings(spool_dir=processor.settings.spool_dir)
        assert processor.settings == defaults
        processor.shutdown()


def test_a_folder_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """A spool whose folder is no folder is none to adopt from; making a processor does not raise."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "nowhere"):
        processor = IntentEventsSpanProcessor(NOWHERE, folder)
        assert processor.force_flush()
        processor.shutdown()
