# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""Rows that are packed in C are those that Python gives, whatever bytes they are packed from."""

import sys
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import columns, native, semconv
from intent_events.columns import Kind
from intent_events.identity import event_id_of
from intent_events.instrument import quick
from intent_events.mending import INT32_MAX
from intent_events.rows import KNOWN, ORDER, Ended, Rejection, completed, payload_of, payload_with, values_in
from intent_events.store import quick_seal
from intent_events.store.copy_format import seal
from intent_events.store.python_seal import sealed_in_python
from intent_events.store.quick_seal import seal_payloads
from intent_events_exporter.record import row_in
from unit.odd_values import ANY_TEXT, TOLD
from unit.spans_of import START_NS, view
from unit.traces_of import KEPT, WHOLE

pytestmark = pytest.mark.usefixtures("compiled")

ENDED: Final = len(Ended._fields)
PLACES: Final = {key: ENDED + place for place, key in enumerate(KNOWN)}
SCORES: Final = (PLACES[semconv.CANDIDATES_PRE + semconv.SCORES], PLACES[semconv.CANDIDATES_POST + semconv.SCORES])


def whole_values() -> tuple[Any, ...]:
    """Values of an utterance that has every one, and needs no mending."""
    attributes = quick.quick_attributes_of(WHOLE)
    assert attributes is not None
    attributes |= {
        semconv.EVENT_ID: str(event_id_of(1, 2, START_NS)),
        semconv.UTTERANCE_HASH: KEPT.hash,
        semconv.EMITTER_ID: str(UUID(int=7)),
        semconv.EMITTER_SEQ: 7,
        semconv.QUALITY: ("value_cut", "session_id_derived", "value_cut"),
    }
    payload = payload_of(view(attributes, sampled=True, service_name="shop"))
    assert payload is not None
    values = values_in(payload)
    assert values is not None
    return values


WHOLE_VALUES: Final = whole_values()


def packed(*payloads: Any) -> list[bytes | None]:
    """Rows of payloads by the C code alone."""
    assert native.pack_rows is not None
    return list(native.pack_rows(quick_seal._PLAN, payloads, quick_seal._spelled))


def check(payload: bytes) -> bytes | None:
    """Check that a payload has the row that Python gives it, or none; the row."""
    row = packed(payload)[0]
    if row is not None:
        values = values_in(payload)
        assert values is not None
        in_python, carefully = sealed_in_python([completed(values)])[0], row_in(payload)
        assert in_python is not None
        assert not isinstance(carefully, Rejection)
        assert row == in_python.data == seal(carefully).data
    return row


def test_it_takes_what_needs_no_mending() -> None:
    """A record with every value there is, texts of any language and flags among them, is packed in C."""
    languages = tuple("naïve 中文" if value == "a" else value for value in WHOLE_VALUES)
    for values in (WHOLE_VALUES, languages):
        assert check(payload_with(values)) is not None
        assert seal_payloads([payload_with(values)]) == sealed_in_python([values])


PLAIN: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.sampled_from([0, 1, 7, -1, INT32_MAX, INT32_MAX + 1, (1 << 63) - 1]),
    st.floats(),
    ANY_TEXT.filter(lambda text: text.isprintable() or text.isascii()),
    st.text(max_size=300),
    st.sampled_from(["", "é" * 256, "é" * 257, "x" * 256, "x" * 257, str(UUID(int=7)), "chat", "value_cut", "a\x00b"]),
    st.binary(max_size=20),
)
ANY_VALUE: Final = st.one_of(PLAIN, st.lists(PLAIN, max_size=20), st.lists(st.just("a"), max_size=260))


@given(st.dictionaries(st.integers(0, len(WHOLE_VALUES) - 1), ANY_VALUE, max_size=4))
def test_a_payload_of_any_values(changes: dict[int, Any]) -> None:
    """Whatever stands at any place of a payload, C gives what Python gives, or leaves it to Python."""
    values = [*WHOLE_VALUES]
    for place, value in changes.items():
        values[place] = value
    try:
        payload = msgspec.msgpack.encode([ORDER, *values])
    except UnicodeEncodeError:  # a lone surrogate
        return
    check(payload)


