# SPDX-License-Identifier: Apache-2.0
"""The trace that a handler returns, in whatever form, becomes the record; and the trace learns what became of it."""

from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import MagicMock
from uuid import UUID

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from intent_events import Candidate, IntentTrace, Outcome, current_trace, record_utterance
from intent_events.delivery import settle
from intent_events.instrument.mapping import FROM_ARGUMENTS, HandlerMapping
from intent_events.mending import field_of
from intent_events.rows import CandidateItem
from intent_events.semconv import EVENT_ID
from intent_events.trace import TRACE_FIELDS
from unit.handlers import returning
from unit.odd_values import Hostile, HostileDict, Unbound
from unit.traced import UTTERANCE, Traced, attributes_of, traced_by

FIELDS: dict[str, Any] = {"outcome": "matched", "chosen_verb_fqn": "cbu.assign-role", "scope": "book-1"}


class Reply(NamedTuple):
    """A result that has a trace beside its text."""

    text: str
    trace: Any


@dataclass
class ForeignTrace:
    """A trace of an orchestrator's own."""

    outcome: str = "matched"
    chosen_verb_fqn: str = "cbu.assign-role"
    scope: str = "book-1"
    telemetry_persisted: bool | None = False


@dataclass(frozen=True)
class FrozenTrace:
    """A trace that cannot be written to."""

    outcome: str = "matched"
    chosen_verb_fqn: str = "cbu.assign-role"
    scope: str = "book-1"
    telemetry_persisted: bool = False


RESULTS: dict[str, Any] = {
    "a trace": lambda: IntentTrace(**FIELDS),
    "an object with a trace": lambda: Reply("text", IntentTrace(**FIELDS)),
    "a mapping with a trace": lambda: {"text": "text", "trace": IntentTrace(**FIELDS)},
    "a mapping with a mapping": lambda: {"trace": dict(FIELDS)},
    "a read-only mapping": lambda: MappingProxyType({"trace": MappingProxyType(FIELDS)}),
    "an object with a foreign trace": lambda: Reply("text", ForeignTrace()),
    "a foreign trace itself": ForeignTrace,
    "a frozen trace": FrozenTrace,
    "a mapping that is a trace": lambda: dict(FIELDS),
    "an object that is a trace": lambda: SimpleNamespace(**FIELDS),
    "a trace in a wider reply": lambda: {"text": "text", **FIELDS},
    "a trace beside a text called trace": lambda: {**FIELDS, "trace": "4bf92f3577b34da6"},
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_trace_in_the_result(kind: str, traced: Traced) -> None:
    """The result comes back as it is, and the trace that it is or has is recorded."""
    result = RESULTS[kind]()
    handle = returning(result)
    assert handle(UTTERANCE) is result
    row = traced.row
    assert (row.outcome, row.chosen_verb_fqn, row.scope) == ("matched", "cbu.assign-role", "book-1")


@pytest.mark.parametrize("outcome", [*Outcome, *map(str, Outcome)], ids=str)
@pytest.mark.parametrize("make", [dict[str, Any], SimpleNamespace])
def test_a_flat_result_that_says_its_outcome(outcome: str, make: Any, traced: Traced) -> None:
    """An outcome of the contract makes a trace of a result, whatever else it says: one without a verb has no more."""
    returning(make(outcome=outcome, text="text"))(UTTERANCE)
    assert traced.row.outcome == outcome


@pytest.mark.parametrize("name", [name for name in TRACE_FIELDS if name not in {"outcome", *FROM_ARGUMENTS}])
def test_a_flat_result_with_a_label_of_its_own(name: str, traced: Traced) -> None:
    """A label that is none of ours is that of a trace beside a field that only a trace has."""
    returning({"outcome": "shipped", name: ["date"]})(UTTERANCE)
    assert traced.row.outcome == "shipped"
    assert "outcome_unknown" in (traced.row.quality or ())


def test_missing_arguments_of_a_flat_result(traced: Traced) -> None:
    """What a question asks for is recorded with it."""
    returning({"outcome": "clarify_args", "missing_args": ["date"]})(UTTERANCE)
    assert (traced.row.outcome, traced.row.missing_args) == ("clarify_args", ["date"])


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        b"bytes",
        7,
        True,
        [],
        {},
        {"outcome": "ok"},
        {"outcome": "shipped", "session_id": "s", "scope": "book-1", "actor_id": "a", "synthetic": True},
        {"outcome": ["matched"]},
        {"outcome": {"matched": 1}},
        {"trace": None},
        np.eye(2),
        SimpleNamespace(outcome="ok"),
        SimpleNamespace(trace="4bf92f3577b34da6"),
        SimpleNamespace(trace=lambda: None),
    ],
    ids=repr,
)
def test_a_result_without_a_trace(result: object, traced: Traced) -> None:
    """A result that only resembles one is none: a label alone, a trace id, a method called trace."""
    handle = returning(result)
    assert handle(UTTERANCE) is result
    assert traced.row.outcome == "unknown"


