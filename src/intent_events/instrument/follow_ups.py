# SPDX-License-Identifier: Apache-2.0
"""What follows an utterance: the assistant's reply, and what became of it. Append-only records of their own."""

from time import time_ns
from typing import Any
from uuid import UUID

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from intent_events import columns, semconv
from intent_events.columns import Attribute
from intent_events.instrument.current import current_recorder
from intent_events.instrument.direct import Unspanned, direct_way, end_span, rescue
from intent_events.instrument.recorder import EMITTER
from intent_events.instrument.troubles import trouble
from intent_events.mending import value
from intent_events.semconv import Record


def record_reply(
    event_id: UUID | str,
    text: str,
    *,
    session_id: UUID | str | None = None,
    turn_id: str | int | None = None,
    prompt_version: str | None = None,
    synthetic: bool | None = None,
) -> None:
    """Record what the assistant answered: a row of ``agent.chat_events`` with its fingerprint and masked preview.

    Never raises.

    Args:
        event_id: the utterance that is answered.
        text: the raw reply; it does not leave this call.
        session_id: the conversation.
        turn_id: the turn of the conversation that the reply closes.
        prompt_version: version of the prompt pack that made the reply.
        synthetic: True for test traffic; None takes what the process is set to.
    """
    try:
        recorder = current_recorder()
        kept = recorder.privacy.record(str.__str__(text), time_ns()) if isinstance(text, str) else None  # pyright: ignore[reportUnnecessaryIsInstance] - callers need not be typed
        _emit(
            Record.REPLY,
            columns.REPLY,
            {
                "intent_event_id": event_id,
                "session_id": session_id,
                "turn_id": None if turn_id is None else str(turn_id),
                "prompt_version": prompt_version,
                "assistant_message_hash": kept and kept.hash,
                "assistant_message_preview": kept and kept.preview,
                "hash_key_id": kept and kept.key_id,
                "synthetic": recorder.synthetic or synthetic,
            },
        )
    except Exception as error:  # noqa: BLE001 - whatever fails in recording must not reach the host
        trouble("intent-events: a reply could not be recorded", error)


def record_outcome(
    event_id: UUID | str, kind: str, *, error_type: str | None = None, synthetic: bool | None = None
) -> None:
    """Record what became of an utterance after it had been handled: a row of ``agent.intent_outcomes``.

    Never raises.

    Args:
        event_id: the utterance.
        kind: a :class:`intent_events.semconv.OutcomeKind`.
        error_type: class or code of a failure, never its message.
        synthetic: True for test traffic; None takes what the process is set to.
    """
    try:
        _emit(
            Record.OUTCOME,
            columns.OUTCOME,
            {
                "intent_event_id": event_id,
                "kind": kind,
                "error_code": error_type,
                "synthetic": current_recorder().synthetic or synthetic,
            },
        )
    except Exception as error:  # noqa: BLE001 - whatever fails in recording must not reach the host
        trouble("intent-events: an outcome could not be recorded", error)


def _emit(record: Record, table: dict[str, Attribute], fields: dict[str, object]) -> None:
    if not is_instrumentation_enabled():
        return
    way = direct_way()
    start_ns = time_ns()
    # What it is the sampler must know; a number is given only to what can be stored.
    kind = {semconv.RECORD: record.value}
    span = current_recorder().tracer.start_span(f"intent.{record.value}", attributes=kind)
    if not span.is_recording():
        if way is not None:
            way.accept(Unspanned.of(span, start_ns).view(_attributes_of(record, table, fields)))
        span.end()
        return
    if way is not None:
        way.meet_sdk()
    span.set_attributes(_attributes_of(record, table, fields))
    rescue(span, way, seen=end_span(span))


def _attributes_of(record: Record, table: dict[str, Attribute], fields: dict[str, object]) -> dict[str, Any]:
    quality: set[str] = set()
    attributes: dict[str, Any] = {
        semconv.RECORD: record.value,
        semconv.RECORD_SCHEMA_VERSION: semconv.SCHEMA_VERSION,
        semconv.EMITTER_ID: EMITTER.emitter_id,
        semconv.EMITTER_SEQ: EMITTER.next_number(),
    }
    for name, raw in fields.items():
        clean = None if raw is None else value(table[name], raw, quality)
        if clean is not None:
            attributes[table[name].key] = str(clean) if isinstance(clean, UUID) else clean
    if quality:
        attributes[semconv.QUALITY] = [str(flag) for flag in sorted(quality)]
    return attributes
