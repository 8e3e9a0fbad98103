# SPDX-License-Identifier: Apache-2.0
"""A segment of version 1 with payloads of order 1, as bytes that never change, and the rows that they must become.

What a released version has spooled must be stored by every later one. Whoever changes a form takes the next number for
it, and leaves what stands here as it is.
"""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from intent_events.rows import CandidateItem, ChatEventRow, IntentEventRow, IntentOutcomeRow


class Frame(NamedTuple):
    """Bytes of one record: those of the frame, and those that it frames."""

    head: bytes
    payload: bytes


def _frame(head: str, payload: str) -> Frame:
    return Frame(bytes.fromhex(head), b64decode(payload))


CREATED_NS: Final = 1_790_000_000_000_000_000
"""When the segment was begun."""

HEADER: Final = bytes.fromhex(
    "494553504f4f4c0a010040000000f323845bd718abcde7251701000000000000"
    "efec2bb500000000000000000000000000000000000000000000000000000000"
)
"""Says that the first frame is released."""

_RELEASED: Final = _frame(
    "fffa49457fe57fdec3000000e803f323845bd718",
    """
3AA0AcQQW47/95gDgQPSabYzgT/GAcQI7uGbfsPBsXHPGNdbhCQCQkDPGNdbhCQoZ+DDrG9yY2hlc3RyYXRvcgDZJDAxYTBjNDUwLTZjMDEtNzBiZi1i
ZGNhLTk3YmNiMDlmYzM1NsDZJDliMmQ3YzRhLTFmMGUtNGM1Yi04YTZkLTdlM2YyYjFjMGQ5ZQHAwMDAwMDAwMDAwMDAwMDAwMDAwMCsY2xhcmlmeV92
ZXJiwMDAwMDAwMDAwMDAwMDAwMDA
""",
)
_WHOLE: Final = _frame(
    "fffa49455c0a64e646030000e903f323845bd718",
    """
3AA0AcQQW47/95gDgQPSabYzgT/GAsQI7uGbfsPBsXLPGNdbhCQRhIDPGNdbhCQ3qiDCrG9yY2hlc3RyYXRvcgDZJDAxYTBjNDUwLTZjMDItN2E0MC04
YWUzLWZkZTYxYjQyNTk3ZgHZJDliMmQ3YzRhLTFmMGUtNGM1Yi04YTZkLTdlM2YyYjFjMGQ5ZQKsTGVkZ2VyQ2xvc2Vkw6hwcm9tcHQtN6VrZXktMdkk
M2YyNTA0ZTAtNGY4OS00MWQzLTlhMGMtMDMwNWU4MmMzMzAx2SQwMWEwYzQ1MC02YzAxLTcwYmYtYmRjYS05N2JjYjA5ZmMzNTanYWN0b3ItMaRjaGF0
2UA1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVkNWQ1ZDVk2UA3ZTdlN2U3ZTdlN2U3ZTdlN2U3
ZTdlN2U3ZTdlN2U3ZTdlN2U3ZTdlN2U3ZTdlN2U3ZTdlN2U3ZTdlN2U3ZTdlumFzc2lnbiBbbmFtZV0gYXMgY3VzdG9kaWFupGZ1bmSjY2J12SQwYzdl
NGFjMi02ZDhlLTRmNmItOWE1ZC0yZjFiM2M0ZDVlNmanYXBwbGllZJKqY2J1LmRlbGV0ZaljYnUubWVyZ2WSpHJvbGWmZnJvemVuqnNuYXBzaG90LTOv
Y2J1LmFzc2lnbi1yb2xlr2NidS5hc3NpZ24tcm9sZat1c2VyX2Nob2ljZadtYXRjaGVkkaRyb2xl2UA5ZjlmOWY5ZjlmOWY5ZjlmOWY5ZjlmOWY5Zjlm
OWY5ZjlmOWY5ZjlmOWY5ZjlmOWY5ZjlmOWY5ZjlmOWY5Zjlm2SQ2YjFmOGQyZS0zYzRhLTRlNWYtOGI3ZC0xYTJiM2M0ZDVlNmbDkapjYnUuZGVsZXRl
p2Jvb3N0LTKqcmVnaXN0cnktNcCSr2NidS5hc3NpZ24tcm9sZapjYnUuZGVsZXRlkss/6AAAAAAAAMs/4AAAAAAAAJKnbGV4aWNhbKZ2ZWN0b3IDwJGv
Y2J1LmFzc2lnbi1yb2xlkcs/6AAAAAAAAJGnbGV4aWNhbAGRsmF0dHJpYnV0ZXNfZHJvcHBlZA==
""",
)
_BARE: Final = _frame(
    "fffa49455a1aa53161000000ea03f323845bd718",
    """
3AA0AcQQW47/95gDgQPSabYzgT/GA8QI7uGbfsPBsXPPGNdbhCQgxsDPGNdbhCRG7GDAwADAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA
wMDAwMDAwMDAwA==
""",
)
_MENDED: Final = _frame(
    "fffa49457ab756e11e010000eb03f323845bd718",
    """
mal1dHRlcmFuY2XEEFuO//eYA4ED0mm2M4E/xgTECO7hm37DwbF0zxjXW4QkMAkAzxjXW4QkVi6gw6xvcmNoZXN0cmF0b3IAh6tpbnRlbnQucm9vdMOv
aW50ZW50LmV2ZW50X2lk2SQwMWEwYzQ1MC02YzA0LTc0YTYtOGNhOC05MmY3OTAwMDU0YzexaW50ZW50LmVtaXR0ZXIuaWTZJDliMmQ3YzRhLTFmMGUt
NGM1Yi04YTZkLTdlM2YyYjFjMGQ5ZbJpbnRlbnQuZW1pdHRlci5zZXEErmludGVudC5vdXRjb21lqG5vX21hdGNorGludGVudC5zY29wZaNhP2KuaW50
ZW50LnF1YWxpdHmRrHZhbHVlX21lbmRlZA==
""",
)
_REPLY: Final = _frame(
    "fffa49451641cac5bf010000ec03f323845bd718",
    """
maVyZXBsecQQW47/95gDgQPSabYzgT/GBcQI7uGbfsPBsXXPGNdbhCQ/S0DPGNdbhCRlcODDrG9yY2hlc3RyYXRvcgCJrWludGVudC5yZWNvcmSlcmVw
bHmvaW50ZW50LmV2ZW50X2lk2SQwMWEwYzQ1MC02YzAyLTdhNDAtOGFlMy1mZGU2MWI0MjU5N2aqc2Vzc2lvbi5pZNkkM2YyNTA0ZTAtNGY4OS00MWQz
LTlhMGMtMDMwNWU4MmMzMzAxrmludGVudC50dXJuX2lkpnR1cm4tObFpbnRlbnQucmVwbHkuaGFzaNlAMWMxYzFjMWMxYzFjMWMxYzFjMWMxYzFjMWMx
YzFjMWMxYzFjMWMxYzFjMWMxYzFjMWMxYzFjMWMxYzFjMWMxY7RpbnRlbnQucmVwbHkucHJldmlld7B3aGljaCBvZiB0aGUgdHdvsWludGVudC5lbWl0
dGVyLmlk2SQ5YjJkN2M0YS0xZjBlLTRjNWItOGE2ZC03ZTNmMmIxYzBkOWWyaW50ZW50LmVtaXR0ZXIuc2VxBbxpbnRlbnQudXR0ZXJhbmNlLmhhc2hf
a2V5X2lkpWtleS0x
""",
)
_OUTCOME: Final = _frame(
    "fffa49456603923b1c010000ed03f323845bd718",
    """
madvdXRjb21lxBBbjv/3mAOBA9JptjOBP8YGxAju4Zt+w8Gxds8Y11uEJE6NgM8Y11uEJHSzIMOsb3JjaGVzdHJhdG9yAIataW50ZW50LnJlY29yZKdv
dXRjb21lr2ludGVudC5ldmVudF9pZNkkMDFhMGM0NTAtNmMwMi03YTQwLThhZTMtZmRlNjFiNDI1OTdms2ludGVudC5vdXRjb21lLmtpbmSwZXhlY3V0
aW9uX2ZhaWxlZKplcnJvci50eXBlrExlZGdlckNsb3NlZLFpbnRlbnQuZW1pdHRlci5pZNkkOWIyZDdjNGEtMWYwZS00YzViLThhNmQtN2UzZjJiMWMw
ZDllsmludGVudC5lbWl0dGVyLnNlcQY=
""",
)
_TOO_LATE: Final = _frame(
    "fffa49450b332c40be000000ee03f323845bd718",
    """
mal1dHRlcmFuY2XEEFuO//eYA4ED0mm2M4E/xgfECO7hm37DwbF3tjEwMDAwMDAwMDAwMDAwMDAwMDAwMDC2MTAwMDAwMDAwMDAwMDAwMDAwMDAwMcOs
b3JjaGVzdHJhdG9yAIOraW50ZW50LnJvb3TDsWludGVudC5lbWl0dGVyLmlk2SQ5YjJkN2M0YS0xZjBlLTRjNWItOGE2ZC03ZTNmMmIxYzBkOWWyaW50
ZW50LmVtaXR0ZXIuc2VxBw==
""",
)

