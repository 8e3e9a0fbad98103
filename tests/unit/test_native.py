# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""The inner loops in C: what they take is what Python gives, and nothing that they are handed can hurt the process.

That they give what the Python code gives is tested beside it, in ``test_attributes`` and ``test_round_trip``.
"""

import gc
import importlib
import sys
import tracemalloc
from collections.abc import Callable
from itertools import cycle
from re import fullmatch
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import native, semconv
from intent_events.columns import Candidate
from intent_events.identity import event_id_of
from intent_events.instrument import quick
from intent_events.instrument.attributes import attributes_of
from intent_events.rows import KNOWN, known_in
from intent_events.store import quick_seal
from intent_events.store.quick_seal import Ended, seal_known, sealed_in_python
from intent_events.trace import TRACE_FIELDS, IntentTrace
from support.built import needed
from unit.odd_values import ANYTHING, Hostile, HostileText
from unit.spans_of import START_NS
from unit.traces_of import KEPT, WHOLE

NATIVE: Final = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def compiled() -> None:
    """The extension, which a machine without a compiler has not."""
    needed(
        native.pack_rows is not None, "the C code is not built: apt-get install gcc python3-dev, then make clean setup"
    )


FIELDS: Final = tuple(name for name in TRACE_FIELDS if name != "entity_spans")
"""Fields that become attributes."""


def traced(name: str, value: Any) -> IntentTrace:
    """A trace with one field."""
    fields: dict[str, Any] = {name: value}
    return IntentTrace(**fields)


def whole_row() -> tuple[Any, ...]:
    """Values of a record that needs no mending."""
    attributes = quick.quick_attributes_of(WHOLE)
    assert attributes is not None
    attributes |= {
        semconv.EVENT_ID: str(event_id_of(1, 2, START_NS)),
        semconv.UTTERANCE_HASH: KEPT.hash,
        semconv.EMITTER_ID: str(UUID(int=7)),
        semconv.EMITTER_SEQ: 7,
        semconv.QUALITY: ["value_cut", "session_id_derived", "value_cut"],
    }
    known = known_in(attributes)
    assert known is not None
    ended = Ended(
        bytes(15) + b"\1",
        bytes(7) + b"\2",
        START_NS,
        START_NS + 900_000,
        sampled=True,
        service_name="shop",
        dropped_attributes=0,
    )
    return (*ended, *known)


@NATIVE
def test_it_takes_what_needs_no_mending() -> None:
    """A record with every value there is, texts of any language and flags among them, is packed in C."""
    values = whole_row()
    languages = tuple("naïve 中文" if value == "a" else value for value in values)
    for each in (values, languages):
        sealed = seal_known([each])
        assert sealed == sealed_in_python([each])
        assert sealed[0] is not None
    assert quick.quick_attributes_of(IntentTrace(actor_id="Jürgen", verb_candidates_pre=[Candidate("中.文", 0.5)]))


@NATIVE
@given(st.data())
def test_a_row_of_anything(data: st.DataObject) -> None:
    """Whatever stands at any place of a row, C gives what Python gives, or leaves it to Python."""
    values = list(whole_row())
    for place in data.draw(st.lists(st.integers(0, len(values) - 1), max_size=4)):
        values[place] = data.draw(ANYTHING)
    try:
        expected = sealed_in_python([tuple(values)])[0]
    except Exception:  # noqa: BLE001 - it is made for values of the right types, and an object of foreign code may raise anything
        expected = None
    assert native.pack_rows is not None
    packed = native.pack_rows(quick_seal._PLAN, (tuple(values),), (b"[0.5]", b"[0.5]"))[0]
    assert packed is None or (expected is not None and packed == expected.data)


SCORES: Final = st.one_of(
    st.binary(max_size=9),
    st.sampled_from([b"", b"[", b"[]", b"[0.5", b"[0.5,", b"[0.5,1]", b"null", b"[null]", b"[0.5]]"]),
)


@NATIVE
@given(SCORES, SCORES)
def test_scores_of_any_spelling(pre: bytes, post: bytes) -> None:
    """Scores that are no list of one number leave the row to Python."""
    assert native.pack_rows is not None
    packed = native.pack_rows(quick_seal._PLAN, (whole_row(),), (pre, post))[0]
    assert packed is None or all(fullmatch(rb"\[[0-9.eE+-]+\]", line) for line in (pre, post))
    plain = native.pack_rows(quick_seal._PLAN, (whole_row(),), (b"[0.5]", b"[1e-7]"))[0]
    assert plain is not None
    assert b'"score":0.5,' in plain
    assert b'"score":1e-7,' in plain


@NATIVE
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (1, 2, 3),
        ((), (), ()),
        (quick_seal._PLAN, [], ()),
        (quick_seal._PLAN, (whole_row,), ()),
        (quick_seal._PLAN[:5], (), ()),
        ((b"", ((b"t",),), 0, 1, 1, 1, 1), (), ()),
        ((b"", ((b"t", "x"),), 0, 1, 1, 1, 1), (), ()),
        (list(quick_seal._PLAN), (), ()),
        ((b"", ((b"t", b""), (b"t", b"")), 1, 1, 1, 1, 1), (), ()),
        ((b"", ((b"t", b""), (b"t", b"")), -1, 1, 1, 1, 1), (), ()),
        ((b"", ((b"t", b""), (b"t", b"")), sys.maxsize, 1, 1, 1, 1), (), ()),
        ((b"", ((b"t", b""), (b"t", b"")), 0, 1, 1, -1, 1), (), ()),
        ((b"", ((b"t", b""), (b"t", b"")), 0, 1, 1, 1, (1 << 63) - 1), (), ()),
    ],
)
def test_rows_that_are_asked_for_wrongly(arguments: tuple[Any, ...]) -> None:
    """A plan that is none, and rows or scores that do not fit it, are an error and no crash."""
    assert native.pack_rows is not None
    with pytest.raises((TypeError, ValueError)):
        native.pack_rows(*arguments)


@NATIVE
def test_rows_of_another_length() -> None:
    """A row that has not the values of the plan, or is no tuple, is left to Python."""
    assert native.pack_rows is not None
    whole = whole_row()
    for row in ((), whole[:-1], (*whole, None), list(whole), None):
        assert native.pack_rows(quick_seal._PLAN, (row,), (b"[0.5]", b"[0.5]")) == [None]  # pyright: ignore[reportArgumentType] - the mistake


WRONG: Final[list[Any]] = [
    (),
    (1, 2, 3),
    (((b"t", "k", None),), (1, 1, 1, 1), ()),
    (((b"t", "k"),), (1, 1, 1, 1), ("x",)),
    ((("t", "k", None),), (1, 1, 1, 1), ("x",)),
    (((b"t", "k", None),), (1, 1, 1), ("x",)),
    (((b"s", "k", None),), (9, 9, 9, 9), ("x",)),
    (((b"l", "k", None),), (9, 9, 9, 9), ("x",)),
    (((b"t", [], None),), (9, 9, 9, 9), ("x",)),
]


@NATIVE
@pytest.mark.parametrize("arguments", WRONG)
def test_attributes_that_are_asked_for_wrongly(arguments: tuple[Any, ...]) -> None:
    """Fields that are none, and values that do not fit them, are an error and no crash."""
    assert native.plain_attributes is not None
    with pytest.raises((TypeError, ValueError)):
        native.plain_attributes(*arguments)


@NATIVE
@pytest.mark.parametrize(
    ("kind", "more"),
    [(b"?", None), (b"", None), (b"n", None), (b"c", None), (b"c", ()), (b"c", (tuple, "v", "s", "o", "t"))],
)
def test_a_kind_that_it_does_not_know(kind: bytes, more: Any) -> None:
    """It is left to Python."""
    assert native.plain_attributes is not None
    given_: Any = [("a", 0.5)] if kind == b"c" else "x"
    assert native.plain_attributes(((kind, "k", more),), (9, 9, 9, 9), (given_,)) is None


@NATIVE
def test_foreign_code_is_not_run() -> None:
    """Objects that raise whatever is asked of them are left to Python without being asked."""
    hostile: list[Any] = [Hostile(), HostileText("x"), HostileText(str(UUID(int=7))), [HostileText("x")]]
    for value in hostile:
        for name in FIELDS:
            assert quick.quick_attributes_of(traced(name, value)) is None


@NATIVE
def test_a_uuid_that_was_never_made() -> None:
    """An exception from within a value is no exception of ours, and the value is refused."""
    trace = IntentTrace(session_id=UUID.__new__(UUID), scope="E-1")
    assert quick.quick_attributes_of(trace) is None
    attributes = attributes_of(trace, None)
    assert attributes[semconv.SCOPE] == "E-1"
    assert semconv.SESSION_ID not in attributes


def _grown(work: Callable[[], object]) -> int:
    """Bytes that many calls leave behind: the least of three tries, since all that lives in the process is counted."""
    return min(_grown_once(work) for _ in range(3))


def _grown_once(work: Callable[[], object]) -> int:
    for _ in range(50):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(50):
            work()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2000):
            work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@NATIVE
def test_nothing_is_kept() -> None:
    """Thousands of calls leave no memory behind, whichever way they end."""
    whole = whole_row()
    odd = [(*whole[:place], Hostile(), *whole[place + 1 :]) for place in range(len(whole))]
    strange: list[Any] = [Hostile(), ["x", None], [Candidate("a")]]
    traces = [traced(name, value) for name in FIELDS for value in strange]
    endings: list[Callable[[], object]] = [
        lambda: seal_known([whole, whole]),
        lambda: quick.quick_attributes_of(WHOLE),
        lambda: quick.quick_attributes_of(IntentTrace(session_id=UUID.__new__(UUID))),
    ]
    for work in endings:
        assert _grown(work) < 2000, "less than a byte a call"
    rows, given_ = cycle(odd), cycle(traces)
    assert native.pack_rows is not None
    pack = native.pack_rows
    assert _grown(lambda: pack(quick_seal._PLAN, (next(rows),), (b"[0.5]", b"[0.5]"))) < 2000
    assert _grown(lambda: quick.quick_attributes_of(next(given_))) < 2000


def test_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was not built, Python does the same."""
    modules: dict[str, Any] = sys.modules
    monkeypatch.setitem(modules, "intent_events.native._native", None)
    monkeypatch.delattr(native, "_native", raising=False)
    try:
        importlib.reload(native)
        assert native.pack_rows is native.plain_attributes is None
        monkeypatch.setattr(quick, "plain_attributes", native.plain_attributes)
        monkeypatch.setattr(quick_seal, "pack_rows", native.pack_rows)
        values = whole_row()
        assert seal_known([values]) == sealed_in_python([values])
        assert len(values) == len(Ended._fields) + len(KNOWN)
    finally:
        monkeypatch.undo()
        importlib.reload(native)
