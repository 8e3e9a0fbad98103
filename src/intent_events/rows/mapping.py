# SPDX-License-Identifier: Apache-2.0
"""How a span becomes a row."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from intent_events import columns, semconv
from intent_events.columns import Attribute
from intent_events.identity import derived_uuid, event_id_of, is_uuid7, milliseconds_in, parse_uuid
from intent_events.mending import text, value
from intent_events.rows.candidates import candidates_of
from intent_events.rows.completed import REQUIRED
from intent_events.rows.shapes import ChatEventRow, IntentEventRow, IntentOutcomeRow, Rejection, RejectReason, Row
from intent_events.semconv import Quality, Record
from intent_events.spans import SpanView

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 253_402_300_799_999
_Plan = tuple[tuple[str, Attribute, Any], ...]


def _plan(table: dict[str, Attribute]) -> _Plan:
    return tuple((attribute.key, attribute, REQUIRED.get(column)) for column, attribute in table.items())


_UTTERANCE: Final = _plan(columns.UTTERANCE)
_REPLY: Final = _plan(columns.REPLY)
_OUTCOME: Final = _plan(columns.OUTCOME)
_SCHEMA_VERSION: Final = list(columns.UTTERANCE).index("schema_version")
_REPLY_SESSION: Final = list(columns.REPLY).index("session_id")
_SESSION: Final = list(columns.UTTERANCE).index("session_id")
_EMITTED_BY: Final = (columns.UTTERANCE["emitter_id"], columns.UTTERANCE["emitter_seq"])
_DENIED: Final = list(columns.UTTERANCE).index("semreg_denied_verbs")


def row_of(span: SpanView, record: Record) -> Row | Rejection:
    """Map a selected span; each value is mended on its own, and ``quality`` says so.

    Args:
        span: the span.
        record: what ``select`` said it is.

    Returns:
        The row, or why there is none.
    """
    attributes = span.attributes
    quality: set[str] = set()
    head = _head_of(span, record, quality)
    if isinstance(head, Rejection):
        emitter_id, emitter_seq = (value(each, attributes.get(each.key), quality) for each in _EMITTED_BY)
        return head._replace(emitter_id=emitter_id, emitter_seq=emitter_seq)
    event_id, ts, *origin = head
    if record is Record.OUTCOME:
        values = _values(_OUTCOME, attributes, quality)
        return IntentOutcomeRow._make((event_id, ts, *values, *origin, _flags(attributes, quality)))
    if record is Record.REPLY:
        values = _values(_REPLY, attributes, quality)
        _fill_session(values, _REPLY_SESSION, head.trace_id)
        return ChatEventRow._make((event_id, ts, *values, *origin, _flags(attributes, quality)))
    values = _values(_UTTERANCE, attributes, quality)
    _fill_session(values, _SESSION, head.trace_id)
    lists = candidates_of(attributes, quality)
    _check_reasons(values, quality)
    if values[_SCHEMA_VERSION] != semconv.SCHEMA_VERSION:
        quality.add(Quality.SCHEMA_VERSION_UNKNOWN)
    duration_ms = max(span.end_ns - span.start_ns, 0) / 1e6
    own = (duration_ms, span.sampled, *origin, _flags(attributes, quality))
    return IntentEventRow._make((event_id, ts, *values, *lists, *own))


def key_of(span: SpanView, record: Record, quality: set[str]) -> UUID:
    """Key of the row of a selected span.

    Args:
        span: the span.
        record: what ``select`` said it is.
        quality: receives the flag of a key that the emitter did not give, or that has another time than the span.
    """
    given = parse_uuid(span.attributes.get(semconv.EVENT_ID)) if record is Record.UTTERANCE else None
    if given is not None and is_uuid7(given):
        if milliseconds_in(given) != span.start_ns // 1_000_000:
            quality.add(Quality.EVENT_ID_TIME)
        return given
    if record is Record.UTTERANCE:
        quality.add(Quality.EVENT_ID_DERIVED)
    return event_id_of(span.trace_id, span.span_id, span.start_ns)


class _Head(NamedTuple):
    """What a row has of the span itself."""

    event_id: UUID
    ts: datetime
    trace_id: str
    span_id: str
    service_name: str | None


def _head_of(span: SpanView, record: Record, quality: set[str]) -> _Head | Rejection:
    event_id = key_of(span, record, quality)
    trace_id, span_id = format(span.trace_id, "032x"), format(span.span_id, "016x")
    service = text(span.service_name, quality)
    reason = _reason_to_reject(event_id, span)
    if reason is not None:
        return Rejection(reason, record, trace_id, span_id, span.start_ns, service)
    if span.dropped_attributes:
        quality.add(Quality.ATTRIBUTES_DROPPED)
    return _Head(event_id, _EPOCH + timedelta(milliseconds=milliseconds_in(event_id)), trace_id, span_id, service)


def _values(plan: _Plan, attributes: Mapping[str, Any], quality: set[str]) -> list[Any]:
    get = attributes.get
    values: list[Any] = []
    for key, attribute, default in plan:
        raw = get(key)
        clean = None if raw is None and attribute.missing is None else value(attribute, raw, quality)
        values.append(default if clean is None else clean)
    return values


def _fill_session(values: list[Any], at: int, trace_id: str) -> None:
    """An utterance without a session is a session of its own; the flag says that it was not given."""
    if values[at] is None:
        values[at] = derived_uuid(semconv.SESSION_ID, trace_id)


def _check_reasons(values: list[Any], quality: set[str]) -> None:
    verbs, reasons = values[_DENIED], values[_DENIED + 1]
    if reasons is not None and len(reasons) != len(verbs or ()):
        quality.add(Quality.REASONS_MISMATCH)


def _reason_to_reject(event_id: UUID, span: SpanView) -> RejectReason | None:
    if milliseconds_in(event_id) > _LAST_MS:
        return RejectReason.TIME_OUT_OF_RANGE
    if not (span.trace_id and span.span_id) and event_id == event_id_of(span.trace_id, span.span_id, span.start_ns):
        return RejectReason.IDS_INVALID
    return None


def _flags(attributes: Mapping[str, Any], quality: set[str]) -> list[str] | None:
    """Flags of the emitter and of this reading, each once, in order of the alphabet."""
    given = value(_QUALITY, attributes.get(semconv.QUALITY), quality)
    if given:
        quality.update(given)
    return sorted(quality) if quality else None


_QUALITY: Final = Attribute(semconv.QUALITY, columns.Kind.TEXTS)
