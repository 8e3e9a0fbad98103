# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""The inner loops in C: what they take is what Python gives, and nothing that they are handed can hurt the process.

That they give what the Python code gives is tested beside it, in ``test_attributes``, ``test_round_trip`` and
``test_native_rows``.
"""

import gc
import importlib
import sys
import tracemalloc
from collections.abc import Callable
from itertools import cycle, product
from typing import Any, Final, cast
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import native, semconv
from intent_events.columns import Candidate
from intent_events.identity import event_id_of
from intent_events.instrument import quick
from intent_events.instrument.attributes import attributes_of
from intent_events.privacy import Masker, masking, shipped_vocabulary
from intent_events.privacy.vocabulary import WordClass, word_classes
from intent_events.rows import KNOWN, known, payload_with
from intent_events.semconv import Record
from intent_events.store import quick_seal
from intent_events.store.python_seal import sealed_in_python
from intent_events.store.quick_seal import seal_payloads
from intent_events.trace import TRACE_FIELDS, IntentTrace
from intent_events_exporter import record
from unit.odd_values import ANY_TEXT, ANYTHING, Hostile, HostileDict, HostileError, HostileText
from unit.spans_of import START_NS, view
from unit.test_native_rows import ENDED, PLACES, WHOLE_VALUES, packed
from unit.traces_of import WHOLE

AT_SCOPE: Final = PLACES[semconv.SCOPE]
NATIVE: Final = pytest.mark.usefixtures("compiled")


FIELDS: Final = tuple(name for name in TRACE_FIELDS if name != "entity_spans")
"""Fields that become attributes."""


def traced(name: str, value: Any) -> IntentTrace:
    """A trace with one field."""
    fields: dict[str, Any] = {name: value}
    return IntentTrace(**fields)


WHOLE_HEAD: Final = (1, bytes(16), bytes(8), START_NS, START_NS + 900_000, True, "shop", 0)
PACKED: Final = st.one_of(ANYTHING, st.lists(st.one_of(ANYTHING, ANY_TEXT), max_size=3).map(tuple))


@NATIVE
@given(st.data())
def test_a_payload_of_anything(data: st.DataObject) -> None:
    """Whatever stands at any place of a payload, it is what msgpack says of it, or left to Python."""
    head: list[Any] = list(WHOLE_HEAD)
    values = dict(zip(KNOWN, WHOLE_VALUES[ENDED:], strict=True))
    for place in data.draw(st.lists(st.integers(0, len(head) - 1), max_size=2)):
        head[place] = data.draw(PACKED)
    for key in data.draw(st.lists(st.sampled_from(list(values)), max_size=4)):
        values[key] = data.draw(PACKED)
    assert native.pack_payload is not None
    packed = native.pack_payload(tuple(head), tuple(KNOWN), values)
    if packed is not None:
        assert packed == msgspec.msgpack.encode([*head, *map(values.get, KNOWN)])


@NATIVE
def test_a_payload_of_plain_values_is_packed_in_c() -> None:
    """Values of every length and size that has a form of its own; a list or an object is left to Python."""
    edges = [sign * (1 << bits) + off for bits in (5, 7, 8, 15, 16, 31, 32, 63) for sign in (1, -1) for off in (-1, 0)]
    numbers = [number for number in edges if -(1 << 63) <= number < 1 << 63]
    texts = ["é" * length for length in (0, 15, 16, 127, 128, 40_000)]
    lists: list[tuple[Any, ...]] = [(None, True, False, 0.5), (1,) * 15, ("a",) * 16, (0.5,) * 70_000]
    values: list[Any] = [*numbers, *texts, *lists[:3], b"", b"x" * 255]
    attributes = dict(zip(map(str, values), values, strict=True))
    assert native.pack_payload is not None
    packed = native.pack_payload((1, "a"), tuple(attributes), attributes)
    assert packed == msgspec.msgpack.encode([1, "a", *values])
    odd: list[Any] = [1 << 63, b"x" * 256, [1], {}, Hostile(), HostileText("x"), "\ud800", lists[3], ((1,),)]
    for each in odd:
        assert native.pack_payload((each,), (), {}) is None
        assert native.pack_payload((), ("k",), {"k": each}) is None
    assert native.pack_payload((), ("k",), HostileDict()) is None


@NATIVE
@given(st.integers(0, (1 << 128) - 1))
def test_a_uuid_is_spelled(number: int) -> None:
    """As str() spells it."""
    assert native.spell_uuid is not None
    assert native.spell_uuid(UUID(int=number)) == str(UUID(int=number))


WORDS: Final = sorted(shipped_vocabulary())
PHRASES: Final = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(WORDS).map(str.title),
        st.sampled_from(sorted(word_classes())),
        st.sampled_from(["Zebedee", "Quux,", "4711", "a@b", "—", "fund?", "Well.", "KYC", "I'm", "x", "2026-11-25"]),
        ANY_TEXT,
    ),
    max_size=30,
).map(" ".join)


@NATIVE
@given(PHRASES)
def test_a_masked_text(text: str) -> None:
    """It is what Python makes of it, or left to Python."""
    masker = Masker([*WORDS, "KYC"])
    shown = text.split()
    assert native.mask_words is not None
    masked = native.mask_words(masker._words, masker._capitals, masker._word, masking._kind, masking.NAME, shown)
    spoken = any((masker._words.get(word) or 0) & WordClass.NUMBER for word in shown)
    assert masked == masker.masked_in_python(shown, {}) if masked is not None else text.isascii() <= spoken


@NATIVE
def test_every_short_text_of_every_class() -> None:
    """Words of every class in every company, four in a row: each is hidden or shown as Python hides or shows it."""
    masker = Masker([])
    masker._words.update({f"w{each}": each for each in range(WordClass.NUMBER)})
    plan = masker._words, masker._capitals, masker._word, masking._kind, masking.NAME
    tokens = [*masker._words, "Quux", "4711", "—", "a@b"]
    assert native.mask_words is not None
    for n in range(5):
        for words in product(tokens, repeat=n):
            assert native.mask_words(*plan, [*words]) == masker.masked_in_python([*words], {}), words


@NATIVE
def test_a_text_of_many_words() -> None:
    """Those of the longest text that it takes, and one more, which is left to Python."""
    masker = Masker(WORDS)
    plan = masker._words, masker._capitals, masker._word, masking._kind, masking.NAME
    assert native.mask_words is not None
    assert native.mask_words(*plan, ["the"] * 256) == (" ".join(["the"] * 256),) * 2
    assert native.mask_words(*plan, ["the"] * 257) is None
    assert native.mask_words(*plan, ["Quux"] * 256) == ("<name?>",) * 2


def says(answer: object) -> Any:
    """A function of any arguments that gives this."""

    def function(*_: object) -> object:
        return answer

    return function


@NATIVE
@pytest.mark.parametrize(
    "answer",
    [(), (1, "a"), (1, "a", 2), (1, 2, "a"), (1 << 70, "a", "b"), (-1, "a", "b"), (8, "a", "b"), ("1", "a", "b")],
)
def test_answers_that_it_does_not_know(answer: Any) -> None:
    """What Python says of a word leaves the text to Python when it has another form, or a class that is none."""
    assert native.mask_words is not None
    known, capitals = {"a": 0}, frozenset[str]()
    assert native.mask_words(known, capitals, says(answer), says("<id>"), masking.NAME, ["b", "a"]) is None
    assert native.mask_words(known, capitals, says(None), says(answer), masking.NAME, ["b", "a"]) is None


@NATIVE
def test_a_vocabulary_and_tokens_that_it_does_not_know() -> None:
    """Classes and tokens of other kinds leave the text to Python; what Python raises is passed on."""
    assert native.mask_words is not None
    capitals, hostile = frozenset[str](), cast("Any", Hostile())
    odd: list[Any] = [-1, WordClass.NUMBER.value, 16, 1 << 70, "1", None]
    for each in odd:
        assert native.mask_words({"a": each}, capitals, says(None), says("<id>"), masking.NAME, ["a"]) is None
    assert native.mask_words({}, capitals, says(None), says("<id>"), masking.NAME, [HostileText("x")]) is None
    for word, kind in ((hostile, says("<id>")), (says(None), hostile)):
        with pytest.raises(HostileError):
            native.mask_words({}, capitals, word, kind, masking.NAME, ["b"])


@NATIVE
@pytest.mark.parametrize(
    "arguments",
    cast(
        "list[tuple[Any, ...]]",
        [
            (),
            ((), ()),
            ([], (), {}),
            ((), [], {}),
            ({}, frozenset(), str, str, "n"),
            ([], frozenset(), str, str, "n", []),
            ({}, {}, str, str, "n", []),
            ({}, frozenset(), str, str, b"n", []),
            ({}, frozenset(), str, str, "n", ()),
        ],
    ),
)
def test_payloads_and_masks_that_are_asked_for_wrongly(arguments: tuple[Any, ...]) -> None:
    """Arguments of other types are an error and no crash."""
    assert native.pack_payload is not None
    assert native.mask_words is not None
    for call in (native.pack_payload, native.mask_words):
        with pytest.raises(TypeError):
            call(*arguments)


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


def _keeps(work: Callable[[], object]) -> bool:
    """Whether many calls leave a byte each behind, in each of three tries, for all that lives in the process counts."""
    return all(_grown_once(work) >= 2000 for _ in range(3))


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
    whole = payload_with(WHOLE_VALUES)
    odd = [whole[:end] for end in range(0, len(whole), 7)]
    odd += [payload_with(tuple("naïve 中文" if value == "a" else value for value in WHOLE_VALUES))]
    odd += [
        payload_with((*WHOLE_VALUES[:AT_SCOPE], scope, *WHOLE_VALUES[AT_SCOPE + 1 :])) for scope in ("BOOK-1", "Book")
    ]
    for at, value in product(range(ENDED), ("é\0", ())):
        odd.append(payload_with((*WHOLE_VALUES[:at], value, *WHOLE_VALUES[at + 1 :])))
    strange: list[Any] = [Hostile(), ["x", None], [Candidate("a")]]
    traces = [traced(name, value) for name in FIELDS for value in strange]
    endings: list[Callable[[], object]] = [
        lambda: seal_payloads([whole, whole]),
        lambda: quick.quick_attributes_of(WHOLE),
        lambda: quick.quick_attributes_of(IntentTrace(session_id=UUID.__new__(UUID))),
    ]
    endings += _endings_of_the_others(Masker(WORDS), dict(zip(KNOWN, WHOLE_VALUES[ENDED:], strict=True)))
    for work in endings:
        assert not _keeps(work)
    rows, given_ = cycle(odd), cycle(traces)
    assert not _keeps(lambda: packed(next(rows), whole))
    assert not _keeps(lambda: quick.quick_attributes_of(next(given_)))


def _endings_of_the_others(masker: Masker, attributes: dict[str, Any]) -> list[Callable[[], object]]:
    assert native.pack_payload is not None
    assert native.spell_uuid is not None
    assert native.mask_words is not None
    pack, spell, mask, keys = native.pack_payload, native.spell_uuid, native.mask_words, tuple(attributes)
    plan = masker._words, masker._capitals, masker._word, masking._kind, masking.NAME
    long = {"k": ("é" * 900,) * 9}
    return [
        lambda: pack(WHOLE_HEAD, keys, attributes),
        lambda: pack(WHOLE_HEAD, keys, {**attributes, keys[-1]: Hostile()}),
        lambda: pack((), ("k",), long),
        lambda: pack((), ("k", "l"), {**long, "l": []}),
        lambda: spell(event_id_of(1, 2, 3)),
        lambda: masker.mask("Please send 4711 of the State Street fund, John. Well?"),
        lambda: mask(*plan, ["Well.", "Quux", "4711", "Well.", "twenty"]),
        lambda: mask(*plan, ["Well."] * 257),
    ]


def test_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was not built, Python does the same."""
    modules: dict[str, Any] = sys.modules
    monkeypatch.setitem(modules, "intent_events.native._native", None)
    monkeypatch.delattr(native, "_native", raising=False)
    try:
        importlib.reload(native)
        assert {getattr(native, name) for name in native.__all__} == {None}
        monkeypatch.setattr(quick, "plain_attributes", native.plain_attributes)
        monkeypatch.setattr(quick_seal, "pack_rows", native.pack_rows)
        monkeypatch.setattr(masking, "mask_words", native.mask_words)
        monkeypatch.setattr(known, "pack_payload", native.pack_payload)
        assert seal_payloads([payload_with(WHOLE_VALUES)]) == sealed_in_python([WHOLE_VALUES])
        assert len(WHOLE_VALUES) == ENDED + len(KNOWN)
        assert Masker(["please"]).mask("please Zebedee") == ("please <name?>", "please <name?>")
        attributes = {semconv.ACTOR_ID: "u-17", semconv.ROOT: True}
        assert record.decode(record.encode(view(attributes), Record.UTTERANCE)).attributes == attributes
    finally:
        monkeypatch.undo()
        importlib.reload(native)
