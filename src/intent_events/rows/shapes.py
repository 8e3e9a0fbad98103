# SPDX-License-Identifier: Apache-2.0
"""Rows as they are written: the fields are the columns of the table, by name; the migrations say what each means."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

from intent_events.semconv import Record


class CandidateItem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One element of a candidate list; what is unknown is left out of the JSON that it becomes.

    Attributes:
        verb: fully qualified verb.
        score: how well it fits, higher is better.
        source: the discovery that found it.
    """

    verb: str
    score: float | None = None
    source: str | None = None


class IntentEventRow(NamedTuple):
    """A row of ``agent.intent_events``: one utterance."""

    event_id: UUID
    ts: datetime
    schema_version: int
    emitter_id: UUID | None
    emitter_seq: int | None
    error_code: str | None
    synthetic: bool
    prompt_version: str | None
    hash_key_id: str | None
    session_id: UUID
    parent_event_id: UUID | None
    actor_id: str
    entrypoint: str
    utterance_hash: str
    template_hash: str | None
    utterance_preview: str | None
    scope: str | None
    subject_ref_type: str | None
    subject_ref_id: UUID | None
    semreg_mode: str
    semreg_denied_verbs: list[str] | None
    semreg_denied_reasons: list[str] | None
    semreg_snapshot_id: str | None
    chosen_verb_fqn: str | None
    forced_verb_fqn: str | None
    selection_source: str | None
    outcome: str
    missing_args: list[str] | None
    dsl_hash: str | None
    run_sheet_entry_id: UUID | None
    macro_semreg_checked: bool
    macro_denied_verbs: list[str] | None
    boost_version: str | None
    registry_version: str | None
    verb_candidates_pre: list[CandidateItem] | None
    verb_candidates_pre_total: int | None
    verb_candidates_post: list[CandidateItem] | None
    verb_candidates_post_total: int | None
    duration_ms: float
    trace_sampled: bool | None
    trace_id: str
    span_id: str
    service_name: str | None
    quality: list[str] | None


class ChatEventRow(NamedTuple):
    """A row of ``agent.chat_events``: what the assistant answered to an utterance."""

    event_id: UUID
    ts: datetime
    schema_version: int
    emitter_id: UUID | None
    emitter_seq: int | None
    synthetic: bool
    prompt_version: str | None
    hash_key_id: str | None
    session_id: UUID
    intent_event_id: UUID | None
    turn_id: str | None
    assistant_message_hash: str | None
    assistant_message_preview: str | None
    trace_id: str
    span_id: str
    service_name: str | None
    quality: list[str] | None


class IntentOutcomeRow(NamedTuple):
    """A row of ``agent.intent_outcomes``: what became of an utterance after it had been handled."""

    event_id: UUID
    ts: datetime
    schema_version: int
    emitter_id: UUID | None
    emitter_seq: int | None
    error_code: str | None
    synthetic: bool
    intent_event_id: UUID | None
    kind: str
    trace_id: str
    span_id: str
    service_name: str | None
    quality: list[str] | None


Row = IntentEventRow | ChatEventRow | IntentOutcomeRow


class RejectReason(StrEnum):
    """Why a span that says it is a record cannot become a row."""

    IDS_INVALID = "ids_invalid"
    """It has neither a key nor the trace and span ids that one is derived from."""

    TIME_OUT_OF_RANGE = "time_out_of_range"
    """Its time is later than the year 9999, which no ``timestamptz`` of ours holds."""

    UNDECODABLE = "undecodable"
    """Its bytes are no span: a text that is no UTF-8, nesting without end, a value of another type."""


class Rejection(NamedTuple):
    """A record that cannot become a row, and why.

    Attributes:
        reason: why.
        record: what it says it is a record of; None when that cannot be told.
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        start_ns: start of the span, nanoseconds since 1970.
        service_name: ``service.name`` of the resource.
        emitter_id: the process that recorded it.
        emitter_seq: its number in that process.
        payload: its bytes as they came, for a replay after the fault is mended; None when they are not kept.
    """

    reason: RejectReason
    record: Record | None
    trace_id: str
    span_id: str
    start_ns: int
    service_name: str | None
    emitter_id: UUID | None = None
    emitter_seq: int | None = None
    payload: bytes | None = None
