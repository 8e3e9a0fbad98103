# SPDX-License-Identifier: Apache-2.0
"""Records of which no span is recording take the direct way: the same record, with ids of its own."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    NoOpTracerProvider,
    Span,
    SpanContext,
    TraceFlags,
)
from opentelemetry.trace import (
    TracerProvider as ApiProvider,
)

from intent_events import record_outcome, record_reply, record_utterance, recording, stage
from intent_events.delivery import persist
from intent_events.identity import event_id_of, milliseconds_in
from intent_events.instrument.current import make_recorder, set_recorder
from intent_events.instrument.direct import Unspanned, direct_way, set_direct_way
from intent_events.instrument.recorder import EMITTER
from intent_events.rows import IntentEventRow, Rejection, Row, row_of
from intent_events.select import select
from intent_events.semconv import EMITTER_SEQ, EVENT_ID, Record
from intent_events.spans import SpanView
from intent_events_exporter.convert import view_of
from unit.traced import SAID, SETTINGS, TROUBLES, UTTERANCE, Traced, traced_by


class Way:
    """A direct way that keeps what it is given.

    Attributes:
        spans: what it was given.
        rescued: how many of these were spans of the SDK.
        met: how often it was told that there is an SDK.
    """

    def __init__(self) -> None:
        self.spans: list[SpanView] = []
        self.rescued = 0
        self.met = 0

    def accept(self, span: SpanView) -> bool:
        """Keep it."""
        self.spans.append(span)
        return True

    def rescue(self, span: Span) -> bool:
        """Keep it."""
        assert isinstance(span, ReadableSpan)
        self.rescued += 1
        return self.accept(view_of(span))

    def meet_sdk(self) -> None:
        """Count it."""
        self.met += 1

    @property
    def rows(self) -> list[Row]:
        """Rows of what was kept."""
        rows: list[Row] = []
        for span in self.spans:
            record = select(span)
            assert isinstance(record, Record)
            row = row_of(span, record)
            assert not isinstance(row, Rejection)
            rows.append(row)
        return rows


@pytest.fixture
def way() -> Iterator[Way]:
    """The direct way of this process."""
    TROUBLES.clear()
    way = Way()
    set_direct_way(way)
    assert direct_way() is way
    yield way
    set_direct_way(None)
    set_recorder(None)


def record_with(provider: ApiProvider) -> None:
    """Let the recorder of this process make its spans with this provider."""
    set_recorder(make_recorder(SETTINGS, tracer_provider=provider))


PROVIDERS = {
    "no-op": NoOpTracerProvider(),
    "dropping": TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False),
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_utterance_and_what_follows_it(way: Way, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each is one record with the next number; stages and nested calls are none, and nothing is complained of."""
    record_with(PROVIDERS[name])
    before = EMITTER.emitted
    with recording(UTTERANCE, session_id="s") as trace, stage("discover"), recording(UTTERANCE):
        trace.outcome = "matched"
    record_reply(trace.event_id, UTTERANCE)
    record_outcome(trace.event_id, "picked")
    utterance, reply, outcome = way.rows
    assert isinstance(utterance, IntentEventRow)
    assert (utterance.event_id, utterance.outcome) == (trace.event_id, "matched")
    assert [row.emitter_seq for row in (utterance, reply, outcome)] == [before + 1, before + 2, before + 3]
    assert {row.emitter_id for row in (utterance, reply, outcome)} == {UUID(EMITTER.emitter_id)}
    assert len({row.event_id for row in (utterance, reply, outcome)}) == 3
    assert (utterance.duration_ms or 0) >= 0
    assert not utterance.trace_sampled
    assert not [word for word in SAID if word in repr(way.spans)]
    assert not caplog.records
    assert way.met == 0, "nothing records, so there is no SDK to meet"


