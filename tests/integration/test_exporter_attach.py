# SPDX-License-Identifier: Apache-2.0
"""The instrumentor attaches the durable delivery by itself: at any SDK, at none, and without touching its sampling."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

from intent_events import (
    IntentEventsInstrumentor,
    IntentTrace,
    current_trace,
    record_utterance,
    semconv,
)
from intent_events.instrument import troubles, undelivered
from intent_events.instrument.direct import direct_way
from intent_events_exporter import IntentEventsSpanExporter
from support.hosts import Notes, accounted, all_stored, told_by
from support.postgres import Database
from support.processes import run_app
from support.records import HASH_KEY, Door
from support.waiting import until

_COUNT: Final = "SELECT count(*) FROM agent.intent_events"
_OURS: Final = "intent-events-drain"


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


SETUP: Final = """
import json
import sys
from time import perf_counter_ns
from opentelemetry import trace as api
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, SpanContext, TraceFlags
from intent_events import IntentEventsInstrumentor, current_trace, record_outcome, record_reply, record_utterance

@record_utterance
def handle(utterance):
    trace = current_trace()
    trace.outcome = "matched"
    return trace

def say():
    began = perf_counter_ns()
    trace = handle("one")
    costs_ns.append(perf_counter_ns() - began)
    record_reply(trace.event_id, "two")
    record_outcome(trace.event_id, "picked")
    events.append((str(trace.event_id), trace.telemetry_persisted))

events, costs_ns = [], []
"""
REPORT: Final = "\nprint(json.dumps([events, costs_ns]))\n"
REMOTE: Final = """
for number in range(50):
    parent = SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(0))
    with api.use_span(NonRecordingSpan(parent)):
        say()