ORDERED: Final = _WHOLE.payload
"""An utterance, every column of which has a value, in the order of keys with number 1."""

FRAMES: Final = (_RELEASED, _WHOLE, _BARE, _MENDED, _REPLY, _OUTCOME, _TOO_LATE)
"""The frames in their order: the first is released already, the last is of a time that no row can have."""

SEGMENT: Final = HEADER + b"".join(head + payload for head, payload in FRAMES)
"""The whole file."""

_START: Final = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
_EMITTER: Final = UUID("9b2d7c4a-1f0e-4c5b-8a6d-7e3f2b1c0d9e")
_SESSION: Final = UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
_EVENT: Final = UUID("01a0c450-6c02-7a40-8ae3-fde61b42597f")


def _at(milliseconds: int) -> datetime:
    return _START + timedelta(milliseconds=milliseconds)


ORDERED_ROW: Final = IntentEventRow(
    event_id=_EVENT,
    ts=_at(2),
    schema_version=1,
    emitter_id=_EMITTER,
    emitter_seq=2,
    error_code="LedgerClosed",
    synthetic=True,
    prompt_version="prompt-7",
    hash_key_id="key-1",
    session_id=_SESSION,
    parent_event_id=UUID("01a0c450-6c01-70bf-bdca-97bcb09fc356"),
    actor_id="actor-1",
    entrypoint="chat",
    utterance_hash="5d" * 32,
    template_hash="7e" * 32,
    utterance_preview="assign [name] as custodian",
    scope="fund",
    subject_ref_type="cbu",
    subject_ref_id=UUID("0c7e4ac2-6d8e-4f6b-9a5d-2f1b3c4d5e6f"),
    semreg_mode="applied",
    semreg_denied_verbs=["cbu.delete", "cbu.merge"],
    semreg_denied_reasons=["role", "frozen"],
    semreg_snapshot_id="snapshot-3",
    chosen_verb_fqn="cbu.assign-role",
    forced_verb_fqn="cbu.assign-role",
    selection_source="user_choice",
    outcome="matched",
    missing_args=["role"],
    dsl_hash="9f" * 32,
    run_sheet_entry_id=UUID("6b1f8d2e-3c4a-4e5f-8b7d-1a2b3c4d5e6f"),
    macro_semreg_checked=True,
    macro_denied_verbs=["cbu.delete"],
    boost_version="boost-2",
    registry_version="registry-5",
    verb_candidates_pre=[
        CandidateItem(verb="cbu.assign-role", score=0.75, source="lexical"),
        CandidateItem(verb="cbu.delete", score=0.5, source="vector"),
    ],
    verb_candidates_pre_total=3,
    verb_candidates_post=[CandidateItem(verb="cbu.assign-role", score=0.75, source="lexical")],
    verb_candidates_post_total=1,
    duration_ms=2.5,
    trace_sampled=False,
    trace_id="5b8efff798038103d269b633813fc602",
    span_id="eee19b7ec3c1b172",
    service_name="orchestrator",
    quality=["attributes_dropped"],
)
"""Row of :data:`ORDERED`."""

