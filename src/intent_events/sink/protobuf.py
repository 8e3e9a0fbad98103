# SPDX-License-Identifier: Apache-2.0
"""OTLP requests in protobuf: which of their spans may be records, and what these are.

Attributes that are none of the contract are left out, since code of the host's may have set them. Where a key is sent
twice the last one counts, which emitters that do not look (Rust) mean by it.
"""

from collections.abc import Callable, Iterator, Sequence
from os.path import commonprefix
from typing import Any, Final, NamedTuple, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from intent_events import semconv
from intent_events.columns import KEYS
from intent_events.semconv import RECORD, ROOT, SOURCES
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

_MOST: Final = 8192
_LONGEST_KEPT: Final = 128
_LONGEST_LIST_KEPT: Final = 512
_RECURRING_LISTS: Final = (SOURCES,)

# Each of these is another one in every record: keeping them would only push out what recurs.
_UNIQUE: Final = frozenset(
    {
        *(semconv.EVENT_ID, semconv.EMITTER_SEQ, semconv.UTTERANCE_HASH, semconv.UTTERANCE_TEMPLATE_HASH),
        *(semconv.UTTERANCE_PREVIEW, semconv.DSL_HASH, semconv.RUN_SHEET_ENTRY_ID),
    }
)


_SOUND_STATUSES: Final = frozenset({b"", Status(code=Status.STATUS_CODE_OK).SerializeToString()})


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


class _Recurring(dict[bytes, Any]):
    """Pieces that recur from span to span, each decoded once; bounded."""

    def __init__(self, decode: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, piece: bytes) -> Any:
        return self._decode(piece)

    def keep(self, piece: bytes, decoded: Any, longest: int = _LONGEST_KEPT) -> Any:
        """Remember what a piece says, unless it is so long that it hardly recurs."""
        if len(piece) <= longest:
            if len(self) >= _MOST:
                self.clear()
            self[piece] = decoded
        return decoded


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
        if span.events or span.links or span.status:
            _check_rest(span)
        attributes = dict([_attributes[item] for item in span.attributes])
    except (
        DecodeError
    ):  # no UTF-8, nested beyond 100 levels, or lengths that lead nowhere; its text could quote a value
        raise UndecodableError from None
    attributes.pop("", None)
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


def _check_rest(span: Any) -> None:
    """What no row has must be sound too: a span is decodable or it is not."""
    for status in span.status:
        if status not in _SOUND_STATUSES:
            Status.FromString(status)
    for kind, pieces in ((Span.Event, span.events), (Span.Link, span.links)):
        for piece in cast("Iterator[bytes]", pieces):
            kind.FromString(piece)


def _attribute(piece: bytes) -> tuple[str, Any]:
    """Key and value of an attribute; an empty key when it is none of the contract."""
    item = KeyValue.FromString(piece)
    key = item.key
    if key not in KEYS:
        return _attributes.keep(piece, ("", None))
    pair = key, value_of(item.value)
    if key in _UNIQUE:
        return pair
    return _attributes.keep(piece, pair, _LONGEST_LIST_KEPT if key.endswith(_RECURRING_LISTS) else _LONGEST_KEPT)


def value_of(value: AnyValue) -> Any:
    """What an attribute's value is in Python; None when it is empty."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return _items_of(value.array_value.values)
    if kind == "kvlist_value":
        return {item.key: value_of(item.value) for item in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


def _items_of(items: Sequence[AnyValue]) -> list[Any]:
    """Items of an array; nearly all arrays hold texts alone, or numbers alone. What is of another type reads as 0."""
    kind = items[0].WhichOneof("value") if items else None
    alike: list[Any] = []
    if kind == "string_value":
        alike = [item.string_value for item in items]
    elif kind == "double_value":
        alike = [item.double_value for item in items]
    return alike if alike and all(alike) else [value_of(item) for item in items]


def _service(resource: bytes) -> str | None:
    """``service.name`` of a resource; None when it has none, or when it cannot be decoded: its spans are no worse."""
    name: str | None = None
    try:
        for item in Resource.FromString(resource).attributes:
            if item.key == SERVICE_NAME:
                name = item.value.string_value if item.value.HasField("string_value") else None
    except DecodeError:  # no UTF-8 in one of its texts, or nested too deeply
        name = None
    if len(_services) >= _MOST:
        _services.clear()
    _services[resource] = name
    return name


_attributes: Final = _Recurring(_attribute)
_services: Final = _Recurring(_service)
