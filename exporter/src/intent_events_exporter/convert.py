# SPDX-License-Identifier: Apache-2.0
"""ReadableSpan -> SpanView."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import TraceFlags

from intent_events.spans import SpanView

_NO_CONTEXT: Final = (0, 0, False, 0)


def view_of(span: ReadableSpan, attributes: Mapping[str, Any] | None = None) -> SpanView:
    """The shape that selection and row mapping read, of a finished span of the SDK.

    Args:
        span: the span.
        attributes: its attributes, when they have been taken already.
    """
    context = span.context
    # A context is a tuple of these, and five calls into the SDK slower when it is asked by name.
    trace_id, span_id, _, flags, *_ = _NO_CONTEXT if context is None else context
    return SpanView(
        trace_id,
        span_id,
        span.start_time or 0,
        span.end_time or 0,
        attributes_of(span) if attributes is None else attributes,
        None if context is None else flags & TraceFlags.SAMPLED != 0,
        _service_of(span.resource),
        span.dropped_attributes,
    )


def _service_of(resource: Resource) -> str | None:
    """``service.name``, looked up anew only when the resource is another one: a process has few of them."""
    global _last  # noqa: PLW0603 - a resource and its name, replaced together
    known, service = _last
    if known is not resource:
        name = resource.attributes.get("service.name")
        service = name if isinstance(name, str) else None
        _last = resource, service
    return service


_last: tuple[Resource | None, str | None] = None, None


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """A copy of the attributes of a span."""
    attributes = span.attributes
    if attributes is None:
        return {}
    # The proxy's own copy() is nine times as fast as dict(): the SDK's mapping hands over its inner dictionary.
    copy: Callable[[], Mapping[str, Any]] | None = getattr(attributes, "copy", None)
    return dict(attributes) if copy is None else copy()
