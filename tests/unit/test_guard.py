# SPDX-License-Identifier: Apache-2.0
"""What code within an utterance puts on the current span: fields of the contract stay, all else is counted."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, get_current_span, use_span

from intent_events import recording, semconv, stage
from intent_events.instrument.guard import Withheld
from unit.odd_values import ANYTHING, HostileError
from unit.traced import SETTINGS, UTTERANCE, Traced, attributes_of, traced_by


def withheld(traced: Traced) -> Counter[str]:
    """What was counted, by reason."""
    data = traced.reader.get_metrics_data()
    points: list[Any] = [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "intent_events.attributes.withheld"
        for point in metric.data.data_points
    ]
    return Counter({point.attributes["error.type"]: point.value for point in points})


def test_fields_of_the_contract_stay(traced: Traced) -> None:
    """An adapter may say on the span what it could say in the trace; the row and the span then both have it."""
    with recording(UTTERANCE):
        span = get_current_span()
        assert span.is_recording()
        span.set_attributes({semconv.VERB_CHOSEN: "a.b", semconv.SCOPE: "scope-7", semconv.MISSING_ARGS: ["role"]})
        span.set_attribute(semconv.SUBJECT_ID, "0191e2a0-0000-7000-8000-000000000001")
    assert (traced.row.chosen_verb_fqn, traced.row.scope, traced.row.missing_args) == ("a.b", "scope-7", ["role"])
    assert not withheld(traced)


@pytest.mark.parametrize(
    ("key", "given", "why"),
    [
        ("intent.note", UTTERANCE, Withheld.UNKNOWN),
        ("intent.utterance.text", UTTERANCE, Withheld.UNKNOWN),
        (semconv.UTTERANCE_PREVIEW, UTTERANCE, Withheld.RESERVED),
        (semconv.UTTERANCE_HASH, UTTERANCE, Withheld.RESERVED),
        (semconv.EVENT_ID, UTTERANCE, Withheld.RESERVED),
        (semconv.ACTOR_ID, UTTERANCE, Withheld.RESERVED),
        (semconv.STAGE, UTTERANCE, Withheld.RESERVED),
        (semconv.ERROR_TYPE, f"not found: {UTTERANCE}", Withheld.REFUSED),
        (semconv.SCOPE, "Zebedee", Withheld.REFUSED),
        (semconv.DSL_HASH, f"(assign {UTTERANCE!r})", Withheld.REFUSED),
        ("app.note", UTTERANCE, Withheld.FOREIGN),
        (7, UTTERANCE, Withheld.FOREIGN),
    ],
)
def test_what_may_not_leave_is_counted(key: Any, given: object, why: Withheld, traced: Traced) -> None:
    """Whatever else is set on the span is not on it, and the metric says why."""
    with recording(UTTERANCE) as trace:
        trace.outcome = "matched"
        get_current_span().set_attribute(key, given)  # pyright: ignore[reportArgumentType] - foreign code need not be typed
    assert withheld(traced) == {why.value: 1}
    assert (traced.row.outcome, traced.row.scope) == ("matched", None)


@given(ANYTHING)
def test_any_value_may_be_set(given: Any) -> None:
    """Setting a value never raises into the code that does it."""
    traced = Traced()
    with traced_by(traced), recording("hello"):
        for key in (semconv.VERB_CHOSEN, semconv.SUBJECT_ID, semconv.MISSING_ARGS, semconv.SCOPE, "intent.x"):
            get_current_span().set_attribute(key, given)
    assert len(traced.spans) == 1


def exceptions_of(span: ReadableSpan) -> list[dict[str, Any]]:
    """Attributes of the events of a span, which are exceptions all."""
    assert {event.name for event in span.events} <= {"exception"}
    return [dict(event.attributes or {}) for event in span.events]


def test_exceptions_are_recorded_by_their_type(traced: Traced) -> None:
    """``record_exception`` within an utterance leaves the type alone: no message, no stack, no attributes."""
    with recording(UTTERANCE):
        get_current_span().record_exception(HostileError(), {"note": UTTERANCE})
        get_current_span().record_exception(ValueError(UTTERANCE), escaped=True)
    assert exceptions_of(traced.root) == [
        {"exception.type": "unit.odd_values.HostileError", "exception.escaped": "False"},
        {"exception.type": "ValueError", "exception.escaped": "True"},
    ]
    assert withheld(traced) == {"foreign": 1}


def test_what_the_sdk_records_by_itself(traced: Traced) -> None:
    """``use_span`` records an exception and a status with its message: on our span both lose the message."""

    def select() -> None:
        with use_span(get_current_span()):
            raise ValueError(UTTERANCE)

    with pytest.raises(ValueError, match="Zebedee"), recording(UTTERANCE), stage("select"):
        select()
    inner, outer = traced.spans
    assert exceptions_of(inner) == [{"exception.type": "ValueError", "exception.escaped": "False"}]
    assert (inner.status.status_code, inner.status.description) == (StatusCode.ERROR, None)
    assert attributes_of(outer)[semconv.ERROR_TYPE] == "ValueError"


def test_texts_beside_attributes(traced: Traced) -> None:
    """Events, another name, a description of the status and attributes of a link do not stay; the link does."""
    link = SpanContext(1, 2, is_remote=True)
    with recording(UTTERANCE):
        span = get_current_span()
        span.add_event(UTTERANCE, {"note": UTTERANCE})
        span.update_name(UTTERANCE)
        span.set_status(StatusCode.ERROR, UTTERANCE)
        span.set_status(Status(StatusCode.ERROR, UTTERANCE))
        span.set_status(StatusCode.OK)
        span.add_link(link, {"note": UTTERANCE})
        span.add_link(link)
        assert getattr(span, "name") == semconv.SPAN_NAME  # noqa: B009 - only an SDK's span has it
    root = traced.root
    assert (root.name, root.status.description, list(root.events)) == (semconv.SPAN_NAME, None, [])
    assert [(each.context, dict(each.attributes or {})) for each in root.links] == [(link, {})] * 2
    assert withheld(traced) == {"text": 4, "foreign": 1}


def test_only_the_recording_ends_its_span(traced: Traced) -> None:
    """Code that ends the current span ends no record."""
    with recording(UTTERANCE) as trace:
        get_current_span().end()
        with get_current_span():
            trace.outcome = "matched"
        assert get_current_span().is_recording()
        span = get_current_span()
    span.set_attribute(semconv.VERB_CHOSEN, "too.late")
    assert (traced.row.outcome, traced.row.chosen_verb_fqn) == ("matched", None)


def test_attributes_that_the_settings_allow() -> None:
    """A key that was allowed by name stays on the span, and never comes to the row."""
    traced = Traced(settings=SETTINGS.model_copy(update={"span_attributes": ("app.build",)}))
    with traced_by(traced), recording(UTTERANCE):
        get_current_span().set_attributes({"app.build": "1.2", "app.note": UTTERANCE})
    assert attributes_of(traced.root)["app.build"] == "1.2"
    assert withheld(traced) == {"foreign": 1}
