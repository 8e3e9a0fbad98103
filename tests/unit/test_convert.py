# SPDX-License-Identifier: Apache-2.0
"""A finished span of the SDK becomes a view, whatever it lacks."""

from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from intent_events.spans import SpanView
from intent_events_exporter.convert import view_of


def test_a_span_of_the_sdk() -> None:
    """Ids, times, attributes, sampling, service and what was dropped are the span's."""
    provider = TracerProvider(
        resource=Resource({"service.name": "orchestrator"}),
        span_limits=SpanLimits(max_span_attributes=1),
        shutdown_on_exit=False,
    )
    span = provider.get_tracer("test").start_span("x", attributes={"a": 1, "b": (1, 2)}, start_time=5)
    span.end(9)
    assert isinstance(span, ReadableSpan)
    context = span.get_span_context()
    view = view_of(span)
    own: dict[str, Any] = {"sampled": True, "service_name": "orchestrator", "dropped_attributes": 1}
    assert view == SpanView(context.trace_id, context.span_id, 5, 9, {"b": (1, 2)}, **own)
    assert type(view.attributes) is dict


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_bare_span(name: str | int | None) -> None:
    """A span without context, times, attributes and service is a view of zeros."""
    span = ReadableSpan("x", resource=Resource({} if name is None else {"service.name": name}))
    service = name if isinstance(name, str) else None
    assert view_of(span) == SpanView(0, 0, 0, 0, {}, None, service, 0)


def test_attributes_of_another_kind_of_mapping() -> None:
    """Attributes are copied, whatever mapping holds them."""
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0))
    span = ReadableSpan("x", context, attributes=MappingProxyType({"a": 1}))
    assert (view_of(span).attributes, view_of(span).sampled) == ({"a": 1}, False)


def test_no_attributes_at_all() -> None:
    """A span of another make that has no attributes is a view of none."""

    class Empty(ReadableSpan):
        @property
        def attributes(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - of another make
            return None

    assert view_of(Empty("x")).attributes == {}


def test_attributes_without_a_copy() -> None:
    """A mapping that cannot copy itself is read as a mapping."""

    class Bare(ReadableSpan):
        @property
        def attributes(self) -> dict[str, int]:  # pyright: ignore[reportIncompatibleMethodOverride] - of another make
            return Uncopied(a=1)

    class Uncopied(dict[str, int]):
        copy = None  # pyright: ignore[reportAssignmentType] - the point of it

    assert view_of(Bare("x")).attributes == {"a": 1}