"""
NO_SDK: Final = {
    "none": "IntentEventsInstrumentor().instrument()\nsay()\n" + REMOTE,
    "no-op": "api.set_tracer_provider(NoOpTracerProvider())\nIntentEventsInstrumentor().instrument()\nsay()\n" + REMOTE,
    "disabled": "import os\nos.environ['OTEL_SDK_DISABLED'] = 'true'\n"
    "from opentelemetry.sdk.trace import TracerProvider\napi.set_tracer_provider(TracerProvider())\n"
    "IntentEventsInstrumentor().instrument()\nsay()\n" + REMOTE,
    "given no-op": "IntentEventsInstrumentor().instrument(tracer_provider=NoOpTracerProvider())\nsay()\n" + REMOTE,
    "late": "IntentEventsInstrumentor().instrument()\nsay()\n"
    "from opentelemetry.sdk.trace import TracerProvider\n"
    "from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased\n"
    "api.set_tracer_provider(TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.5))))\n"
    "for _ in range(20):\n    say()\n" + REMOTE,
}


@pytest.mark.parametrize("kind", NO_SDK)
async def test_without_an_sdk_rows_are_written_all_the_same(pg: Database, writer_dsn: str, kind: str) -> None:
    """No SDK, one that is disabled, and one that comes later: each record is a row by the end of the process."""
    ran = run_app(
        *("-c", SETUP + NO_SDK[kind] + REPORT),
        env={"INTENT_EVENTS_DSN": writer_dsn, "INTENT_EVENTS_HASH_KEY": HASH_KEY},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    said, costs_ns = json.loads(ran.stdout)
    notes = Notes(dict(said), costs_ns)
    events = sorted(notes.durable)
    assert len(events) == len(said) > 50
    assert accounted(pg, notes) == all_stored(len(events))
    rows = await pg.fetch("SELECT trace_id, span_id, emitter_seq FROM agent.intent_events")
    assert len({row["span_id"] for row in rows}) == len(events), "a remote parent's own id is nobody else's"
    assert sum(row["trace_id"] == f"{7:032x}" for row in rows) == 50
    for table in ("chat_events", "intent_outcomes"):
        answered = await pg.fetch(f"SELECT intent_event_id::text, emitter_seq FROM agent.{table}")
        assert sorted(row[0] for row in answered) == events
        rows += answered
    assert sorted(row["emitter_seq"] for row in rows) == list(range(1, 3 * len(events) + 1))


async def test_two_threads_that_meet_the_sdk_at_once_attach_once(
    pg: Database, writer_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first attaches the processor; nobody attaches a second one."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    door = Door(None, timeout_s=1.0)
    adding = threading.Barrier(2, timeout=5)
    slow = door.provider.add_span_processor

    class Late(NoOpTracerProvider):
        """No SDK yet; later one that takes its time."""

        ready = False

        def __getattr__(self, name: str) -> Any:
            if not self.ready or name == "_span_limits":
                raise AttributeError(name)
            return getattr(door.provider, name)

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return door.provider.get_tracer(*args, **kwargs)

        @property
        def add_span_processor(self) -> Any:
            if not self.ready:
                raise AttributeError
            with_luck = adding.n_waiting < 2
            if with_luck:
                with suppress(threading.BrokenBarrierError):  # the other one was kept out before it came here
                    adding.wait(1.0)
            return slow

    late = Late()
    IntentEventsInstrumentor().instrument(tracer_provider=late, meter_provider=door.meter_provider)
    late.ready = True
    threads = [threading.Thread(target=handle, args=("one",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    IntentEventsInstrumentor().uninstrument()
    door.close()
    assert await pg.fetchval(_COUNT) == 2
    assert await pg.fetchval("SELECT sum(duplicates) FROM agent.emitters") == 0


@pytest.mark.parametrize("provider_has", ["no door", "a broken door"])
def test_a_provider_of_another_make(
    writer_dsn: str,
    provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    provider_has: str,
) -> None:
    """A provider whose spans record, but that takes no processor: one line says so, handlers run; it can be undone."""

    class Foreign(NoOpTracerProvider):
        """Makes spans of its own."""

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return provider.get_tracer(*args, **kwargs)

    class Broken(Foreign):
        """Cannot be extended."""

        def add_span_processor(self, _processor: Any) -> None:
            raise RuntimeError("no")

    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    foreign = Foreign() if provider_has == "no door" else Broken()
    IntentEventsInstrumentor().instrument(tracer_provider=foreign)
    traces = [handle("one") for _ in range(3)]
    assert [trace.outcome for trace in traces] == ["matched"] * 3
    assert not any(trace.telemetry_persisted for trace in traces)
    (line,) = said(caplog)
    assert "a tracer provider that takes no span processor" in line
    IntentEventsInstrumentor().uninstrument()
    assert direct_way() is None, "nothing of it is left for whoever instruments next"


async def test_without_targets_delivery_alone_is_attached(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an address, instrument() without targets wraps nothing and delivers; uninstrument() stores and detaches."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    trace = handle("one")
    assert trace.telemetry_persisted, "it is durable once the handler has returned"
    IntentEventsInstrumentor().uninstrument()
    assert trace.telemetry_committed, "what was recorded before is delivered"
    assert not [thread for thread in threading.enumerate() if thread.name == _OURS]
    assert await pg.fetchval(_COUNT) == 1


async def test_the_address_in_a_file(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """INTENT_EVENTS_DSN_FILE attaches delivery as INTENT_EVENTS_DSN does; a file that comes later is found."""
    file = tmp_path / "dsn"
    monkeypatch.setenv("INTENT_EVENTS_DSN_FILE", str(file))
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    trace = handle("one")
    assert trace.telemetry_persisted
    assert not await trace.committed(0.5)
    file.write_text(f"{writer_dsn}\n")
    assert await trace.committed(60.0), "no further record is needed for it"
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
    with caplog.at_level(logging.ERROR, "intent_events"):
        for _ in range(2):
            IntentEventsInstrumentor().instrument(tracer_provider=provider)
    handle("one")
    IntentEventsInstrumentor().uninstrument()
    assert await pg.fetchval("SELECT stored + duplicates FROM agent.emitters ORDER BY beat DESC LIMIT 1") == 1
    assert await pg.fetchval(_COUNT) == 1


async def test_instrument_again_after_uninstrument(
    pg: Database,
    writer_dsn: str,
    provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was detached can be attached again; the processor that the SDK still has keeps quiet."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    for _ in range(2):
        IntentEventsInstrumentor().instrument(tracer_provider=provider)
        handle("one")
        IntentEventsInstrumentor().uninstrument()
        provider.get_tracer("foreign").start_span("between", attributes={semconv.ROOT: True}).end()
    assert await pg.fetchval(_COUNT) == 2
    assert said(caplog) == []


@pytest.mark.parametrize("listed", ["intent_events", "otlp,intent_events", "otlp, intent_events ,console"])
def test_two_doors_give_one_row(pg: Database, writer_dsn: str, monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    """Where OTEL_TRACES_EXPORTER names intent_events the SDK has an exporter too, and each row is there once."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", listed)
    door = Door(None, timeout_s=10.0)
    IntentEventsInstrumentor().instrument(tracer_provider=door.provider)
    traces: list[IntentTrace] = []
    costs_ns: list[int] = []
    for _ in range(20):
        began = perf_counter_ns()
        traces.append(handle("one"))
        costs_ns.append(perf_counter_ns() - began)
    durable = {str(trace.event_id): trace.telemetry_persisted for trace in traces}
    IntentEventsInstrumentor().uninstrument()
    door.close()
    assert all(trace.telemetry_committed for trace in traces)
    by_exporter = {f"exporter.records:{what}": n for what, n in door.counted().items()}
    assert sum(by_exporter.values()) == 20
    found = accounted(pg, Notes(durable, costs_ns, {"exporter": told_by(by_exporter)}))
    assert found == all_stored(20, duplicate=20), "what both doors have handed in are forty records"