_BARE_ROW: Final = IntentEventRow(
    event_id=UUID("01a0c450-6c03-75a5-a2d4-2796b50be08b"),
    ts=_at(3),
    schema_version=1,
    emitter_id=None,
    emitter_seq=None,
    error_code=None,
    synthetic=False,
    prompt_version=None,
    hash_key_id=None,
    session_id=UUID("0588ef45-2529-551b-9819-d753488e31c1"),
    parent_event_id=None,
    actor_id="unknown",
    entrypoint="unknown",
    utterance_hash="unknown",
    template_hash=None,
    utterance_preview=None,
    scope=None,
    subject_ref_type=None,
    subject_ref_id=None,
    semreg_mode="unknown",
    semreg_denied_verbs=None,
    semreg_denied_reasons=None,
    semreg_snapshot_id=None,
    chosen_verb_fqn=None,
    forced_verb_fqn=None,
    selection_source=None,
    outcome="unknown",
    missing_args=None,
    dsl_hash=None,
    run_sheet_entry_id=None,
    macro_semreg_checked=False,
    macro_denied_verbs=None,
    boost_version=None,
    registry_version=None,
    verb_candidates_pre=None,
    verb_candidates_pre_total=None,
    verb_candidates_post=None,
    verb_candidates_post_total=None,
    duration_ms=2.5,
    trace_sampled=None,
    trace_id="5b8efff798038103d269b633813fc603",
    span_id="eee19b7ec3c1b173",
    service_name=None,
    quality=[
        "actor_id_missing",
        "entrypoint_missing",
        "event_id_derived",
        "outcome_missing",
        "semreg_mode_missing",
        "session_id_missing",
        "utterance_missing",
    ],
)

