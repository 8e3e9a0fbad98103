# SPDX-License-Identifier: Apache-2.0
"""A span as the protobuf runtime reads it by the messages of opentelemetry-proto: what the sink must equal."""

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from intent_events.columns import KEYS
from intent_events.sink.attributes import value_of
from intent_events.sink.protobuf import Framed, UndecodableError, view_in
from intent_events.spans import SpanView

_DEEP = 45


def reference_view(data: bytes, service_name: str | None) -> SpanView | None:
    """The span; None when it cannot be decoded."""
    try:
        span = Span.FromString(data)
    except DecodeError:  # no UTF-8, nested too deeply, or lengths that lead nowhere
        return None
    return SpanView(
        int.from_bytes(span.trace_id, "big") if len(span.trace_id) == 16 else 0,
        int.from_bytes(span.span_id, "big") if len(span.span_id) == 8 else 0,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        {item.key: value_of(item.value) for item in span.attributes if item.key in KEYS},
        True if span.flags & 1 else None,
        service_name,
        span.dropped_attributes_count,
    )


def our_view(data: bytes, service_name: str | None) -> SpanView | None:
    """The span as the sink reads it; None when it cannot be decoded."""
    try:
        return view_in(Framed(data, service_name))
    except UndecodableError:
        return None


def check_span(data: bytes, service_name: str | None) -> None:
    """Check that both read a span alike, and again now that its pieces are known; NaN equals NaN here."""
    expected = reference_view(data, service_name)
    for _ in range(2):
        found = our_view(data, service_name)
        if expected is None and found is not None and data.count(b"\x2a") + data.count(b"\x32") > _DEEP:
            continue  # nested so deeply that the runtime gives up a little sooner when it reads the span as a whole
        assert plain(found) == plain(expected)


def plain(view: SpanView | None) -> str:
    """A view as text: tuples and lists are alike, and so are two NaN."""
    return "None" if view is None else repr(view).replace("(", "[").replace(",)", "]").replace(")", "]")