@pytest.mark.parametrize("sampled", [True, False])
def test_many_under_one_remote_parent(way: Way, sampled: bool) -> None:  # noqa: FBT001 - a table of cases
    """They share its trace, and each has a span id and an event id of its own."""
    record_with(NoOpTracerProvider())
    parent = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(sampled))
    with trace_api.use_span(NonRecordingSpan(parent)):
        for _ in range(200):
            with recording(UTTERANCE):
                pass
    rows = way.rows
    assert {row.trace_id for row in rows} == {f"{7:032x}"}
    assert {span.sampled for span in way.spans} == {sampled}
    assert len({row.event_id for row in rows}) == len({row.span_id for row in rows}) == 200
    assert f"{8:016x}" not in {row.span_id for row in rows}


def test_without_a_parent_each_has_a_trace_of_its_own(way: Way) -> None:
    """Nothing says that they belong together."""
    record_with(NoOpTracerProvider())
    for _ in range(50):
        with recording(UTTERANCE):
            pass
    assert len({row.trace_id for row in way.rows}) == 50


def test_a_failure_is_recorded_and_raised(way: Way) -> None:
    """The exception goes through, and the record has its type."""
    record_with(NoOpTracerProvider())

    @record_utterance
    def fail(utterance: str) -> None:
        raise KeyError(utterance)

    with pytest.raises(KeyError):
        fail(UTTERANCE)
    (row,) = way.rows
    assert isinstance(row, IntentEventRow)
    assert (row.outcome, row.error_code) == ("error", "KeyError")


def test_spans_that_record_go_the_way_of_the_sdk(way: Way) -> None:
    """With an SDK nothing goes the direct way, which is told that there is one."""
    with traced_by(Traced()) as traced:
        with recording(UTTERANCE) as trace:
            pass
        record_reply(trace.event_id, "hello")
        assert way.spans == []
        assert way.met == 2
        assert len(traced.records()) == 2


@pytest.mark.parametrize("another", [False, True])
def test_a_way_that_closes_meanwhile(way: Way, another: bool) -> None:  # noqa: FBT001 - a table of cases
    """An utterance that is open then takes the way that is there at its end, or else the one that it began with."""
    record_with(NoOpTracerProvider())
    next_way = Way() if another else None
    before = EMITTER.emitted
    with recording(UTTERANCE) as trace:
        set_direct_way(next_way)
    (row,) = (next_way or way).rows
    assert (row.event_id, row.emitter_seq) == (trace.event_id, before + 1)
    assert len(way.spans) + (len(next_way.spans) if next_way else 0) == 1


@pytest.mark.parametrize("another", [False, True])
def test_a_delivery_that_leaves_the_sdk_meanwhile(way: Way, another: bool) -> None:  # noqa: FBT001 - a table of cases
    """The span of an utterance that is open then goes the direct way, unless a processor has kept it already."""
    next_way = Way() if another else None
    with traced_by(Traced()):
        with recording(UTTERANCE) as trace:
            set_direct_way(next_way)
        (row,) = (next_way or way).rows
        assert row.event_id == trace.event_id
        set_direct_way(way)
    with traced_by(Traced(processors=[Keeping()])):
        with recording(UTTERANCE):
            set_direct_way(next_way)
        assert way.rescued + (next_way.rescued if next_way else 0) == 1, "what is durable is handed over to nobody"


def test_a_delivery_that_comes_meanwhile(way: Way) -> None:
    """It does not ask for the spans of utterances that began before it."""
    set_direct_way(None)
    with traced_by(Traced()), recording(UTTERANCE):
        set_direct_way(way)
    assert way.spans == []


class Keeping(SpanProcessor):
    """Says that each utterance is durable."""

    def on_end(self, span: ReadableSpan) -> None:
        """Say so."""
        persist(str((span.attributes or {}).get(EVENT_ID)))


class Raising(SpanProcessor):
    """A processor of the host's that fails."""

    def on_end(self, span: ReadableSpan) -> None:
        """Fail."""
        raise ValueError(span.name)