_MENDED_ROW: Final = _BARE_ROW._replace(
    event_id=UUID("01a0c450-6c04-74a6-8ca8-92f7900054c7"),
    ts=_at(4),
    emitter_id=_EMITTER,
    emitter_seq=4,
    session_id=UUID("8f59b298-9dfd-50ac-9751-71de44efcafd"),
    outcome="no_match",
    trace_sampled=True,
    trace_id="5b8efff798038103d269b633813fc604",
    span_id="eee19b7ec3c1b174",
    service_name="orchestrator",
    quality=[
        "actor_id_missing",
        "entrypoint_missing",
        "semreg_mode_missing",
        "session_id_missing",
        "utterance_missing",
        "value_mended",
        "value_refused",
    ],
)

_REPLY_ROW: Final = ChatEventRow(
    event_id=UUID("01a0c450-6c05-795f-92b3-526ccfe04262"),
    ts=_at(5),
    schema_version=1,
    emitter_id=_EMITTER,
    emitter_seq=5,
    synthetic=False,
    prompt_version=None,
    hash_key_id="key-1",
    session_id=_SESSION,
    intent_event_id=_EVENT,
    turn_id="turn-9",
    assistant_message_hash="1c" * 32,
    assistant_message_preview="which of the two",
    trace_id="5b8efff798038103d269b633813fc605",
    span_id="eee19b7ec3c1b175",
    service_name="orchestrator",
    quality=None,
)

_OUTCOME_ROW: Final = IntentOutcomeRow(
    event_id=UUID("01a0c450-6c06-7499-9215-d4f83d1de933"),
    ts=_at(6),
    schema_version=1,
    emitter_id=_EMITTER,
    emitter_seq=6,
    error_code="LedgerClosed",
    synthetic=False,
    intent_event_id=_EVENT,
    kind="execution_failed",
    trace_id="5b8efff798038103d269b633813fc606",
    span_id="eee19b7ec3c1b176",
    service_name="orchestrator",
    quality=None,
)

ROWS: Final = (ORDERED_ROW, _BARE_ROW, _MENDED_ROW, _REPLY_ROW, _OUTCOME_ROW)
"""What the segment gives, in its order; the last frame becomes a dead letter."""
