# SPDX-License-Identifier: Apache-2.0
"""Any span gives a row whose values have the types of their columns, or a rejection with a name."""

import types
import typing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import columns, semconv
from intent_events.identity import derived_uuid, event_id_of, is_uuid7, milliseconds_in
from intent_events.mending import INT32_MAX, INT64_MAX
from intent_events.rows import (
    CandidateItem,
    ChatEventRow,
    IntentEventRow,
    IntentOutcomeRow,
    Rejection,
    RejectReason,
    Row,
    row_of,
)
from intent_events.semconv import MAX_STRING, Quality, Record
from intent_events.spans import SpanView
from unit.odd_values import ANYTHING
from unit.spans_of import KEYS, START_NS, STRANGE_SPANS, view

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS: dict[Record, type[Row]] = {
    Record.UTTERANCE: IntentEventRow,
    Record.REPLY: ChatEventRow,
    Record.OUTCOME: IntentOutcomeRow,
}
EVENT_ID = event_id_of(1, 2, START_NS)


def has_type(value: Any, hint: Any) -> bool:
    """Whether a value is exactly of an annotated type: types derived from it cannot be written."""
    if typing.get_origin(hint) is types.UnionType:
        return any(has_type(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        items: list[Any] = value
        return type(value) is list and all(has_type(item, typing.get_args(hint)[0]) for item in items)
    if typing.get_origin(hint) is tuple:
        parts: tuple[Any, ...] = value
        return type(value) is tuple and all(map(has_type, parts, typing.get_args(hint)))
    return type(value) is hint or (hint is str and isinstance(value, Quality))


def check(row: Row) -> None:
    """Check every value of a row against its column."""
    hints = typing.get_type_hints(type(row))
    for name, value in zip(row._fields, row, strict=True):
        assert has_type(value, hints[name]), f"{name} is {type(value)}, not {hints[name]}"
        for text in value if isinstance(value, list) else [value]:
            for part in msgspec.structs.astuple(text) if isinstance(text, CandidateItem) else [text]:
                if isinstance(part, str):
                    assert "\x00" not in part
                    assert len(part.encode().decode()) <= (80 if name.endswith("preview") else MAX_STRING)
    assert is_uuid7(row.event_id)
    assert row.ts == EPOCH + timedelta(milliseconds=milliseconds_in(row.event_id))
    for name, most in (("schema_version", INT32_MAX), ("emitter_seq", INT64_MAX)):
        assert abs(getattr(row, name) or 0) <= most


@given(STRANGE_SPANS, st.sampled_from(Record))
def test_row_of_is_total(span: SpanView, record: Record) -> None:
    """Whatever the attributes hold, a span gives a row of its table or a named rejection, and nothing raises."""
    row = row_of(span, record)
    if isinstance(row, Rejection):
        assert row.reason in RejectReason
        assert row.record is record
        return
    assert type(row) is ROWS[record]
    check(row)
    assert row.quality is None or row.quality == sorted(set(row.quality))


@given(st.sampled_from(KEYS), ANYTHING, st.sampled_from(Record))
def test_one_odd_attribute_costs_no_other(key: str, value: Any, record: Record) -> None:
    """A value that cannot be read loses itself alone: the row is there, with the columns of the other attributes."""
    whole: dict[str, Any] = {semconv.ACTOR_ID: "a-1", semconv.ERROR_TYPE: "TimeoutError", semconv.TURN_ID: "t-1"}
    row = row_of(view({**whole, key: value}), record)
    assert not isinstance(row, Rejection)
    check(row)
    for name, other in (
        ("actor_id", semconv.ACTOR_ID),
        ("error_code", semconv.ERROR_TYPE),
        ("turn_id", semconv.TURN_ID),
    ):
        if other != key and hasattr(row, name):
            assert getattr(row, name) == whole[other]


@given(STRANGE_SPANS, st.sampled_from(Record))
def test_own_flags_are_documented(span: SpanView, record: Record) -> None:
    """Every flag that reading adds is one of the contract."""
    attributes = {key: value for key, value in span.attributes.items() if key != semconv.QUALITY}
    row = row_of(span._replace(attributes=attributes), record)
    if not isinstance(row, Rejection):
        assert set(row.quality or ()) <= set(Quality)


LAST_NS = 253_402_300_799_999_999_999


@given(st.integers(0, LAST_NS), st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.sampled_from(Record))
def test_ts_and_event_id_agree(start_ns: int, trace_id: int, span_id: int, record: Record) -> None:
    """From 1970 to 9999, the time of a row is the millisecond in its key, which is that of the span's start."""
    row = row_of(view({semconv.ROOT: True}, start_ns=start_ns, trace_id=trace_id, span_id=span_id), record)
    assert not isinstance(row, Rejection)
    assert row.event_id == event_id_of(trace_id, span_id, start_ns)
    assert row.ts == EPOCH + timedelta(milliseconds=start_ns // 1_000_000)


@given(st.integers(0, LAST_NS), st.integers(0, LAST_NS))
def test_ts_follows_the_emitters_key(span_ns: int, key_ns: int) -> None:
    """A key of the emitter's own decides the time; when it is not that of the span, this is flagged."""
    event_id = event_id_of(5, 6, key_ns)
    row = row_of(view({semconv.EVENT_ID: str(event_id)}, start_ns=span_ns), Record.UTTERANCE)
    assert not isinstance(row, Rejection)
    assert row.event_id == event_id
    assert row.ts == EPOCH + timedelta(milliseconds=key_ns // 1_000_000)
    assert (Quality.EVENT_ID_TIME in (row.quality or ())) is (span_ns // 1_000_000 != key_ns // 1_000_000)


@pytest.mark.parametrize("given_id", [None, "", "no uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", 7, []])
def test_a_key_that_is_none_is_derived(given_id: object) -> None:
    """A missing key, or one that is no UUIDv7, is derived from the span as every other door would, and flagged."""
    span = view({semconv.ROOT: True, semconv.EVENT_ID: given_id})
    row = row_of(span, Record.UTTERANCE)
    assert not isinstance(row, Rejection)
    assert row.event_id == event_id_of(span.trace_id, span.span_id, span.start_ns)
    assert Quality.EVENT_ID_DERIVED in (row.quality or ())


@pytest.mark.parametrize("record", [Record.REPLY, Record.OUTCOME])
def test_follow_ups_have_keys_of_their_own(record: Record) -> None:
    """A reply or outcome is keyed by its own span; its event_id attribute is the utterance that it follows."""
    span = view({semconv.RECORD: record.value, semconv.EVENT_ID: str(EVENT_ID)})
    row = row_of(span, record)
    assert isinstance(row, (ChatEventRow, IntentOutcomeRow))
    assert row.event_id == event_id_of(span.trace_id, span.span_id, span.start_ns)
    assert row.intent_event_id == EVENT_ID


@pytest.mark.parametrize("record", [Record.REPLY, Record.OUTCOME])
@pytest.mark.parametrize("given_id", [None, "no uuid", 7])
def test_a_follow_up_of_nothing_is_flagged(record: Record, given_id: object) -> None:
    """A reply or outcome that does not say what it follows is stored without the reference."""
    row = row_of(view({semconv.EVENT_ID: given_id}), record)
    assert isinstance(row, (ChatEventRow, IntentOutcomeRow))
    assert row.intent_event_id is None
    assert Quality.FOLLOWED_EVENT_INVALID in (row.quality or ())


@pytest.mark.parametrize("ids", [{"trace_id": 0}, {"span_id": 0}, {"trace_id": 0, "span_id": 0}])
def test_a_span_without_ids_needs_a_key(ids: dict[str, int]) -> None:
    """Without ids and key nothing could be deduplicated, so the span is rejected; with a key it is a row."""
    rejection = row_of(view({semconv.ROOT: True}, **ids), Record.UTTERANCE)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is RejectReason.IDS_INVALID
    assert rejection.start_ns == START_NS
    assert (rejection.trace_id, rejection.span_id) == (
        "0" * 32 if "trace_id" in ids else "5b8efff798038103d269b633813fc60c",
        "0" * 16 if "span_id" in ids else "eee19b7ec3c1b174",
    )
    row = row_of(view({semconv.ROOT: True, semconv.EVENT_ID: str(EVENT_ID)}, **ids), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert row.event_id == EVENT_ID


@pytest.mark.parametrize("record", Record)
def test_a_time_beyond_the_calendar_is_rejected(record: Record) -> None:
    """The year 10000 fits a UUIDv7 and no timestamp of Python's; the last moment of 9999 is a row."""
    rejection = row_of(view({}, start_ns=LAST_NS + 1), record)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is RejectReason.TIME_OUT_OF_RANGE
    assert rejection.service_name == "orchestrator"
    row = row_of(view({}, start_ns=LAST_NS), record)
    assert not isinstance(row, Rejection)
    assert row.ts == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_a_bare_utterance_says_what_is_missing() -> None:
    """Required columns are never null; each that the emitter left out is flagged."""
    row = row_of(view({semconv.ROOT: True}), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert row.quality == [
        "actor_id_missing",
        "entrypoint_missing",
        "event_id_derived",
        "outcome_missing",
        "semreg_mode_missing",
        "session_id_missing",
        "utterance_missing",
    ]
    assert {row.actor_id, row.entrypoint, row.utterance_hash, row.semreg_mode, row.outcome} == {"unknown"}
    assert (row.schema_version, row.synthetic, row.macro_semreg_checked) == (1, False, False)
    assert row.session_id == derived_uuid(semconv.SESSION_ID, row.trace_id)


def test_a_bare_outcome_says_what_is_missing() -> None:
    """An outcome without a kind is stored as unknown."""
    row = row_of(view({semconv.RECORD: "outcome"}), Record.OUTCOME)
    assert isinstance(row, IntentOutcomeRow)
    assert row.kind == "unknown"
    assert row.quality == ["followed_event_invalid", "outcome_kind_missing"]


@pytest.mark.parametrize(
    ("key", "column", "flag"),
    [
        (semconv.OUTCOME, "outcome", Quality.OUTCOME_UNKNOWN),
        (semconv.ENTRYPOINT, "entrypoint", Quality.ENTRYPOINT_UNKNOWN),
        (semconv.SEMREG_MODE, "semreg_mode", Quality.SEMREG_MODE_UNKNOWN),
        (semconv.SELECTION_SOURCE, "selection_source", Quality.SELECTION_SOURCE_UNKNOWN),
    ],
)
def test_unknown_labels_are_kept(key: str, column: str, flag: Quality) -> None:
    """A label that this version does not know is stored as it is, and flagged."""
    row = row_of(view({semconv.ROOT: True, key: "Brand-New!"}), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert getattr(row, column) == "Brand-New!"
    assert flag in (row.quality or ())


def test_an_unknown_kind_of_outcome_is_kept() -> None:
    """The same holds for what became of an utterance."""
    row = row_of(view({semconv.OUTCOME_KIND: "praised"}), Record.OUTCOME)
    assert isinstance(row, IntentOutcomeRow)
    assert row.kind == "praised"
    assert Quality.OUTCOME_KIND_UNKNOWN in (row.quality or ())


def test_flags_of_the_emitter_are_merged() -> None:
    """What the emitter had to mend and what the reader had to mend is said once each, in order."""
    row = row_of(
        view(
            {
                semconv.RECORD: "outcome",
                semconv.EVENT_ID: str(EVENT_ID),
                semconv.OUTCOME_KIND: "praised",
                semconv.QUALITY: ("zz_of_the_emitter", "value_cut", "outcome_kind_unknown"),
            },
            dropped_attributes=2,
        ),
        Record.OUTCOME,
    )
    assert isinstance(row, IntentOutcomeRow)
    assert row.quality == ["attributes_dropped", "outcome_kind_unknown", "value_cut", "zz_of_the_emitter"]


def test_nothing_to_flag_is_null() -> None:
    """A whole record has no flags at all."""
    row = row_of(view({semconv.EVENT_ID: str(EVENT_ID), semconv.OUTCOME_KIND: "picked"}), Record.OUTCOME)
    assert isinstance(row, IntentOutcomeRow)
    assert row.quality is None


@pytest.mark.parametrize(
    ("version", "stored", "flagged"), [(None, 1, False), (1, 1, False), (2, 2, True), ("x", 1, False)]
)
def test_the_version_of_the_contract(version: object, stored: int, flagged: bool) -> None:  # noqa: FBT001 - a table
    """A version that is not ours is stored and flagged; none means ours."""
    row = row_of(view({semconv.RECORD_SCHEMA_VERSION: version}), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert row.schema_version == stored
    assert (Quality.SCHEMA_VERSION_UNKNOWN in (row.quality or ())) is flagged


@pytest.mark.parametrize(
    ("verbs", "reasons", "flagged"),
    [
        (["a.b"], ["role"], False),
        (["a.b"], None, False),
        (None, None, False),
        ([], [], False),
        (["a.b"], ["role", "phase"], True),
        (["a.b", "c.d"], ["role"], True),
        (None, ["role"], True),
    ],
)
def test_reasons_out_of_step_are_flagged(verbs: object, reasons: object, flagged: bool) -> None:  # noqa: FBT001 - a table
    """Reasons belong to denied verbs one by one; when they cannot, both are kept and flagged."""
    attributes = {semconv.SEMREG_DENIED_VERBS: verbs, semconv.SEMREG_DENIED_REASONS: reasons}
    row = row_of(view(attributes), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert (row.semreg_denied_verbs, row.semreg_denied_reasons) == (verbs, reasons)
    assert (Quality.REASONS_MISMATCH in (row.quality or ())) is flagged


def test_what_comes_from_the_span_itself() -> None:
    """Duration, ids, sampling and service are the span's, and a span that ends before it starts took no time."""
    row = row_of(view(), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert (row.duration_ms, row.trace_sampled, row.service_name) == (2.5, True, "orchestrator")
    assert (row.trace_id, row.span_id) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    row = row_of(view(end_ns=0, sampled=None, service_name=None), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert (row.duration_ms, row.trace_sampled, row.service_name) == (0.0, None, None)


def test_a_foreign_session_is_derived_alike_in_every_record() -> None:
    """The utterances and the replies of a session meet, also when its id is no UUID."""
    utterance = row_of(view({semconv.SESSION_ID: "s-1"}), Record.UTTERANCE)
    reply = row_of(view({semconv.SESSION_ID: "s-1"}), Record.REPLY)
    assert isinstance(utterance, IntentEventRow)
    assert isinstance(reply, ChatEventRow)
    assert utterance.session_id == reply.session_id == derived_uuid(semconv.SESSION_ID, "s-1")


def test_a_preview_of_a_foreign_emitter_is_cut() -> None:
    """No preview is longer than 80 characters, whoever made it."""
    row = row_of(view({semconv.UTTERANCE_PREVIEW: "x" * 81}), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    assert row.utterance_preview == "x" * 80
    assert Quality.VALUE_CUT in (row.quality or ())


def test_every_attribute_has_a_column_and_every_column_an_attribute() -> None:
    """The rows have exactly the columns that the table of attributes, the lists and the span itself give them."""
    own = ["trace_id", "span_id", "service_name", "quality"]
    lists = [f"verb_candidates_{side}{what}" for side in ("pre", "post") for what in ("", "_total")]
    keys = ["event_id", "ts"]
    assert list(IntentEventRow._fields) == [*keys, *columns.UTTERANCE, *lists, "duration_ms", "trace_sampled", *own]
    assert list(ChatEventRow._fields) == [*keys, *columns.REPLY, *own]
    assert list(IntentOutcomeRow._fields) == [*keys, *columns.OUTCOME, *own]


def test_uuid_columns() -> None:
    """Ids of other records are taken as they are, ids of the orchestrator's things may be derived."""
    subject = UUID("0190163d-8694-739b-aea5-966c26f8ad91")
    row = row_of(
        view(
            {
                semconv.PARENT_EVENT_ID: str(EVENT_ID).upper(),
                semconv.SUBJECT_ID: subject.urn,
                semconv.RUN_SHEET_ENTRY_ID: "entry 7",
                semconv.EMITTER_ID: "host 7",
            }
        ),
        Record.UTTERANCE,
    )
    assert isinstance(row, IntentEventRow)
    assert (row.parent_event_id, row.subject_ref_id, row.emitter_id) == (EVENT_ID, subject, None)
    assert row.run_sheet_entry_id == derived_uuid(semconv.RUN_SHEET_ENTRY_ID, "entry 7")
    assert {Quality.RUN_SHEET_ENTRY_ID_DERIVED, Quality.EMITTER_ID_INVALID} <= set(row.quality or ())
