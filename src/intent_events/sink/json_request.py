# SPDX-License-Identifier: Apache-2.0
"""OTLP requests in JSON: ids are hex, 64-bit numbers may be texts, names are lowerCamelCase.

The runtime's own reader of JSON takes ids for base64 and twenty times as long, so this one reads by the specification
of OTLP. Spans stay texts until they are wanted, as those in protobuf stay bytes.
"""

from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from intent_events.columns import KEYS
from intent_events.sink.protobuf import (
    MARK,
    SAMPLED,
    SERVICE_NAME,
    SPAN_ID_BYTES,
    TRACE_ID_BYTES,
    Framed,
    Frames,
    UndecodableError,
    id_of,
)
from intent_events.spans import SpanView

_ESCAPE: Final = b"\\"
_LONGEST: Final = 1 << 63


class _ScopeSpans(msgspec.Struct, rename="camel"):
    spans: list[msgspec.Raw] | None = None


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"null")
    scope_spans: list[_ScopeSpans] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode: Final = msgspec.json.Decoder().decode
_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def frames_in(data: bytes) -> Frames:
    """Spans of an ``ExportTraceServiceRequest`` in JSON; none of them is decoded.

    Raises:
        UndecodableError: it is no such request.
    """
    try:
        request = _decode_request(data)
    except (ValueError, RecursionError):  # no JSON, of another form, no UTF-8, or nested beyond reading
        raise UndecodableError from None
    total = 0
    marked: list[Framed] = []
    for resource_spans in request.resource_spans or ():
        service: str | None = None
        asked = False
        for scope_spans in resource_spans.scope_spans or ():
            for raw in scope_spans.spans or ():
                total += 1
                span = bytes(raw)
                # With an escape in it a key may be spelled in another way.
                if MARK in span or _ESCAPE in span:
                    if not asked:
                        service, asked = _service_of(bytes(resource_spans.resource)), True
                    marked.append(Framed(span, service))
    return Frames(total, marked)


def view_in(framed: Framed) -> SpanView:
    """The shape that selection and row mapping read, of a span that came as JSON.

    Raises:
        UndecodableError: it cannot be decoded.
    """
    try:
        span = _decode(framed.data)
        flags = _integer(span.get("flags") or 0)
        return SpanView(
            id_of(bytes.fromhex(span.get("traceId") or ""), TRACE_ID_BYTES),
            id_of(bytes.fromhex(span.get("spanId") or ""), SPAN_ID_BYTES),
            _integer(span.get("startTimeUnixNano") or 0),
            _integer(span.get("endTimeUnixNano") or 0),
            _attributes_of(span, KEYS),
            True if flags & SAMPLED else None,
            framed.service_name,
            _integer(span.get("droppedAttributesCount") or 0),
        )
    except _UNREADABLE:  # no JSON, no UTF-8, a value of another type, or nested beyond reading
        raise UndecodableError from None


def _service_of(resource: bytes) -> str | None:
    try:
        name = _attributes_of(_decode(resource) or {}, {SERVICE_NAME}).get(SERVICE_NAME)
    except _UNREADABLE:  # the spans are no worse for a resource that cannot be decoded
        return None
    return name if isinstance(name, str) else None


def _attributes_of(message: dict[str, Any], wanted: frozenset[str] | set[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for item in message.get("attributes") or ():
        key, value = item.get("key"), value_of(item.get("value"))
        if key in wanted:
            given[key] = value
    return given


def value_of(value: Any) -> Any:
    """What an ``AnyValue`` is in Python; None when it is empty.

    Args:
        value: the parsed JSON of it.

    Raises:
        ValueError: it is none; so do a TypeError, a KeyError, an AttributeError and a RecursionError say.
    """
    if value is None:
        return None
    for kind, given in cast("dict[str, Any]", value).items():
        if given is None or kind not in _READERS:
            continue
        return _READERS[kind](given)
    return None


def _text(given: Any) -> str:
    if type(given) is not str:
        raise TypeError
    return given


def _boolean(given: Any) -> bool:
    if type(given) is not bool:
        raise TypeError
    return given


def _integer(given: Any) -> int:
    if type(given) not in {int, str}:
        raise TypeError
    number = int(given)
    if not -_LONGEST <= number < 2 * _LONGEST:
        raise ValueError
    return number


def _double(given: Any) -> float:
    if type(given) not in {int, float, str}:
        raise TypeError
    return float(given)  # "NaN", "Infinity" and "-Infinity" are spelled as Python reads them


def _items(given: Any) -> list[Any]:
    return [value_of(item) for item in given.get("values") or ()]


def _map(given: Any) -> dict[str, Any]:
    return {_text(item["key"]): value_of(item.get("value")) for item in given.get("values") or ()}


def _bytes(given: Any) -> bytes:
    return b64decode(_text(given), validate=True)


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "stringValue": _text,
    "boolValue": _boolean,
    "intValue": _integer,
    "doubleValue": _double,
    "bytesValue": _bytes,
    "arrayValue": _items,
    "kvlistValue": _map,
}