def test_without_an_address_nothing_is_attached(
    provider: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without INTENT_EVENTS_DSN the host's own exporters get the spans, and one line says that there are no rows."""
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setenv("INTENT_EVENTS_DSN", "")
    monkeypatch.setattr(undelivered, "_has_door", threading.Event())
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    assert not handle("one").telemetry_persisted
    assert len(memory.get_finished_spans()) == 1
    (line,) = said(caplog)
    assert "this process stores no rows: set INTENT_EVENTS_DSN" in line


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("INTENT_EVENTS_DSN_FILE", "/nowhere/at/all", "INTENT_EVENTS_DSN_FILE names /nowhere/at/all"),
        ("INTENT_EVENTS_DSN", "mysql://u:hunter2-secret@127.0.0.1/x", "INTENT_EVENTS_DSN is no postgresql:// address"),
        ("INTENT_EVENTS_DSN", "postgresql://u:hunter2-secret@127.0.0.1:port/x", "INTENT_EVENTS_DSN has an @"),
        ("INTENT_EVENTS_DSN", "postgresql://u:hunter2-secret@127.0.0.1:1/x", "no connection to"),
    ],
)
def test_an_address_that_cannot_be_used_keeps_the_host_running(
    provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    value: str,
    says: str,
) -> None:
    """It is said in one line without the password; handlers run, and their records wait in the spool."""
    monkeypatch.setenv(variable, value)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    traces = [handle("one") for _ in range(3)]
    until(lambda: said(caplog), "it is said")
    traces.append(handle("two"))
    IntentEventsInstrumentor().uninstrument()
    assert all(trace.outcome == "matched" and trace.telemetry_persisted for trace in traces)
    (line,) = said(caplog)
    assert says in line
    assert "hunter2" not in line


async def test_other_spans_cost_no_record_its_place(
    pg: Database, writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of the host's spans between two utterances cost no record its place."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("host")
    handle("one")
    for _ in range(2000):
        tracer.start_span("SELECT").end()
    handle("two")
    IntentEventsInstrumentor().uninstrument()
    assert await pg.fetchval(_COUNT) == 2


async def test_a_shut_down_provider_has_delivered(
    pg: Database,
    writer_dsn: str,
    provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The host's own shutdown stores what waits; uninstrumenting afterwards is harmless."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    handle("one")
    assert provider.force_flush()
    assert await pg.fetchval(_COUNT) == 1
    handle("two")
    provider.shutdown()
    assert await pg.fetchval(_COUNT) == 2
    IntentEventsInstrumentor().uninstrument()
    assert said(caplog) == []


async def test_nothing_to_do_on_a_running_loop(
    own_dsn_that_nobody_answers: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that recorded nothing is detached at once, within its event loop, and asks nobody."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", own_dsn_that_nobody_answers)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    IntentEventsInstrumentor().uninstrument()
    assert not [thread for thread in threading.enumerate() if thread.name == _OURS]


@pytest.fixture
def own_dsn_that_nobody_answers() -> Iterator[str]:
    """Address of a socket that takes connections and fails the test when there was one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_entry_point_of_the_sdk_makes_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_EXPORTER=intent_events finds a class that needs no arguments."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", "postgresql://127.0.0.1:1/nowhere")
    (point,) = entry_points(group="opentelemetry_traces_exporter", name="intent_events")
    assert point.load() is IntentEventsSpanExporter
    point.load()().shutdown()
