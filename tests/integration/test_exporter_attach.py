# SPDX-License-Identifier: Apache-2.0
"""The instrumentor attaches the delivery of records by itself, once, and takes it away again."""

import logging
import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

from intent_events import IntentEventsInstrumentor, IntentTrace, current_trace, record_utterance
from intent_events.instrument import troubles
from intent_events_exporter import IntentEventsSpanExporter
from support.postgres import Database
from support.records import HASH_KEY, Door

_COUNT: Final = "SELECT count(*) FROM agent.intent_events"
_OURS: Final = "intent-events-exporter"


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings and log lines as in a process that has just begun; uninstrumented afterwards."""
    monkeypatch.setattr(troubles, "_last", {})
    monkeypatch.setenv("INTENT_EVENTS_HASH_KEY", HASH_KEY)
    yield
    if IntentEventsInstrumentor().is_instrumented_by_opentelemetry:
        IntentEventsInstrumentor().uninstrument()


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """An SDK's tracer provider."""
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()


@record_utterance
def handle(utterance: str) -> IntentTrace:
    """Handle one utterance."""
    trace = current_trace()
    trace.outcome = "matched" if utterance else "no_match"
    return trace


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Log lines of ours."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("intent_events")]


async def test_without_targets_delivery_alone_is_attached(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an address, instrument() without targets wraps nothing and delivers; uninstrument() flushes and detaches."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    trace = handle("one")
    assert not trace.telemetry_committed
    IntentEventsInstrumentor().uninstrument()
    assert trace.telemetry_committed, "what was recorded before is delivered"
    assert not [thread for thread in threading.enumerate() if thread.name == _OURS]
    assert await pg.fetchval(_COUNT) == 1


async def test_instrument_twice_attaches_once(
    pg: Database,
    writer_dsn: str,
    provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A second instrument() adds no second door."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    door = Door(None, timeout_s=1.0)
    with caplog.at_level(logging.ERROR, "intent_events"):
        for _ in range(2):
            IntentEventsInstrumentor().instrument(tracer_provider=provider, meter_provider=door.meter_provider)
    handle("one")
    IntentEventsInstrumentor().uninstrument()
    assert door.counted() == {"stored": 1}
    door.close()
    assert await pg.fetchval(_COUNT) == 1


async def test_instrument_again_after_uninstrument(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was detached can be attached again; between the two nothing is delivered."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    for _ in range(2):
        IntentEventsInstrumentor().instrument(tracer_provider=provider)
        handle("one")
        IntentEventsInstrumentor().uninstrument()
    assert await pg.fetchval(_COUNT) == 2


@pytest.mark.parametrize("listed", ["intent_events", "otlp,intent_events", "otlp, intent_events ,console"])
async def test_the_sdks_own_exporter_is_not_doubled(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    """Where OTEL_TRACES_EXPORTER names intent_events, the SDK has made the exporter, and nothing is attached."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", listed)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    trace = handle("one")
    IntentEventsInstrumentor().uninstrument()
    assert not trace.telemetry_committed
    assert await pg.fetchval(_COUNT) == 0


def test_without_an_address_nothing_is_attached(
    provider: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without INTENT_EVENTS_DSN the host's own exporters get the spans, and nobody complains of a choice."""
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setenv("INTENT_EVENTS_DSN", "")
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    handle("one")
    assert len(memory.get_finished_spans()) == 1
    assert not said(caplog)


def test_without_an_sdk_one_line_says_so(
    writer_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With an address but no SDK there is nothing to deliver from: one warning, and the handler runs."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    for _ in range(2):
        IntentEventsInstrumentor().instrument(tracer_provider=NoOpTracerProvider())
        trace = handle("one")
        IntentEventsInstrumentor().uninstrument()
        assert trace.outcome == "matched"
        assert not trace.telemetry_persisted
    assert len([line for line in said(caplog) if "no SDK tracer provider" in line]) == 1


def test_an_address_that_cannot_be_used_keeps_the_host_running(
    provider: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be read is said, and the handler is recorded and runs all the same."""
    monkeypatch.setenv("INTENT_EVENTS_DSN_FILE", "/nowhere/at/all")
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    assert handle("one").outcome == "matched"
    assert len(said(caplog)) == 1
    assert "INTENT_EVENTS_DSN_FILE names /nowhere/at/all" in said(caplog)[0]


async def test_other_spans_do_not_fill_the_queue_of_records(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of the host's spans between two utterances cost no record its place."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("host")
    handle("one")
    for _ in range(2000):
        tracer.start_span("SELECT").end()
    handle("two")
    IntentEventsInstrumentor().uninstrument()
    assert await pg.fetchval(_COUNT) == 2


async def test_a_shut_down_provider_has_delivered(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's own shutdown delivers what is queued; uninstrumenting afterwards is harmless."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    handle("one")
    assert provider.force_flush()
    assert await pg.fetchval(_COUNT) == 1
    handle("two")
    provider.shutdown()
    assert await pg.fetchval(_COUNT) == 2
    IntentEventsInstrumentor().uninstrument()


def test_the_entry_point_of_the_sdk_makes_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_EXPORTER=intent_events finds a class that needs no arguments."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", "postgresql://127.0.0.1:1/nowhere")
    (point,) = entry_points(group="opentelemetry_traces_exporter", name="intent_events")
    assert point.load() is IntentEventsSpanExporter
    point.load()().shutdown()