@given(st.data())
def test_bytes_that_were_changed(data: st.DataObject) -> None:
    """Bytes of a payload that are cut, changed, doubled or left out do no harm; the row is that of Python, or none."""
    payload = bytearray(payload_with(WHOLE_VALUES))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(payload)))
        stop = start + data.draw(st.sampled_from([0, 1, 1, 1, 2, 9, len(payload)]))
        payload[start:stop] = data.draw(st.one_of(st.binary(max_size=6), st.just(payload[start:stop] * 2)))
    check(bytes(payload))


def test_every_byte_that_is_lost() -> None:
    """A payload that ends at any of its bytes is none, and one with a byte too many neither."""
    payload = payload_with(WHOLE_VALUES)
    assert packed(*(payload[:end] for end in range(len(payload)))) == [None] * len(payload)
    assert packed(payload + b"\xc0", payload)[0] is None


def test_every_form_of_a_number() -> None:
    """A number is read in each of the forms that msgpack has for it."""
    at = PLACES[semconv.EMITTER_SEQ]
    for bits in (0, 5, 7, 8, 15, 16, 31, 32, 62):
        for number in {(1 << bits) - 1, 1 << bits, -(1 << bits), -(1 << bits) - 1}:
            assert check(payload_with((*WHOLE_VALUES[:at], number, *WHOLE_VALUES[at + 1 :]))) is not None
    whole = msgspec.msgpack.encode([ORDER, *WHOLE_VALUES])
    number = msgspec.msgpack.encode(START_NS)
    assert number[:1] == b"\xcf"
    for form in (b"\xd3" + number[1:], number):
        assert packed(whole.replace(number, form)) == packed(whole)


def test_scores_are_numbers_and_spelled_as_everywhere() -> None:
    """Whole numbers, the smallest and the largest are spelled as in Python; what is none leaves the row to Python."""
    pre, post = SCORES
    n = len(WHOLE_VALUES[pre])
    for score in (1, -3, 0.1, 1e-7, 1e22, 5e-324, 1.7976931348623157e308, (1 << 63) - 1, -(1 << 63)):
        values = [*WHOLE_VALUES]
        values[pre] = values[post] = (score,) * n
        assert check(msgspec.msgpack.encode([ORDER, *values])) is not None, score
    odd: list[Any] = [float("nan"), float("inf"), True, None, "1", (1.0,), 1 << 63]
    for score in odd:
        values = [*WHOLE_VALUES]
        values[post] = (score,) * n
        odd_one, whole = msgspec.msgpack.encode([ORDER, *values]), payload_with(WHOLE_VALUES)
        rows = packed(whole, odd_one, whole)
        assert rows[1] is None, score
        assert rows[0] == rows[2] is not None


@pytest.mark.parametrize("line", [b"[", b"[]", b"[0.5", b"[0.5,", b"[null]", b"[0.5 ]", b"x", b"[1.0;2.0]"])
def test_scores_that_are_spelled_wrongly(line: bytes) -> None:
    """A line that is no list of all the numbers leaves the row to Python."""
    assert native.pack_rows is not None
    assert native.pack_rows(quick_seal._PLAN, (payload_with(WHOLE_VALUES),), lambda _: line) == [None]


@pytest.mark.parametrize("answer", ["[1.0]", None, b"", 1])
def test_scores_that_are_not_spelled(answer: Any) -> None:
    """What is no line is an error and no crash; what Python raises is passed on."""
    assert native.pack_rows is not None

    def failing(_: list[float]) -> bytes:
        raise LookupError(TOLD)

    with pytest.raises(TypeError, match="spelled as bytes"):
        native.pack_rows(quick_seal._PLAN, (), lambda _: answer)
    with pytest.raises(LookupError):
        native.pack_rows(quick_seal._PLAN, (), failing)


@given(st.data())
def test_words_of_sure_letters_fit(data: st.DataObject) -> None:
    """A word of the letters that C does not ask Python about has the shape of its column, at any length it may have."""
    words = [attribute for attribute in columns.UTTERANCE.values() if attribute.kind is Kind.WORD]
    attribute = data.draw(st.sampled_from(words))
    word = data.draw(st.text(attribute.letters, min_size=1, max_size=attribute.limit))
    values = [*WHOLE_VALUES]
    for each in (word, word[:1] * attribute.limit):
        values[PLACES[attribute.key]] = each
        assert check(payload_with(tuple(values))) is not None


