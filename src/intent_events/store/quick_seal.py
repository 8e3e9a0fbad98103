# SPDX-License-Identifier: Apache-2.0
"""The quick way from payloads to sealed rows, for utterances that need no mending: nearly all of them.

``row_of`` and ``seal`` say what a row is; this gives the same bytes, in C where that could be built (a thirtieth of
their time), else in Python (a quarter). Whatever it does not know to be sound it leaves to them. Property tests compare
them all.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from intent_events import columns
from intent_events.columns import Attribute, Kind
from intent_events.mending import MAX_ITEMS
from intent_events.native import pack_rows
from intent_events.rows import ORDER, IntentEventRow, completed, payload_with, values_in
from intent_events.semconv import MAX_CANDIDATES, MAX_STRING, RECORD_SCHEMA_VERSION, SCHEMA_VERSION
from intent_events.store.copy_format import EPOCH_MS, HEADS, UUID_LENGTH, Sealed, type_of
from intent_events.store.python_seal import missing_value, sealed_in_python

_BY_KIND: Final = {
    Kind.TEXT: b"t",
    Kind.WORD: b"w",
    Kind.LABEL: b"l",
    Kind.UUID: b"u",
    Kind.STRICT_UUID: b"u",
    Kind.BOOLEAN: b"b",
}
_BY_TYPE: Final = {"integer": b"i", "bigint": b"q", "jsonb": b"j", "text[]": b"a"}


def _packed_as(column: str, attribute: Attribute, *, any_label: bool) -> tuple[bytes, bytes, int, int, object]:
    """How :mod:`intent_events.native` packs a column: kind, bytes of no value, least, most, what is known of it."""
    kind = _BY_KIND.get(attribute.kind) or _BY_TYPE[type_of(column)]
    least, most, known = -attribute.limit, attribute.limit, None
    if attribute.key == RECORD_SCHEMA_VERSION:
        least = most = SCHEMA_VERSION
    elif attribute.kind is Kind.LABEL:
        kind, known = (b"t", None) if any_label else (kind, tuple(map(str.encode, sorted(attribute.known))))
    elif attribute.kind is Kind.WORD:
        known = attribute.letters, re.compile(attribute.shape).fullmatch
    return kind, missing_value(column, attribute), least, most, known


_Plan = tuple[int, bytes, tuple[tuple[bytes, bytes, int, int, object], ...], int, int, int, int, int]


def _plan(*, any_label: bool) -> _Plan:
    """What the C code is told of rows."""
    return (
        ORDER,
        HEADS[IntentEventRow],
        tuple(_packed_as(column, of, any_label=any_label) for column, of in columns.UTTERANCE.items()),
        list(columns.UTTERANCE).index("semreg_denied_verbs"),
        MAX_STRING,
        MAX_ITEMS,
        MAX_CANDIDATES,
        EPOCH_MS,
    )


_PLAN: Final = _plan(any_label=False)
_PLAN_OF_COMPLETED: Final = _plan(any_label=True)
"""A label that this version does not know has its flag by then."""

_KEY_AT: Final = len(HEADS[IntentEventRow] + UUID_LENGTH)
_KEY: Final = slice(_KEY_AT, _KEY_AT + 16)
_spelled: Final = msgspec.json.Encoder().encode
"""Numbers are spelled by msgspec, as in everything else of ours that becomes JSON."""


def seal_payloads(payloads: Sequence[bytes]) -> list[Sealed | None]:
    """Sealed rows of utterances; None for one that needs the careful way.

    Args:
        payloads: of the form of :mod:`intent_events.rows.known`, or any other bytes.
    """
    sealed = _packed(_PLAN, payloads)
    # Few, or all those of a service: what is missing or has another form is put in, and they are tried again.
    again = {
        place: completed(values)
        for place, row in enumerate(sealed)
        if row is None and (values := values_in(payloads[place])) is not None
    }
    if again:
        for place, row in zip(again, _sealed_whole(list(again.values())), strict=True):
            sealed[place] = row
    return sealed


def _sealed_whole(values: Sequence[tuple[Any, ...]]) -> list[Sealed | None]:
    if pack_rows is None:
        return sealed_in_python(values)
    return _packed(_PLAN_OF_COMPLETED, list(map(payload_with, values)))


def _packed(plan: _Plan, payloads: Sequence[bytes]) -> list[Sealed | None]:
    if pack_rows is None:
        return [None] * len(payloads)
    return [
        None if data is None else Sealed(IntentEventRow, int.from_bytes(data[_KEY], "big"), data)
        for data in pack_rows(plan, tuple(payloads), _spelled)
    ]
