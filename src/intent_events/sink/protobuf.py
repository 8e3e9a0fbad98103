# SPDX-License-Identifier: Apache-2.0
"""OTLP requests in protobuf: which of their spans may be records, and what these are.

Attributes that are none of the contract are left out, since code of the host's may have set them. Where a key is sent
twice the last one counts, which emitters that do not look (Rust) mean by it.
"""

from os.path import commonprefix
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from intent_events.semconv import RECORD, ROOT
from intent_events.sink.attributes import NONE_OF_OURS, attribute_in
from intent_events.sink.frames import RequestFrame, SpanFrame
from intent_events.spans import SpanView

MARK: Final = commonprefix([RECORD, ROOT]).encode()  # noqa: RUF071 - of texts, not of paths
"""Bytes that every span which ``select`` takes for a record must hold."""

SERVICE_NAME: Final = "service.name"
"""The one attribute of a resource that a row has."""

TRACE_ID_BYTES: Final = 16
"""Bytes of a trace id; one of another length is none."""

SPAN_ID_BYTES: Final = 8
"""Bytes of a span id."""

SAMPLED: Final = 1
"""Bit of ``flags`` that says so. Where it is not set the wire says nothing: several SDKs never set it."""

_MOST: Final = 1024


class UndecodableError(ValueError):
    """Bytes cannot be decoded: no UTF-8 in a text, nested too deeply, or lengths that lead nowhere."""


class Framed(NamedTuple):
    """A span that may be a record, still as it came.

    Attributes:
        data: its bytes.
        service_name: ``service.name`` of its resource.
    """

    data: bytes
    service_name: str | None


class Frames(NamedTuple):
    """What a request holds.

    Attributes:
        total: how many spans there are.
        marked: those that may be records.
    """

    total: int
    marked: list[Framed]


def frames_in(data: bytes) -> Frames:
    """Spans of an ``ExportTraceServiceRequest``; none of them is decoded.

    Raises:
        UndecodableError: it is no such request.
    """
    try:
        request = RequestFrame.FromString(data)
    except DecodeError:  # no protobuf, or of another message; its text could quote a value
        raise UndecodableError from None
    total = 0
    marked: list[Framed] = []
    for resource_spans in request.resource_spans:
        found: list[bytes] = []
        for scope_spans in resource_spans.scope_spans:
            spans = scope_spans.spans
            total += len(spans)
            found += [span for span in spans if MARK in span]
        if found:
            resource = resource_spans.resource
            # Given twice, the second one is merged into the first: that is how the format joins messages.
            service = _services[resource[0] if len(resource) == 1 else b"".join(resource)]
            marked += [Framed(span, service) for span in found]
    return Frames(total, marked)


def view_in(framed: Framed) -> SpanView:
    """The shape that selection and row mapping read, of a span that came as protobuf.

    Raises:
        UndecodableError: it cannot be decoded.
    """
    try:
        span = SpanFrame.FromString(framed.data)
        attributes = dict(map(attribute_in, span.attributes))
    except (DecodeError, UnicodeDecodeError):  # no UTF-8, nested too deeply, or lengths that lead nowhere
        raise UndecodableError from None
    attributes.pop(NONE_OF_OURS[0], None)
    return SpanView(
        id_of(span.trace_id, TRACE_ID_BYTES),
        id_of(span.span_id, SPAN_ID_BYTES),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes,
        True if span.flags & SAMPLED else None,
        framed.service_name,
        span.dropped_attributes_count,
    )


def id_of(data: bytes, length: int) -> int:
    """An id as a number; 0, which is no id, when it has another length than it must have."""
    return int.from_bytes(data, "big") if len(data) == length else 0


class _Services(dict[bytes, str | None]):
    """``service.name`` by the bytes of a resource, which recur; bounded.

    None when it has none, or when it cannot be decoded: its spans are no worse for that.
    """

    def __missing__(self, resource: bytes) -> str | None:
        name: str | None = None
        try:
            for item in Resource.FromString(resource).attributes:
                if item.key == SERVICE_NAME:
                    name = item.value.string_value if item.value.HasField("string_value") else None
        except (DecodeError, UnicodeDecodeError):  # no UTF-8, nested too deeply, or lengths that lead nowhere
            name = None
        if len(self) >= _MOST:
            self.clear()
        self[resource] = name
        return name


_services: Final = _Services()