def test_what_is_said_in_both_places_is_merged(traced: Traced) -> None:
    """What the handler said on the way stays where the result says nothing, and gives way where it does."""

    @record_utterance
    def handle(utterance: str, actor_id: str) -> IntentTrace:
        assert utterance
        assert actor_id
        current_trace().outcome = "no_match"
        current_trace().scope = "book-1"
        return IntentTrace(outcome="matched", actor_id=None, dsl_hash="d")

    handle(UTTERANCE, "a-1")
    row = traced.row
    assert (row.outcome, row.scope, row.actor_id, row.dsl_hash) == ("matched", "book-1", "a-1", "d")


def test_the_current_trace_may_be_returned(traced: Traced) -> None:
    """Returning the very trace that was filled changes nothing."""

    @record_utterance
    def handle(utterance: str) -> IntentTrace:
        assert utterance
        trace = current_trace()
        trace.outcome = Outcome.CLARIFY_VERB
        trace.verb_candidates_pre = [Candidate("a.b", 0.5), {"verb": "c.d", "score": 0.25}, "e.f"]
        return trace

    trace = handle(UTTERANCE)
    row = traced.row
    assert row.outcome == "clarify_verb"
    assert row.verb_candidates_pre == [CandidateItem("a.b"), CandidateItem("c.d"), CandidateItem("e.f")]
    assert trace.event_id == row.event_id


def test_the_key_is_readable_from_the_start(traced: Traced) -> None:
    """A trace that a handler makes has the key of its row before the row is there."""

    @record_utterance
    def handle(utterance: str) -> tuple[UUID, UUID]:
        assert utterance
        return IntentTrace().event_id, current_trace().event_id

    assert set(handle(UTTERANCE)) == {traced.row.event_id}


def test_a_trace_made_elsewhere_gets_the_key(traced: Traced) -> None:
    """A trace that was made outside of the handler is of the utterance that returns it."""
    trace = IntentTrace(outcome="matched")
    returning(trace)(UTTERANCE)
    assert trace.event_id == traced.row.event_id


class Committer(SpanProcessor):
    """Commits every record at once."""

    def on_end(self, span: ReadableSpan) -> None:
        """Settle the record."""
        settle([UUID(attributes_of(span)[EVENT_ID])], committed=True)


@pytest.mark.parametrize("mapping", [HandlerMapping(), HandlerMapping(outcomes={"matched": "no_match"})])
@pytest.mark.parametrize("make", [ForeignTrace, lambda: {**FIELDS, "telemetry_persisted": False}])
@pytest.mark.parametrize("committed", [True, False])
def test_a_foreign_trace_is_told(mapping: HandlerMapping, make: Any, committed: bool) -> None:  # noqa: FBT001 - a table
    """The flag of a trace of the orchestrator's own says whether the record is durable, with a mapping file too."""
    with traced_by(Traced(processors=[Committer()] if committed else [])):
        handle = returning({"trace": make()}, record_utterance(mapping=mapping))
        found = handle(UTTERANCE)["trace"]
    assert field_of(found, "telemetry_persisted") is committed


