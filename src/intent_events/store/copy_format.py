# SPDX-License-Identifier: Apache-2.0
"""Rows in the binary format of COPY, encoded by us: the driver's way takes twice as long, and cannot be paused.

Source of the format: the Postgres manual, COPY, "Binary Format"; of each type: its ``_send`` function.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow, Row

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Begins the data: no flags, no extension."""

TRAILER: Final = struct.pack("!h", -1)
"""Ends the data."""

EPOCH_MS: Final = 946_684_800_000
"""Milliseconds from 1970 to 2000, where the time of Postgres begins."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TEXT_OID: Final = 25
NULL: Final = struct.pack("!i", -1)
"""A column that holds nothing."""

_length: Final = struct.Struct("!i").pack
LENGTHS: Final = [_length(n) for n in range(1025)]
"""The length that stands before a column of so many bytes."""

UUID_LENGTH: Final = LENGTHS[16]
"""Length of a column of uuid."""

pack_int4: Final = struct.Struct("!ii").pack
"""A column of integer: its length, 4, and the number."""

pack_int8: Final = struct.Struct("!iq").pack
"""A column of bigint or timestamptz: its length, 8, and the number."""

pack_float8: Final = struct.Struct("!id").pack
"""A column of double precision: its length, 8, and the number."""

_array: Final = struct.Struct("!iiiiii").pack
_ARRAY_HEAD: Final = 20
BOOLEANS: Final = {True: b"\0\0\0\1\1", False: b"\0\0\0\1\0"}
"""A column of boolean."""

_json: Final = msgspec.json.Encoder().encode

_UNENCODABLE: Final = (struct.error, ValueError, TypeError, KeyError, AttributeError)

Encoder = Callable[[Any], bytes]


def encode_text(value: str) -> bytes:
    """A column of text."""
    data = value.encode()
    try:
        return LENGTHS[len(data)] + data
    except IndexError:  # longer than any text of a record
        return _length(len(data)) + data


def _uuid(value: UUID) -> bytes:
    return UUID_LENGTH + value.int.to_bytes(16, "big")


def _timestamptz(value: datetime) -> bytes:
    since: timedelta = value - _EPOCH
    return pack_int8(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def encode_jsonb(value: Sequence[Any]) -> bytes:
    """A column of jsonb."""
    data = _json(value)
    return _length(len(data) + 1) + b"\1" + data


def encode_texts(values: Sequence[str]) -> bytes:
    """A column of text[]."""
    if not values:
        return _array(12, 0, 0, _TEXT_OID, 0, 0)[:16]
    data = b"".join(map(encode_text, values))
    return _array(_ARRAY_HEAD + len(data), 1, 0, _TEXT_OID, len(values), 1) + data


_ENCODERS: Final[dict[str, Encoder]] = {
    "uuid": _uuid,
    "timestamp with time zone": _timestamptz,
    "integer": lambda value: pack_int4(4, value),
    "bigint": lambda value: pack_int8(8, value),
    "double precision": lambda value: pack_float8(8, value),
    "boolean": BOOLEANS.__getitem__,
    "text": encode_text,
    "text[]": encode_texts,
    "jsonb": encode_jsonb,
}
HEADS: Final[dict[type[Row], bytes]] = {
    kind: struct.pack("!h", len(kind._fields)) for kind in (IntentEventRow, ChatEventRow, IntentOutcomeRow)
}
"""Begins a row: how many columns it has."""

_HEAD_BYTES: Final = 2
_TYPES: Final = {
    **dict.fromkeys(("event_id", "emitter_id", "session_id", "parent_event_id", "intent_event_id"), "uuid"),
    **dict.fromkeys(("subject_ref_id", "run_sheet_entry_id"), "uuid"),
    "ts": "timestamp with time zone",
    **dict.fromkeys(
        ("schema_version", "verb_candidates_pre_total", "verb_candidates_post_total"), "integer"
    ),
    "emitter_seq": "bigint",
    "duration_ms": "double precision",
    **dict.fromkeys(("synthetic", "macro_semreg_checked", "trace_sampled"), "boolean"),
    **dict.fromkeys(("missing_args", "quality"), "text[]"),
    **dict.fromkeys(("semreg_denied_verbs", "semreg_denied_reasons", "macro_denied_verbs"), "jsonb"),
    **dict.fromkeys(("verb_candidates_pre", "verb_candidates_post"), "jsonb"),
}  # fmt: skip
"""Types of columns as they are sent; all others are text. The writer compares them with the database's own."""


def type_of(column: str) -> str:
    """Type that a column is sent as, spelled as ``format_type`` of Postgres does."""
    return _TYPES.get(column, "text")


ENCODERS: Final[dict[type[Row], tuple[Encoder, ...]]] = {
    kind: tuple(_ENCODERS[type_of(column)] for column in kind._fields)
    for kind in (IntentEventRow, ChatEventRow, IntentOutcomeRow)
}
"""How each column of a row is encoded, length first; NULL is :data:`NULL`."""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A row that is ready to be sent; it holds bytes, so that thousands of them cost the garbage collector nothing.

    Attributes:
        kind: which row it is.
        key: its ``event_id`` as a number; rows are sent in order of it.
        data: its columns in the format of COPY; empty when a value is none of its column's type.
        row: the row itself in that case.
    """

    kind: type[Row]
    key: int
    data: bytes
    row: Row | None = None


def seal(row: Row) -> Sealed:
    """Encode a row."""
    kind = type(row)
    try:
        columns = [NULL if value is None else encode(value) for encode, value in zip(ENCODERS[kind], row, strict=True)]
    except _UNENCODABLE:  # a value that is none of its column's type
        return Sealed(kind, row.event_id.int, b"", row)
    return Sealed(kind, row.event_id.int, HEADS[kind] + b"".join(columns))


def columns_of(sealed: Sealed) -> dict[str, bytes | None]:
    """Columns of a sealed row as they are sent, without their lengths; None is NULL."""
    data, at = sealed.data, _HEAD_BYTES
    found: dict[str, bytes | None] = {}
    for column in sealed.kind._fields:
        length = int.from_bytes(data[at : at + 4], "big", signed=True)
        at += 4
        found[column] = None if length < 0 else data[at : at + length]
        at += max(length, 0)
    return found
