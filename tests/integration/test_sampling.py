# SPDX-License-Identifier: Apache-2.0
"""At any sampling each utterance is a row, and the backend gets the spans that it got without us."""

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer

from intent_events import (
    IntentEventsInstrumentor,
    IntentTrace,
    current_trace,
    record_outcome,
    record_reply,
    record_utterance,
    stage,
)
from support.hosts import Notes, accounted, all_stored
from support.postgres import Database
from support.records import HASH_KEY


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings as in a process that has just begun; uninstrumented afterwards."""
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


class _Seeded(IdGenerator):
    """The same ids in each run."""

    def __init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311 - a test's choice

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) | 1

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) | 1


class _ByName(Sampler):
    """Decides by the route that a span is named after, whatever its parent is; other spans are kept."""

    def __init__(self, decision: Decision, name: str) -> None:
        self._decision = decision
        self._name = name

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any) -> SamplingResult:
        parent = trace_api.get_current_span(parent_context).get_span_context()
        is_local = parent.is_valid and not parent.is_remote
        kept = parent.trace_flags.sampled if is_local else bool(trace_id % 2)
        other = Decision.RECORD_AND_SAMPLE if kept else Decision.DROP
        return SamplingResult(self._decision if self._name in name else other)

    def get_description(self) -> str:
        return "by name"


SAMPLERS: Final[dict[str, Sampler]] = {
    "off": ALWAYS_OFF,
    "on": ALWAYS_ON,
    "ratio": TraceIdRatioBased(0.1),
    "parent, ratio": ParentBased(TraceIdRatioBased(0.1)),
    "parent, off": ParentBased(ALWAYS_OFF),
    "parent, on": ParentBased(ALWAYS_ON),
    "route": _ByName(Decision.DROP, "/health"),
    "record only": _ByName(Decision.RECORD_ONLY, "handle_utterance"),
}

ROUNDS: Final = 48


class _Ended(SpanProcessor):
    """Every span that was recorded, sampled or not."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@record_utterance
def nest(utterance: str, tracer: Tracer, depth: int = 1) -> IntentTrace:
    """A handler with a stage, with spans of other tracers, and with itself within itself."""
    trace = current_trace()
    trace.outcome = "matched"
    with stage("discover"), tracer.start_as_current_span("SELECT"):
        if depth:
            nest(utterance, tracer, depth - 1)
    return trace


def around(number: int, tracer: Tracer) -> AbstractContextManager[Any]:
    """What is current when an utterance comes: nothing, a remote parent that is sampled or not, a local one."""
    match number % 4:
        case 0:
            return nullcontext()
        case 1 | 2:
            flags = TraceFlags(number % 4 - 1)
            remote = SpanContext(number + 1, number + 1, is_remote=True, trace_flags=flags)
            return trace_api.use_span(NonRecordingSpan(remote))
        case _:
            return tracer.start_as_current_span("/health" if number % 8 == 3 else "/chat")


class Traffic(NamedTuple):
    """What came of utterances of every kind.

    Attributes:
        exported: spans that a backend gets.
        recorded: all that were recorded, sampled or not.
        traces: what the handlers found.
        notes: event ids, whether each was durable, and what a handler took with all that it calls.
    """

    exported: list[ReadableSpan]
    recorded: list[ReadableSpan]
    traces: list[IntentTrace]
    notes: Notes


def traffic(sampler: Sampler) -> Traffic:
    """Handle utterances of every kind under a sampler."""
    provider = TracerProvider(sampler=sampler, id_generator=_Seeded(), shutdown_on_exit=False)
    memory, ended = InMemorySpanExporter(), _Ended()
    for processor in (SimpleSpanProcessor(memory), ended):
        provider.add_span_processor(processor)
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("host")
    traces: list[IntentTrace] = []
    costs_ns: list[int] = []
    for number in range(ROUNDS):
        with around(number, tracer):
            began = perf_counter_ns()
            traces.append(nest("one", tracer))
            costs_ns.append(perf_counter_ns() - began)
            record_reply(traces[-1].event_id, "two")
            record_outcome(traces[-1].event_id, "picked")
    IntentEventsInstrumentor().uninstrument()
    provider.shutdown()
    notes = Notes({str(trace.event_id): trace.telemetry_persisted for trace in traces}, costs_ns)
    return Traffic(list(memory.get_finished_spans()), ended.spans, traces, notes)


def shape(spans: Sequence[ReadableSpan]) -> list[tuple[Any, ...]]:
    """What a backend could tell two runs apart by."""
    return [(span.name, span.context, span.parent, sorted(span.attributes or ())) for span in spans]


@pytest.mark.parametrize("name", SAMPLERS)
async def test_sampling_loses_no_row_and_is_not_changed(
    pg: Database, writer_dsn: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each utterance is a row that says whether its trace exists, and the backend gets the spans that it got before."""
    before, recorded_before, *_ = traffic(SAMPLERS[name])
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    exported, recorded, traces, notes = traffic(SAMPLERS[name])
    assert shape(exported) == shape(before)

    forced = {id_of(span) for span in recorded} - {id_of(span) for span in recorded_before}
    assert {span.name for span in recorded if id_of(span) in forced} <= {
        *("handle_utterance", "intent.reply", "intent.outcome")
    }, "neither nested calls nor stages are forced on"

    assert accounted(pg, notes) == all_stored(ROUNDS)
    rows = await pg.fetch("SELECT * FROM agent.intent_events")
    at_backend = {id_of(span)[1] for span in exported}
    for row in rows:
        assert row["trace_sampled"] == (row["span_id"] in at_backend)
    sampled = {row["trace_sampled"] for row in rows}
    assert sampled == {"off": {False}, "on": {True}, "record only": {False}}.get(name, {True, False})
    for table in ("chat_events", "intent_outcomes"):
        answered = await pg.fetch(f"SELECT intent_event_id FROM agent.{table}")
        assert sorted(row[0] for row in answered) == sorted(trace.event_id for trace in traces)


def id_of(span: ReadableSpan) -> tuple[str, str]:
    """Trace and span of a span."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_the_sampler_goes_with_us(writer_dsn: str, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninstrumenting gives our own tracer the sampler back that it had; other tracers were never touched."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", writer_dsn)
    ours, host = provider.get_tracer("intent_events"), provider.get_tracer("host")
    samplers = [getattr(tracer, "sampler", None) for tracer in (ours, host)]
    for _ in range(2):
        IntentEventsInstrumentor().instrument(tracer_provider=provider)
        IntentEventsInstrumentor().uninstrument()
    assert [getattr(tracer, "sampler", None) for tracer in (ours, host)] == samplers
