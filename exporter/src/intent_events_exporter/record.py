# SPDX-License-Identifier: Apache-2.0
"""The record form: what of a selected span is spooled, and how it becomes a row again.

A payload is a msgpack array: kind of record, trace id (16 bytes), span id (8 bytes), start and end (ns since 1970, text
when beyond 64 bits), sampled, service name, dropped attributes, attributes. It holds the span rather than the row:
encoding costs the caller a tenth of what mapping does, and a newer version reads what an older one has spooled.
Attributes that are none of the contract are left out, since code of the host's may have set them.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from intent_events import semconv
from intent_events.columns import KEYS
from intent_events.mending import text
from intent_events.rows import Known, Rejection, Row, row_of
from intent_events.semconv import Quality, Record
from intent_events.spans import SpanView
from intent_events.store.copy_format import Sealed, seal
from intent_events.store.quick_seal import Ended, seal_known

_encode: Final = msgspec.msgpack.Encoder().encode
_Form = tuple[str, bytes, bytes, int | str, int | str, bool | None, str | None, int, Any]
_decode: Final = msgspec.msgpack.Decoder(_Form).decode
_KnownForm: Any = tuple[str, bytes, bytes, int, int, bool | None, str | None, int, Known]
_decode_known: Final = msgspec.msgpack.Decoder(_KnownForm).decode
_LONGEST: Final = 1 << 63
_PLAIN: Final = frozenset({bool, float, bytes})
_TRACE_ID: Final = (1 << 128) - 1
_SPAN_ID: Final = (1 << 64) - 1


def encode(span: SpanView, record: Record) -> bytes:
    """Payload of a selected span.

    Args:
        span: the span.
        record: what ``select`` said it is.
    """
    attributes = span.attributes
    if not KEYS.issuperset(attributes):
        attributes = {key: value for key, value in attributes.items() if key in KEYS}
    try:
        return _encode(
            (
                record.value,
                span.trace_id.to_bytes(16, "big"),
                span.span_id.to_bytes(8, "big"),
                span.start_ns,
                span.end_ns,
                span.sampled,
                span.service_name,
                span.dropped_attributes,
                attributes,
            )
        )
    except Exception:  # noqa: BLE001 - a lone surrogate, a number beyond 64 bits, or an object of foreign code
        return _encode_with_care(span, record, attributes)


def decode(payload: bytes) -> SpanView:
    """The span of a payload.

    Raises:
        ValueError: it is none.
    """
    return _span_of(_decode(payload))


def row_in(payload: bytes) -> Row | Rejection:
    """Row of a payload, or why there is none.

    Raises:
        ValueError: it is no payload.
    """
    form = _decode(payload)
    return row_of(_span_of(form), Record(form[0]))


def sealed_in(payload: bytes) -> Sealed | Rejection:
    """Sealed row of a payload, or why there is none; the same as ``seal(row_in(payload))``, in a third of the time.

    Raises:
        ValueError: it is no payload.
    """
    try:
        kind, trace_id, span_id, *rest, known = _decode_known(payload)
    except ValueError:  # it needs mending, or it is a reply or an outcome
        pass
    else:
        ended = Ended(trace_id.hex(), span_id.hex(), *rest)
        sealed = seal_known(ended, known) if kind == Record.UTTERANCE else None
        if sealed is not None:
            return sealed
    row = row_in(payload)
    return row if isinstance(row, Rejection) else seal(row)


def _span_of(form: _Form) -> SpanView:
    _, trace_id, span_id, start_ns, end_ns, sampled, service_name, dropped, attributes = form
    return SpanView(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        int(start_ns),
        int(end_ns),
        attributes,
        sampled,
        service_name,
        dropped,
    )


def _encode_with_care(span: SpanView, record: Record, attributes: Mapping[str, Any]) -> bytes:
    """Mend what the form cannot hold; the flags of that go where those of the emitter are."""
    quality: set[str] = set()
    plain = {str.__str__(key): _plain(value, quality) for key, value in attributes.items()}
    if quality:
        given = plain.get(semconv.QUALITY)
        flags = cast("list[object]", given) if isinstance(given, list) else []
        plain[semconv.QUALITY] = [*flags, *map(str, sorted(quality))]
    service = text(span.service_name, set())
    ids = (span.trace_id & _TRACE_ID).to_bytes(16, "big"), (span.span_id & _SPAN_ID).to_bytes(8, "big")
    times = (time if -_LONGEST <= time < _LONGEST else str(time) for time in (span.start_ns, span.end_ns))
    return _encode((record.value, *ids, *times, span.sampled, service, span.dropped_attributes, plain))


def _plain(value: object, quality: set[str]) -> object:
    """The value as plain types that the form can hold; an empty map stands for what can be no value of a column."""
    try:
        return _plain_or_none(value, quality)
    except Exception:  # noqa: BLE001 - an object of foreign code may raise anything when it is looked at
        return {}


def _plain_or_none(value: object, quality: set[str]) -> object:
    kind = type(value)
    plain: object = {}
    if value is None or kind in _PLAIN:
        plain = value
    elif issubclass(kind, str):
        plain = text(value, quality, _LONGEST)
    elif issubclass(kind, float):
        plain = float.__float__(cast("float", value))
    elif issubclass(kind, int):
        number = int.__index__(cast("int", value))
        fits = -_LONGEST <= number < _LONGEST
        if not fits:
            quality.add(Quality.VALUE_MENDED)
        plain = number if fits else int.__repr__(number)
    elif kind is list or kind is tuple:
        plain = [_plain(item, quality) for item in cast("list[object]", value)]
    elif kind is dict:
        items = cast("dict[object, object]", value).items()
        plain = {text(key, quality, _LONGEST): _plain(item, quality) for key, item in items}
    return plain
