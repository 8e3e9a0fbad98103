# SPDX-License-Identifier: Apache-2.0
"""The record form: what of a selected span is spooled, and how it becomes a row again.

A payload is a msgpack array. Its first element says what the last ones are; between them stands what the span itself
has: trace id (16 bytes), span id (8 bytes), start and end (ns since 1970, text when beyond 64 bits), sampled, service
name, dropped attributes. The number of an order of keys is followed by one value a key: that is how utterances are
spooled. The kind of a record is followed by a map of attributes: replies, outcomes, and what had to be mended first.

It holds the span rather than the row: encoding costs the caller a tenth of what mapping does, and a newer version reads
what an older one has spooled. Attributes that are none of the contract are left out, since code of the host's may have
set them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from intent_events import semconv
from intent_events.columns import KEYS
from intent_events.identity import spelled
from intent_events.instrument.troubles import trouble
from intent_events.mending import text
from intent_events.rows import KNOWN, ORDER, Rejection, Row, payload_of, row_of
from intent_events.semconv import Quality, Record
from intent_events.spans import SpanView
from intent_events.store.copy_format import Sealed
from intent_events.store.quick_seal import seal_payloads
from intent_events.store.seal import sealed_with_care

ORDERS: Final[dict[int, tuple[str, ...]]] = {ORDER: tuple(KNOWN)}
"""Keys of the values by the number of their order; one that was ever released stays."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode
_Ended: Any = (bytes, bytes, int | str, int | str, bool | None, str | None, int)
_Mapped: Any = tuple[str, *_Ended, dict[str, Any]]
_Ordered: Any = tuple[int, *_Ended]
_FIRST: Final = 8
_KINDS: Final = frozenset(record.value for record in Record)
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
    if record is Record.UTTERANCE:
        payload = payload_of(span)
        return _encode_with_care(span, record) if payload is None else payload
    trace_id, span_id, start_ns, end_ns, attributes, sampled, service_name, dropped = span
    try:
        ids = trace_id.to_bytes(16, "big"), span_id.to_bytes(8, "big")
        kept = {key: value for key, value in attributes.items() if key in KEYS}
        return _encode((record.value, *ids, start_ns, end_ns, sampled, service_name, dropped, kept))
    except Exception:  # noqa: BLE001 - a lone surrogate, a number beyond 64 bits, or an object of foreign code
        return _encode_with_care(span, record)


def decode(payload: bytes) -> SpanView:
    """The span of a payload.

    Raises:
        ValueError: it is none.
    """
    return _read(payload)[0]


def row_in(payload: bytes) -> Row | Rejection:
    """Row of a payload, or why there is none.

    Raises:
        ValueError: it is no payload, or one of a newer version.
    """
    return row_of(*_read(payload))


class NewerError(ValueError):
    """A payload of a newer version of the exporter, which knows what it says."""


def sealed_in(payloads: Sequence[bytes]) -> list[Sealed | Rejection | None]:
    """Sealed row of each payload, or why there is none; None for what is no payload.

    The same as ``seal(row_in(payload))``, and far quicker; the more at once the better, but nothing else runs then.

    Raises:
        NewerError: one of them is of a newer version.
    """
    quick = seal_payloads(payloads)
    return [row or _sealed_with_care(payload) for row, payload in zip(quick, payloads, strict=True)]


def _sealed_with_care(payload: bytes) -> Sealed | Rejection | None:
    try:
        span, record = _read(payload)
    except NewerError:  # it is nothing that may be given up
        raise
    except ValueError as error:  # no form that any version knows
        trouble("intent-events: a record of the spool cannot be read and is given up", error)
        return None
    return sealed_with_care(span, record)


def _read(payload: bytes) -> tuple[SpanView, Record]:
    form = _decode(payload)
    if not (form and isinstance(form[0], int)):
        kind, *ended, attributes = msgspec.convert(form, _Mapped)
        if kind not in _KINDS:
            raise NewerError
        return _span_of(ended, attributes), Record(kind)
    order, *ended = msgspec.convert(form[:_FIRST], _Ordered)
    if order not in ORDERS:
        raise NewerError
    values = zip(ORDERS[order], form[_FIRST:], strict=True)
    attributes = {key: value for key, value in values if value is not None}
    return _span_of(ended, {**attributes, semconv.ROOT: True}), Record.UTTERANCE


def _span_of(ended: Sequence[Any], attributes: Mapping[str, Any]) -> SpanView:
    trace_id, span_id, start_ns, end_ns, sampled, service_name, dropped = ended
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


def _encode_with_care(span: SpanView, record: Record) -> bytes:
    """Mend what the form cannot hold; the flags of that go where those of the emitter are."""
    quality: set[str] = set()
    given = ((key, value) for key, value in span.attributes.items() if key in KEYS and value is not None)
    plain = {str.__str__(key): _plain(value, quality) for key, value in given}
    if quality:
        given = plain.get(semconv.QUALITY)  # a reader takes the keys of a map
        flags = cast("Iterable[object]", given) if isinstance(given, (list, dict)) else ()
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
    elif kind is UUID:
        plain = spelled(cast("UUID", value))
    elif kind is list or kind is tuple:
        plain = [_plain(item, quality) for item in cast("list[object]", value)]
    elif kind is dict:
        items = cast("dict[object, object]", value).items()
        plain = {text(key, quality, _LONGEST): _plain(item, quality) for key, item in items}
    return plain
