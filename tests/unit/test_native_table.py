# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""Payloads that differ in one thing from one that C takes: what it must take, and what it must leave to Python.

Each line is there for a check in C that no random payload comes near.
"""

from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from intent_events import semconv
from intent_events.identity import event_id_of
from intent_events.mending import INT32_MAX
from intent_events.rows import ORDER
from unit.spans_of import START_NS
from unit.test_native_rows import PLACES, WHOLE_VALUES, check, packed

pytestmark = pytest.mark.usefixtures("compiled")

Changes = dict[Any, Any]
"""Values by their key, or by their place among those of the span."""

TRACE_ID, SPAN_ID, START, END, SAMPLED, SERVICE, DROPPED = range(7)
PRE: Final = semconv.CANDIDATES_PRE
VERBS: Final = PRE + semconv.VERBS
SCORES: Final = PRE + semconv.SCORES
SOURCES: Final = PRE + semconv.SOURCES
TOTAL: Final = PRE + semconv.TOTAL
DENIED: Final = semconv.SEMREG_DENIED_VERBS
TEXT: Final = semconv.SUBJECT_TYPE
KEY: Final = event_id_of(1, 2, START_NS)
ESCAPED: Final = "".join(map(chr, range(1, 35))) + "\\/\x7f\u2028é"
"""Characters that JSON escapes, or could."""


def payload(changes: Changes, order: Any = ORDER) -> bytes:
    """The payload with other values."""
    values = [*WHOLE_VALUES]
    for key, value in changes.items():
        values[PLACES[key] if isinstance(key, str) else key] = value
    return msgspec.msgpack.encode([order, *values])


def key_with(mask: int, bits: int) -> str:
    """The event id with other bits."""
    return str(UUID(int=KEY.int & ~mask | bits))


def begun(ms: int) -> Changes:
    """A span that began then, with the event id of that time."""
    return {START: ms * 1_000_000, END: ms * 1_000_000 + 5, semconv.EVENT_ID: str(event_id_of(1, 2, ms * 1_000_000))}


def candidates(n: int, **more: Any) -> Changes:
    """So many candidates, and what else is under a key of theirs."""
    listed = {VERBS: ("a",) * n, SCORES: (1.0,) * n, SOURCES: ("s",) * n}
    return {**listed, **{PRE + key: value for key, value in more.items()}}


NO_CANDIDATES: Final[Changes] = {VERBS: None, SCORES: None, SOURCES: None}
TAKEN: Final[list[Changes]] = [
    {},
    {SAMPLED: None},
    {SAMPLED: False},
    {END: START_NS - 1},
    {END: -1},
    {SERVICE: None},
    {SERVICE: ""},
    {SERVICE: "é" * 256},
    begun((1 << 63) // 1_000_000 - 1),
    begun(0),
    {semconv.EVENT_ID: str(KEY).upper()},
    {semconv.EMITTER_ID: "ABCDEF01-2345-4789-8abc-DEF012345678"},
    {DENIED: (ESCAPED, "a\nb"), semconv.SEMREG_DENIED_REASONS: ("x", ESCAPED)},
    candidates(20),
    candidates(0),
    {**candidates(1), VERBS: (ESCAPED,), SOURCES: ("\\",)},
    {**candidates(2), SCORES: None},
    {**candidates(2), SOURCES: None},
    {**NO_CANDIDATES, TOTAL: 7},
    {**NO_CANDIDATES, TOTAL: None},
    {**candidates(1), TOTAL: INT32_MAX},
    {semconv.MISSING_ARGS: ()},
    {semconv.MISSING_ARGS: ("a",) * 128},
    {semconv.EMITTER_SEQ: -(1 << 63) + 1},
    *({TEXT: "x" * n + "é" + "y" * m} for n in range(9) for m in (0, 1, 7, 8, 248 - n)),
]
LEFT: Final[list[Changes]] = [
    {START: START_NS + 1_000_000},
    {START: -5, semconv.EVENT_ID: str(event_id_of(1, 2, 0))},
    {START: str(START_NS)},
    {START: float(START_NS)},
    *({END: value} for value in (str(START_NS), float(START_NS), b"", 1 << 63)),
    *({DROPPED: value} for value in (1, -1, False)),
    *({TRACE_ID: value} for value in (bytes(16), b"\1" * 15, b"\1" * 17, "x" * 16)),
    *({SPAN_ID: value} for value in (bytes(8), b"\1" * 9, "x" * 8)),
    {semconv.EVENT_ID: key_with(0xF << 76, 4 << 76)},
    {semconv.EVENT_ID: key_with(3 << 62, 3 << 62)},
    *({semconv.EMITTER_ID: str(KEY).replace("-", hyphen)} for hyphen in ("", "_", "\x0d")),
    {semconv.EMITTER_ID: "g" + str(KEY)[1:]},
    {semconv.EMITTER_ID: "\x10" + str(KEY)[1:]},
    *({SERVICE: value} for value in ("x" * 257, "é" * 257, "a\0")),
    candidates(21),
    {**candidates(1), PRE: []},
    *({**candidates(1), TOTAL: value} for value in (-1, 1 << 31, 1.0)),
    {**candidates(1), VERBS: ("",)},
    {**candidates(2), SCORES: (1.0,) * 3},
    {**candidates(2), SOURCES: ("a",) * 3},
    {**NO_CANDIDATES, SCORES: (1.0,)},
    {**NO_CANDIDATES, SOURCES: ("a",)},
    *({semconv.MISSING_ARGS: value} for value in (("",), (("a",),), ((),), ("a",) * 129)),
    {semconv.MACRO_DENIED_VERBS: ("a",) * 129},
    {semconv.EMITTER_SEQ: -(1 << 63)},
    *({semconv.QUALITY: value} for value in ((1,), (1, 2), ("",), (("a",),))),
    {TEXT: "é" * 257},
    *({TEXT: "x" * n + "\0" + "y" * m} for n in range(9) for m in (0, 1, 7, 8)),
]


@pytest.mark.parametrize("changes", TAKEN, ids=lambda changes: repr(changes)[:60])
def test_what_c_takes(changes: Changes) -> None:
    """C gives the row that both ways in Python give."""
    assert check(payload(changes)) is not None


@pytest.mark.parametrize("changes", LEFT, ids=lambda changes: repr(changes)[:60])
def test_what_c_leaves(changes: Changes) -> None:
    """C gives no row, and those of the payloads beside it all the same."""
    sound = payload({})
    (row,) = packed(sound)
    assert row is not None
    assert packed(sound, payload(changes), sound) == [row, None, row]


@pytest.mark.parametrize(
    "broken", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"\xe2\x82"], ids=repr
)
@pytest.mark.parametrize("key", [TEXT, SERVICE, semconv.MISSING_ARGS, VERBS, semconv.QUALITY])
def test_what_is_no_utf_8(broken: bytes, key: Any) -> None:
    """A text whose bytes are none is left to Python, wherever they stand in it."""
    mark = "Q" * len(broken)
    text = f"{mark}zzzzzzzz{mark}"
    whole = payload({**candidates(1), key: text if key in {TEXT, SERVICE} else (text,)})
    first, last = mark.encode() + b"zz", b"zz" + mark.encode()
    assert (whole.count(first), whole.count(last)) == (1, 1)
    assert packed(whole)[0] is not None
    assert packed(whole.replace(first, broken + b"zz"), whole.replace(last, b"zz" + broken)) == [None, None]


@pytest.mark.parametrize("order", [ORDER + 1, 0, None, True, "x", 1.0])
def test_another_order(order: Any) -> None:
    """Values of another order are not read by this one."""
    assert packed(payload({}, order)) == [None]
