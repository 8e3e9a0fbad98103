# SPDX-License-Identifier: Apache-2.0
"""OTLP requests as emitters of any make send them."""

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from intent_events.spans import SpanView

_FIELDS: Final[dict[type, str]] = {
    type(None): "",
    bool: "bool_value",
    int: "int_value",
    float: "double_value",
    bytes: "bytes_value",
    str: "string_value",
}


def any_value(value: object) -> AnyValue:
    """A value as a message."""
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=k, value=any_value(v)) for k, v in items]))
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in cast("list[object]", value)]))
    field = _FIELDS[type(value)]
    given: dict[str, Any] = {field: value} if field else {}
    return AnyValue(**given)


def span_message(view: SpanView) -> Span:
    """A span as a message."""
    return Span(
        trace_id=view.trace_id.to_bytes(16, "big"),
        span_id=view.span_id.to_bytes(8, "big"),
        name="handle_utterance",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=view.start_ns,
        end_time_unix_nano=view.end_ns,
        attributes=[KeyValue(key=key, value=any_value(value)) for key, value in view.attributes.items()],
        dropped_attributes_count=view.dropped_attributes,
        flags=1 if view.sampled else 0,
    )


def request(views: Iterable[SpanView]) -> bytes:
    """A request with these spans, each run of the same service under a resource of its own."""
    message = ExportTraceServiceRequest()
    last: object = message
    scope = ScopeSpans()
    for view in views:
        if view.service_name != last:
            last = view.service_name
            named = [] if last is None else [KeyValue(key="service.name", value=AnyValue(string_value=last))]
            found = message.resource_spans.add(resource=Resource(attributes=named))
            scope = found.scope_spans.add()
        scope.spans.append(span_message(view))
    return message.SerializeToString()


def framed(*spans: bytes, service_name: str = "tests") -> bytes:
    """A request with spans that are bytes of any kind."""
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service_name))])
    scope = b"".join(b"\x12" + varint(len(span)) + span for span in spans)
    inner = b"".join(
        (b"\x0a", varint(resource.ByteSize()), resource.SerializeToString(), b"\x12", varint(len(scope)), scope)
    )
    return b"\x0a" + varint(len(inner)) + inner


def varint(number: int) -> bytes:
    """A number of variable length."""
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*data, number))


def json_value(value: object) -> dict[str, Any]:
    """A value as OTLP/JSON."""
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return {"kvlistValue": {"values": [{"key": k, "value": json_value(v)} for k, v in items]}}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [json_value(item) for item in cast("list[object]", value)]}}
    field = _FIELDS[type(value)]
    named = "".join(part.title() if at else part for at, part in enumerate(field.split("_")))
    return {named: _json_spelled(value)} if field else {}


def _json_spelled(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return str(value) if type(value) is int else value


def json_span(view: SpanView) -> dict[str, Any]:
    """A span as OTLP/JSON."""
    return {
        "traceId": format(view.trace_id, "032x"),
        "spanId": format(view.span_id, "016x"),
        "name": "handle_utterance",
        "kind": 1,
        "startTimeUnixNano": str(view.start_ns),
        "endTimeUnixNano": str(view.end_ns),
        "attributes": [{"key": key, "value": json_value(value)} for key, value in view.attributes.items()],
        "droppedAttributesCount": view.dropped_attributes,
        "flags": 1 if view.sampled else 0,
    }


def json_request(spans: Iterable[Mapping[str, Any]], service_name: str | None = "tests") -> dict[str, Any]:
    """A request in OTLP/JSON with these spans."""
    named = [] if service_name is None else [{"key": "service.name", "value": {"stringValue": service_name}}]
    return {"resourceSpans": [{"resource": {"attributes": named}, "scopeSpans": [{"spans": list(spans)}]}]}