def test_a_foreign_trace_without_the_flag_is_left_alone(traced: Traced) -> None:
    """Nothing is added to a trace that has no such flag."""
    plain, unset = dict(FIELDS), ForeignTrace(telemetry_persisted=None)
    returning({"trace": plain})(UTTERANCE)
    returning({"trace": unset})(UTTERANCE)
    assert plain == FIELDS
    assert unset.telemetry_persisted is None
    assert len(traced.rows) == 2


def test_a_frozen_trace_is_told_in_the_log(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """A trace that refuses the flag costs the caller nothing."""
    returning(FrozenTrace())(UTTERANCE)
    assert traced.row.outcome == "matched"
    assert "telemetry_persisted of a trace could not be set (FrozenInstanceError)" in caplog.text


class Moody:
    """A result whose properties raise."""

    outcome = "matched"
    chosen_verb_fqn = "a.b"

    @property
    def scope(self) -> str:
        """Raises."""
        raise LookupError(UTTERANCE)

    @property
    def trace(self) -> str:
        """Raises."""
        raise LookupError(UTTERANCE)


def test_properties_that_raise_are_passed_over(traced: Traced) -> None:
    """What can be read of a result is recorded; what raises is not there."""
    returning(Moody())(UTTERANCE)
    assert (traced.row.outcome, traced.row.chosen_verb_fqn, traced.row.scope) == ("matched", "a.b", None)


@pytest.mark.parametrize("make", [Hostile, HostileDict, Unbound, MagicMock])
@pytest.mark.parametrize("within", ["itself", "trace", "list"])
@pytest.mark.parametrize(
    "mapping", [HandlerMapping(), HandlerMapping(result={"scope": ("a", "b")}, outcomes={"a": "b"})]
)
def test_results_that_raise_whatever_is_asked(make: Any, within: str, mapping: HandlerMapping, traced: Traced) -> None:
    """A result that cannot be looked at comes back as it is, and there is a row."""
    made = make()
    result = {"itself": made, "trace": {"trace": made}, "list": [made]}[within]
    handle = returning(result, record_utterance(mapping=mapping))
    assert handle(UTTERANCE) is result
    assert len(traced.rows) == 1


@pytest.mark.parametrize("name", TRACE_FIELDS)
def test_a_field_that_raises_costs_no_other(name: str, traced: Traced) -> None:
    """An object that cannot be looked at, in any field of a trace, loses that field alone."""
    for value in (Hostile(), Unbound()):
        fields: dict[str, Any] = {"error_code": "E-1", "dsl_hash": "d", "outcome": "matched", name: value}
        trace = IntentTrace(**fields)
        returning(trace)(UTTERANCE)
    for row in traced.rows:
        kept = {"error_code": "E-1", "dsl_hash": "d", "outcome": "matched"}
        assert {key: getattr(row, key) for key in kept if key != name} == {k: v for k, v in kept.items() if k != name}
        assert row.utterance_preview == "assign <name?> <number> as custodian"
    assert len(traced.rows) == 2


@pytest.mark.parametrize("outcome", [["matched"], {"a": 1}, {1}, 7, b"x", object()], ids=repr)
def test_an_outcome_that_is_no_label(outcome: Any, traced: Traced) -> None:
    """An outcome that cannot be a label is unknown or its number, and nothing else is lost."""
    returning(IntentTrace(session_id="s-1", outcome=outcome, scope="b"))(UTTERANCE)
    assert traced.row.scope == "b"
    assert traced.row.outcome == ("7" if outcome == 7 else "unknown")