def test_words_of_other_letters_are_asked_for() -> None:
    """A word that has other letters is taken when its shape is right, and left to Python when it is not."""
    at = PLACES[semconv.SCOPE]
    for word in ("BOOK-1", "Book-1", "Book", "book one", "é1", ""):
        row = check(payload_with((*WHOLE_VALUES[:at], word, *WHOLE_VALUES[at + 1 :])))
        assert (row is not None) is word.endswith("-1"), word


def test_many_flags() -> None:
    """Flags stand in their order, each once; more than C takes are left to Python."""
    names = [f"flag_{n:02}é"[:n] for n in range(1, 18)]
    for flags in ((), ("b", "a", "b"), tuple(names[:16][::-1]), tuple(names[:8]) * 2):
        assert check(payload_with((*WHOLE_VALUES[:-1], flags))) is not None
    assert packed(payload_with((*WHOLE_VALUES[:-1], tuple(names)))) == [None]


COLUMNS: Final = ((b"t", b"", 0, 1, None), (b"t", b"", 0, 1, None))
SOUND: Final = (1, b"", COLUMNS, 0, 1, 1, 1, 1)


def changed(place: int, value: Any) -> tuple[Any, ...]:
    """The plan with another value."""
    return (*SOUND[:place], value, *SOUND[place + 1 :])


@pytest.mark.parametrize(
    "plan",
    [
        (),
        SOUND[:5],
        list(SOUND),
        changed(0, "1"),
        changed(1, "x"),
        changed(2, [*COLUMNS]),
        changed(2, COLUMNS[:1]),
        changed(2, ((b"t", b""),) * 2),
        changed(2, ([*COLUMNS[0]],) * 2),
        changed(2, ((b"t", "x", 0, 1, None),) * 2),
        changed(2, ((b"i", b"", 0, 1 << 31, None),) * 2),
        changed(2, ((b"i", b"", -(1 << 31) - 1, 1, None),) * 2),
        changed(2, ((b"t", b"", 0, -1, None),) * 2),
        changed(2, ((b"l", b"", 0, 1, None),) * 2),
        changed(2, ((b"l", b"", 0, 1, ("a",)),) * 2),
        changed(2, ((b"w", b"", 0, 1, None),) * 2),
        changed(2, ((b"w", b"", 0, 1, ("é", str)),) * 2),
        changed(2, ((b"w", b"", 0, 1, ("a",)),) * 2),
        changed(2, COLUMNS * 40),
        changed(3, 1),
        changed(3, -1),
        changed(3, sys.maxsize),
        changed(4, -1),
        changed(5, -1),
        changed(6, -1),
        changed(7, -1),
        changed(7, (1 << 63) - 1),
    ],
)
def test_plans_that_are_none(plan: Any) -> None:
    """They are an error and no crash."""
    assert native.pack_rows is not None
    assert native.pack_rows(SOUND, (), lambda _: b"[]") == []
    with pytest.raises((TypeError, ValueError)):
        native.pack_rows(plan, (), lambda _: b"[]")


def test_arguments_that_are_none() -> None:
    """Payloads that are no tuple are an error; what is no bytes among them is left to Python, as is an unknown kind."""
    assert native.pack_rows is not None
    wrong: list[Any] = [(), (SOUND,), (SOUND, [], str), (SOUND, b"", str)]
    for arguments in wrong:
        with pytest.raises(TypeError):
            native.pack_rows(*arguments)
    whole = payload_with(WHOLE_VALUES)
    assert packed(None, 1, "x", bytearray(whole), whole)[:4] == [None] * 4
    unknown = tuple((b"?" if n == 4 else column[0], *column[1:]) for n, column in enumerate(quick_seal._PLAN[2]))
    plan = (*quick_seal._PLAN[:2], unknown, *quick_seal._PLAN[3:])
    assert native.pack_rows(plan, (whole,), quick_seal._spelled) == [None]
