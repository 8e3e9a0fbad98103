# SPDX-License-Identifier: Apache-2.0
"""The form of an utterance on the quick way: a msgpack array of what its span has, then its values by their order.

It is what is spooled, and what rows are packed from. Values of its types, which are made from the one table of columns,
need no mending but for what :mod:`intent_events.rows.completed` puts in. Whatever does not fit goes the careful way.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NamedTuple, Optional

import msgspec

from intent_events import columns, semconv
from intent_events.columns import Attribute, Kind
from intent_events.mending import INT32_MAX, MAX_ITEMS
from intent_events.native import pack_payload
from intent_events.semconv import CANDIDATES_POST, CANDIDATES_PRE, MAX_STRING, SCORES, SOURCES, TOTAL, VERBS
from intent_events.spans import SpanView

ORDER: Final = 1
"""Number of the order of :data:`KNOWN`, the first element of the array; whatever changes it takes the next one."""


class Ended(NamedTuple):
    """What a row has of the span itself.

    Attributes:
        trace_id: 16 bytes.
        span_id: 8 bytes.
        start_ns: start, nanoseconds since 1970.
        end_ns: end, nanoseconds since 1970.
        sampled: whether the trace goes to the backend.
        service_name: ``service.name`` of the resource.
        dropped_attributes: attributes that the SDK dropped.
    """

    trace_id: bytes
    span_id: bytes
    start_ns: int
    end_ns: int
    sampled: bool | None
    service_name: str | None
    dropped_attributes: int


_PLAIN: Final = frozenset({str, bool, int, float, bytes, tuple, list, dict, type(None)})
_Texts = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=MAX_STRING)], ...], msgspec.Meta(max_length=MAX_ITEMS)
]  # fmt: skip
_LISTED: Final[dict[str, Any]] = {
    "": None,
    VERBS: _Texts,
    SCORES: tuple[float, ...],
    SOURCES: _Texts,
    TOTAL: Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)],
}


def _type_of(attribute: Attribute) -> Any:
    if attribute.key == semconv.RECORD_SCHEMA_VERSION:
        return Literal[semconv.SCHEMA_VERSION]
    return {
        Kind.TEXT: Annotated[str, msgspec.Meta(max_length=attribute.limit)],
        Kind.WORD: Annotated[str, msgspec.Meta(max_length=attribute.limit, pattern=rf"^(?:{attribute.shape})\Z")],
        Kind.TEXTS: _Texts,
        Kind.LABEL: Annotated[str, msgspec.Meta(max_length=MAX_STRING)],
        Kind.UUID: str,
        Kind.STRICT_UUID: str,
        Kind.INTEGER: Annotated[int, msgspec.Meta(ge=-attribute.limit, le=attribute.limit)],
        Kind.BOOLEAN: bool,
    }[attribute.kind]


def _types() -> dict[str, Any]:
    types: dict[str, Any] = {semconv.EVENT_ID: Optional[str]}  # noqa: UP045 - as the others
    for attribute in columns.UTTERANCE.values():
        types[attribute.key] = Optional[_type_of(attribute)]  # noqa: UP045 - only known at run time
    for prefix in (CANDIDATES_PRE, CANDIDATES_POST):
        for suffix, kind in _LISTED.items():
            types[prefix + suffix] = Optional[kind]  # noqa: UP045 - only known at run time
    types[semconv.QUALITY] = Optional[_Texts]  # noqa: UP045 - as the others
    return types


KNOWN: Final = _types()
"""Type of the value under each key: the event id; what ``columns.UTTERANCE`` has, in its order; then, before and after
policy, what is under the key of the list itself, verbs, scores, sources and total; then the quality flags. None stands
for a value that is absent."""

_KEYS: Final = tuple(KNOWN)
_TraceId: Any = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_SpanId: Any = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Ended: Any = (_TraceId, _SpanId, int, int, bool | None, str | None, int)
_Form: Any = tuple[Literal[ORDER], *_Ended, *KNOWN.values()]  # pyright: ignore[reportInvalidTypeArguments] - made at run time
_decode: Final[Callable[[bytes], tuple[Any, ...]]] = msgspec.msgpack.Decoder(_Form).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def payload_of(span: SpanView) -> bytes | None:
    """Payload of an utterance; None when its values are not plain.

    Args:
        span: a selected span; of its attributes only those of :data:`KNOWN` are kept.
    """
    trace_id, span_id, start_ns, end_ns, attributes, sampled, service_name, dropped = span
    try:
        ids = trace_id.to_bytes(16, "big"), span_id.to_bytes(8, "big")
        head = (ORDER, *ids, start_ns, end_ns, sampled, service_name, dropped)
        payload = None if pack_payload is None else pack_payload(head, _KEYS, attributes)
        if payload is None:
            values = list(map(attributes.get, _KEYS))
            if _PLAIN.issuperset(map(type, values)):  # a type derived from str may do anything when it is read
                payload = _encode((*head, *values))
    except Exception:  # noqa: BLE001 - a lone surrogate, a number beyond 64 bits, or an object of foreign code
        return None
    return payload


def payload_with(values: tuple[Any, ...]) -> bytes:
    """Payload of what :func:`values_in` or :func:`intent_events.rows.completed` gives."""
    return _encode((ORDER, *values))


def values_in(payload: bytes) -> tuple[Any, ...] | None:
    """What the span of an utterance has, an :class:`Ended`, then its values; None when they need the careful way.

    Args:
        payload: any bytes.
    """
    try:
        return _decode(payload)[1:]
    except ValueError:  # it needs mending, is a reply, an outcome or of another version, or is no payload at all
        return None
