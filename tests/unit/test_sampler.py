# SPDX-License-Identifier: Apache-2.0
"""The sampler turns DROP into RECORD_ONLY for spans of records, and leaves every other decision alone."""

from collections.abc import Mapping
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import TraceState

from intent_events import record_outcome, record_reply, recording, stage
from intent_events.semconv import RECORD, ROOT, SPAN_NAME
from intent_events_exporter import IntentSampler
from unit.traced import UTTERANCE, Traced, traced_by

STATE = TraceState([("vendor", "7")])
DECISIONS = st.sampled_from(Decision)
VALUES = st.one_of(st.booleans(), st.text(), st.none(), st.integers())
ATTRIBUTES = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from([ROOT, RECORD, "http.route", "intent.outcome"]), VALUES),
)
NAMES = st.one_of(st.just(SPAN_NAME), st.just("intent.reply"), st.text())


class Asked(Sampler):
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, decision: Decision) -> None:
        self.result = SamplingResult(decision, {"sampler": "a"}, STATE)
        self.questions: list[tuple[Any, ...]] = []

    def should_sample(self, *question: Any, **_: Any) -> SamplingResult:
        """Answer."""
        self.questions.append(question)
        return self.result

    def get_description(self) -> str:
        """Say who it is."""
        return "asked"


def is_record(name: str, attributes: Mapping[str, Any] | None) -> bool:
    """What a record is, said in another way."""
    given = attributes or {}
    return RECORD in given or given.get(ROOT) is True or (given.get(ROOT) is None and name == SPAN_NAME)


@given(DECISIONS, NAMES, ATTRIBUTES, st.integers(1, (1 << 128) - 1))
def test_only_dropped_records_are_decided_anew(
    decision: Decision, name: str, attributes: dict[str, Any] | None, trace_id: int
) -> None:
    """The delegate is asked once with everything, and its answer is given unless it drops a record."""
    delegate = Asked(decision)
    result = IntentSampler(delegate).should_sample(None, trace_id, name, None, attributes, (), STATE)
    assert delegate.questions == [(None, trace_id, name, None, attributes, (), STATE)]
    if decision is Decision.DROP and is_record(name, attributes):
        assert result.decision is Decision.RECORD_ONLY
        assert not result.decision.is_sampled()
        assert result.trace_state is STATE, "what the delegate hands down the trace is kept"
        assert dict(cast("Any", result).attributes or {}) == (attributes or {})
    else:
        assert result is delegate.result


def test_description_and_delegate() -> None:
    """It says whom it asks."""
    delegate = ParentBased(ALWAYS_OFF)
    sampler = IntentSampler(delegate)
    assert sampler.delegate is delegate
    assert sampler.get_description() == f"IntentSampler{{{delegate.get_description()}}}"


def test_records_alone_are_recorded_under_a_sampler_that_drops_everything() -> None:
    """An utterance, its reply and its outcome record; a stage, a nested call and a host's span do not."""
    with traced_by(Traced(sampler=IntentSampler(ALWAYS_OFF))) as traced:
        names: dict[str, bool] = {}
        tracer = traced.recorder.tracer
        made = tracer.start_span

        def start_span(name: str, *args: Any, **kwargs: Any) -> Any:
            span = made(name, *args, **kwargs)
            names[f"{name} {len(names)}"] = span.is_recording()
            assert not span.get_span_context().trace_flags.sampled
            return span

        tracer.start_span = start_span
        with recording(UTTERANCE) as trace, stage("discover"), recording(UTTERANCE):
            tracer.start_span("SELECT").end()
        record_reply(trace.event_id, "hello")
        record_outcome(trace.event_id, "picked")
        del tracer.start_span
        assert names == {
            "handle_utterance 0": True,
            f"{list(names)[1]}": False,
            "handle_utterance 2": False,
            "SELECT 3": False,
            "intent.reply 4": True,
            "intent.outcome 5": True,
        }
        assert not traced.spans, "no exporter is handed a span that is not sampled"