def test_a_processor_that_raises(way: Way) -> None:
    """What those behind it have not seen goes the direct way, and the host does not hear of it."""
    with traced_by(Traced(processors=[Raising()])) as traced:
        with recording(UTTERANCE) as trace, stage("discover"), recording(UTTERANCE):
            pass
        record_reply(trace.event_id, UTTERANCE)
        record_outcome(trace.event_id, "picked")
        assert traced.spans == [], "those behind it see nothing"
    assert [type(row).__name__ for row in way.rows] == ["IntentEventRow", "ChatEventRow", "IntentOutcomeRow"]
    assert way.rows[0].event_id == trace.event_id
    assert way.rescued == 3


def test_a_processor_that_raises_behind_ours(way: Way) -> None:
    """What is durable already is not handed over again."""
    with traced_by(Traced(processors=[Keeping(), Raising()])), recording(UTTERANCE):
        pass
    assert way.spans == []


def test_a_processor_that_raises_where_nothing_is_delivered() -> None:
    """The host does not hear of it."""
    with traced_by(Traced(processors=[Raising()])):
        with recording(UTTERANCE) as trace:
            pass
        record_outcome(trace.event_id, "picked")
    assert not trace.telemetry_persisted


def test_a_rescue_that_fails_reaches_nobody(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the way raise against its promise, the host does not hear of it."""

    def fail(*_: Any) -> bool:
        raise RuntimeError

    monkeypatch.setattr(Way, "rescue", fail)
    with traced_by(Traced(processors=[Raising()])):
        with recording(UTTERANCE) as trace:
            pass
        record_outcome(trace.event_id, "picked")
    assert way.spans == []


def test_follow_ups_that_nobody_takes_have_no_number(caplog: pytest.LogCaptureFixture) -> None:
    """Where neither a span records nor a way is open, the numbers of this process have no gap for it."""
    record_with(NoOpTracerProvider())
    before = EMITTER.emitted
    record_reply(UUID(int=1), "hello")
    record_outcome(UUID(int=1), "picked")
    set_recorder(None)
    assert EMITTER.emitted == before
    assert not caplog.records


def test_a_way_that_fails_reaches_nobody(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the way raise against its promise, the host does not hear of it."""

    def fail(*_: Any) -> bool:
        raise RuntimeError

    monkeypatch.setattr(Way, "accept", fail)
    record_with(NoOpTracerProvider())
    with recording(UTTERANCE):
        pass
    record_outcome(UUID(int=1), "picked")
    assert way.spans == []


def test_threads_have_numbers_of_their_own(way: Way) -> None:
    """No number is given twice, and none is left out."""
    record_with(NoOpTracerProvider())
    before = EMITTER.emitted

    def say() -> None:
        for _ in range(50):
            with recording(UTTERANCE) as trace:
                pass
            record_outcome(trace.event_id, "picked")

    threads = [threading.Thread(target=say) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(span.attributes[EMITTER_SEQ] for span in way.spans)
    assert numbers == list(range(before + 1, before + 401))


@given(
    st.integers(0, (1 << 128) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 255),
    st.integers(0, (1 << 62) - 1),
)
def test_what_stands_for_a_span(trace_id: int, span_id: int, flags: int, start_ns: int) -> None:
    """The trace is the span's, where it has one; the span id never is; the key follows from all three."""
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    stands = Unspanned.of(NonRecordingSpan(context), start_ns)
    assert stands.trace_id == trace_id or not trace_id
    assert 0 < stands.trace_id < 1 << 128
    assert 0 < stands.span_id < 1 << 64
    assert stands.sampled == bool(flags & 1)
    assert stands.event_id == event_id_of(stands.trace_id, stands.span_id, start_ns)
    assert milliseconds_in(stands.event_id) == start_ns // 1_000_000
    assert stands.view({}).start_ns == start_ns


def test_nothing_stands_for_nothing() -> None:
    """Without any span in sight two records have nothing in common."""
    one, other = (Unspanned.of(INVALID_SPAN, 5) for _ in range(2))
    assert one.trace_id != other.trace_id
    assert one.event_id != other.event_id
