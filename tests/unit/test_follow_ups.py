# SPDX-License-Identifier: Apache-2.0
"""Replies and outcomes: records of their own that follow an utterance and never raise."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from opentelemetry.instrumentation.utils import suppress_instrumentation

from intent_events import OutcomeKind, record_outcome, record_reply, recording
from intent_events.identity import derived_uuid
from intent_events.rows import ChatEventRow, IntentOutcomeRow
from intent_events.semconv import SESSION_ID
from unit.odd_values import ANYTHING, HostileText, Unbound
from unit.traced import SETTINGS, UTTERANCE, Traced, attributes_of, traced_by


def test_a_reply(traced: Traced) -> None:
    """A reply is a row of its own with its fingerprint and masked preview, and points to its utterance."""
    with recording(UTTERANCE, session_id="s-1") as trace:
        trace.outcome = "matched"
    record_reply(trace.event_id, f"I will {UTTERANCE}", session_id="s-1", turn_id=3, prompt_version="p-7")
    utterance, reply = traced.records()
    assert isinstance(reply, ChatEventRow)
    assert reply.intent_event_id == utterance.event_id == trace.event_id
    assert reply.event_id != trace.event_id
    assert (reply.session_id, reply.turn_id, reply.prompt_version) == (derived_uuid(SESSION_ID, "s-1"), "3", "p-7")
    assert reply.assistant_message_preview == "I will assign <name?> <number> as custodian"
    assert (reply.hash_key_id, len(reply.assistant_message_hash or "")) == ("1", 64)
    assert reply.emitter_id == utterance.emitter_id
    assert (reply.emitter_seq or 0) == (utterance.emitter_seq or 0) + 1
    assert reply.quality == ["session_id_derived"]
    assert traced.spans[1].name == "intent.reply"


@pytest.mark.parametrize("kind", [*OutcomeKind, "picked"])
def test_an_outcome(kind: str, traced: Traced) -> None:
    """What became of an utterance is a row of its own that points to it."""
    with recording(UTTERANCE) as trace:
        pass
    record_outcome(str(trace.event_id), kind, error_type="Timeout")
    outcome = traced.records()[1]
    assert isinstance(outcome, IntentOutcomeRow)
    assert (outcome.intent_event_id, outcome.kind, outcome.error_code) == (trace.event_id, str(kind), "Timeout")
    assert outcome.quality is None
    assert traced.spans[1].name == "intent.outcome"
    assert type(attributes_of(traced.spans[1])["intent.outcome.kind"]) is str


def test_follow_ups_are_within_the_trace_of_their_caller(traced: Traced) -> None:
    """Recorded while the utterance is handled, they are children of its span, and records all the same."""
    with recording(UTTERANCE) as trace:
        record_outcome(trace.event_id, "picked")
    outcome, root = traced.spans
    assert outcome.parent == root.context
    assert len(traced.records()) == 2


@pytest.mark.parametrize("synthetic", [True, False, None])
@pytest.mark.parametrize("process", [True, False])
def test_synthetic_follow_ups(synthetic: bool | None, process: bool) -> None:  # noqa: FBT001 - a table of cases
    """What the process is set to cannot be taken back, and a single record can be marked."""
    with traced_by(Traced(settings=SETTINGS.model_copy(update={"synthetic": process}))) as traced:
        record_reply(UUID(int=1), "hello", synthetic=synthetic)
        record_outcome(UUID(int=1), "picked", synthetic=synthetic)
    assert [row.synthetic for row in traced.records()] == [process or bool(synthetic)] * 2


def test_synthetic_utterances_cannot_be_unmarked() -> None:
    """In a process of test traffic an orchestrator that says otherwise is not heard."""
    with traced_by(Traced(settings=SETTINGS.model_copy(update={"synthetic": True}))) as traced:
        with recording(UTTERANCE) as trace:
            trace.synthetic = False
        assert traced.row.synthetic


@pytest.mark.parametrize("event_id", [None, "none", 5, UUID(int=0), Unbound])
def test_a_follow_up_of_nothing(event_id: Any, traced: Traced) -> None:
    """A key that is none is recorded as unknown, and nothing is raised."""
    record_outcome(event_id, "picked")
    record_reply(event_id, "hello")
    outcome, reply = traced.records()
    expected = event_id if isinstance(event_id, UUID) else None
    assert isinstance(outcome, IntentOutcomeRow)
    assert isinstance(reply, ChatEventRow)
    assert outcome.intent_event_id == reply.intent_event_id == expected


@given(ANYTHING, ANYTHING, ANYTHING)
def test_follow_ups_never_raise(one: Any, two: Any, three: Any) -> None:
    """Whatever is handed over, nothing is raised into the host."""
    with traced_by(Traced()) as traced:
        record_reply(one, two, session_id=three, turn_id=one, prompt_version=two, synthetic=three)
        record_outcome(one, two, error_type=three, synthetic=one)
    assert len(traced.records()) >= 1


def test_a_reply_that_is_no_text(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """A reply without a text is recorded without fingerprint, and one of another text type with it."""
    record_reply(UUID(int=1), None)  # pyright: ignore[reportArgumentType] - the mistake
    record_reply(UUID(int=1), HostileText("hello"))
    none, some = traced.records()
    assert isinstance(none, ChatEventRow)
    assert isinstance(some, ChatEventRow)
    assert (none.assistant_message_hash, none.assistant_message_preview) == (None, None)
    assert some.assistant_message_preview == "hello"
    assert not caplog.records


def test_suppressed_follow_ups(traced: Traced) -> None:
    """Within ``suppress_instrumentation`` nothing is recorded."""
    with suppress_instrumentation():
        record_reply(UUID(int=1), "hello")
        record_outcome(UUID(int=1), "picked")
    assert not traced.spans
