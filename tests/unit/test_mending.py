# SPDX-License-Identifier: Apache-2.0
"""Values of any kind become what a column takes, or None with a flag, and nothing raises."""

import math
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import columns, mending, semconv
from intent_events.columns import Attribute, Kind
from intent_events.semconv import Quality
from unit.odd_values import ANY_TEXT, ANYTHING, TOLD, Colour, Endless, HostileText, Level, Shape, Talker, Unbound

ATTRIBUTES = [*columns.UTTERANCE.values(), *columns.REPLY.values(), *columns.OUTCOME.values()]


def storable(text: object) -> bool:
    """Whether Postgres and protobuf take it as text."""
    return isinstance(text, str) and "\x00" not in text and text.encode().decode() == text


@given(ANYTHING, st.sampled_from([0, 1, 80, 256]))
def test_text_is_total(value: Any, limit: int) -> None:
    """Anything gives a storable text within the limit or None, and what was changed or refused is flagged."""
    quality: set[str] = set()
    text = mending.text(value, quality, limit)
    assert text is None or (storable(text) and len(text) <= limit)
    assert quality <= {Quality.VALUE_CUT, Quality.VALUE_MENDED, Quality.VALUE_REFUSED}
    assert (text is None) == (value is None or Quality.VALUE_REFUSED in quality)


@given(ANY_TEXT)
def test_text_that_can_be_stored_stays(value: str) -> None:
    """A text within the limit without NUL and surrogates comes back as it is, and without a flag."""
    quality: set[str] = set()
    text = mending.text(value, quality)
    plain = (
        len(value) <= semconv.MAX_STRING and "\x00" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    )
    assert (text == value and not quality) is plain


@pytest.mark.parametrize(
    ("value", "text", "flags"),
    [
        ("a\x00b", "ab", {Quality.VALUE_MENDED}),
        ("a\ud800b", "a?b", {Quality.VALUE_MENDED}),
        ("x" * 257, "x" * 256, {Quality.VALUE_CUT}),
        ("é" * 257, "é" * 256, {Quality.VALUE_CUT}),
        (Colour.RED, "red", set[str]()),
        (Shape.ROUND, "round", set[str]()),
        (Shape.ODD, None, {Quality.VALUE_REFUSED}),
        (Level.LOW, "1", {Quality.VALUE_MENDED}),
        (True, "True", {Quality.VALUE_MENDED}),
        (12, "12", {Quality.VALUE_MENDED}),
        (0.5, "0.5", {Quality.VALUE_MENDED}),
        (np.float64(0.5), "0.5", {Quality.VALUE_MENDED}),
        (np.str_("a.b"), "a.b", set[str]()),
        pytest.param(10**5000, None, {Quality.VALUE_REFUSED}, id="beyond spelling"),
        pytest.param(10**300, "1" + "0" * 255, {Quality.VALUE_MENDED, Quality.VALUE_CUT}, id="301 digits"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005", set[str]()),
        (b"bytes", None, {Quality.VALUE_REFUSED}),
        pytest.param(HostileText("text"), "text", set[str](), id="hostile text"),
        (None, None, set[str]()),
    ],
)
def test_text_of(value: object, text: str | None, flags: set[str]) -> None:
    """Texts, labels, ids and numbers become text; what was changed says so."""
    quality: set[str] = set()
    assert mending.text(value, quality) == text
    assert quality == flags


def test_a_proxy_that_is_bound_to_nothing_hurts_nobody() -> None:
    """What raises when its class is asked, as proxies of web frameworks do, is refused everywhere."""
    quality: set[str] = set()
    unbound = Unbound()
    assert mending.text(unbound, quality) is None
    assert mending.texts(unbound, quality) is None
    assert mending.texts([unbound], quality) == ["?"]
    assert mending.integer(unbound, quality) is None
    assert mending.score(unbound, quality) is None
    assert mending.boolean(unbound, quality) is None
    assert mending.field_of(unbound, "trace") is None
    assert [mending.value(attribute, unbound, quality) for attribute in ATTRIBUTES] == [None] * len(ATTRIBUTES)


def test_the_text_of_a_foreign_object_is_never_taken() -> None:
    """What an object would say of itself could be the utterance, so it is refused."""
    quality: set[str] = set()
    assert mending.text(Talker(), quality) is None
    assert mending.texts([Talker(), "a"], quality) == ["?", "a"]
    assert TOLD not in repr(quality)


@given(ANYTHING, st.sampled_from([0, 3, 20, 128]))
def test_texts_is_total(value: Any, limit: int) -> None:
    """Anything gives a list of at most so many storable texts, or None."""
    quality: set[str] = set()
    items = mending.texts(value, quality, limit)
    assert items is None or (type(items) is list and len(items) <= max(limit, 1))
    assert all(storable(item) and len(item) <= semconv.MAX_STRING for item in items or ())
    assert quality <= {Quality.VALUE_CUT, Quality.VALUE_MENDED, Quality.VALUE_REFUSED}


@given(st.lists(ANY_TEXT, max_size=10))
def test_texts_stay_in_step(value: list[str]) -> None:
    """Each item of a list has its place in the result, whatever it is, and the list itself is another."""
    items = mending.texts(value, set())
    assert items is not None
    assert len(items) == len(value)
    assert items is not value


@pytest.mark.parametrize(
    ("value", "texts", "flags"),
    [
        ("one", ["one"], set[str]()),
        (b"one", None, {Quality.VALUE_REFUSED}),
        (["a", 1, None], ["a", "1", "?"], {Quality.VALUE_MENDED}),
        (["a", HostileText("b")], ["a", "b"], set[str]()),
        (np.array(["a", "b"]), ["a", "b"], set[str]()),
        (("a",) * 129, ["a"] * 128, {Quality.VALUE_CUT}),
        (Endless(), ["more"] * 128, {Quality.VALUE_CUT}),
        (iter(["a"]), None, {Quality.VALUE_REFUSED}),
        ([], [], set[str]()),
        (None, None, set[str]()),
    ],
)
def test_texts_of(value: object, texts: list[str] | None, flags: set[str]) -> None:
    """One text is a list of one; a list that is too long is cut; an iterator is left alone."""
    quality: set[str] = set()
    assert mending.texts(value, quality) == texts
    assert quality == flags


@given(ANYTHING, st.sampled_from([mending.INT32_MAX, mending.INT64_MAX]))
def test_integer_is_total(value: Any, most: int) -> None:
    """Anything gives an integer within the column, or None."""
    quality: set[str] = set()
    number = mending.integer(value, quality, most)
    assert number is None or (type(number) is int and -most <= number <= most)
    assert quality <= {Quality.VALUE_MENDED, Quality.VALUE_REFUSED}
    assert (number is None) == (value is None or Quality.VALUE_REFUSED in quality)


@pytest.mark.parametrize(
    ("value", "number", "flagged"),
    [
        (mending.INT64_MAX, mending.INT64_MAX, False),
        (mending.INT64_MAX + 1, mending.INT64_MAX, True),
        (-(1 << 64), -mending.INT64_MAX, True),
        ("17", 17, True),
        (3.9, 3, True),
        (True, 1, True),
        (np.int64(4), 4, True),
        (math.nan, None, True),
        (math.inf, None, True),
        pytest.param("9" * 5000, None, True, id="5000 digits"),
        (None, None, False),
    ],
)
def test_integer_of(value: object, number: int | None, flagged: bool) -> None:  # noqa: FBT001 - a table of cases
    """Numbers are clamped to the column; whatever was no plain integer is flagged."""
    quality: set[str] = set()
    assert mending.integer(value, quality) == number
    assert bool(quality) is flagged


@given(ANYTHING)
def test_score_is_total(value: Any) -> None:
    """Anything gives a finite float, or None."""
    quality: set[str] = set()
    number = mending.score(value, quality)
    assert number is None or (type(number) is float and math.isfinite(number))
    assert quality == (set() if number is not None or value is None else {Quality.VALUE_REFUSED})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.5, 0.5),
        (1, 1.0),
        (np.float32(0.5), 0.5),
        (math.nan, None),
        (-math.inf, None),
        pytest.param(10**400, None, id="beyond a double"),
        ("0.5", None),
        (b"1", None),
        (None, None),
    ],
)
def test_score_of(value: object, number: float | None) -> None:
    """Numbers that a double can hold are scores; texts, NaN and infinities are none."""
    assert mending.score(value, set()) == number


@given(ANYTHING)
def test_boolean_is_total(value: Any) -> None:
    """Anything gives True, False or None."""
    quality: set[str] = set()
    assert mending.boolean(value, quality) in {True, False, None}
    assert quality <= {Quality.VALUE_MENDED, Quality.VALUE_REFUSED}


@pytest.mark.parametrize(
    ("value", "boolean", "flagged"),
    [
        (True, True, False),
        ("TRUE", True, True),
        ("false", False, True),
        (0, False, True),
        (1, True, True),
        (2, None, True),
        ("yes", None, True),
        (None, None, False),
    ],
)
def test_boolean_of(value: object, boolean: bool | None, flagged: bool) -> None:  # noqa: FBT001 - a table of cases
    """What emitters without booleans send in their stead is understood; nothing else is guessed."""
    quality: set[str] = set()
    assert mending.boolean(value, quality) is boolean
    assert bool(quality) is flagged


_TYPES: dict[Kind, type] = {
    Kind.TEXT: str,
    Kind.LABEL: str,
    Kind.TEXTS: list,
    Kind.UUID: UUID,
    Kind.STRICT_UUID: UUID,
    Kind.INTEGER: int,
    Kind.BOOLEAN: bool,
}


@given(st.sampled_from(ATTRIBUTES), ANYTHING)
def test_value_is_total(attribute: Attribute, raw: Any) -> None:
    """Any value of any attribute becomes one of its kind or None; a required one that is None is flagged."""
    quality: set[str] = set()
    clean = mending.value(attribute, raw, quality)
    assert clean is None or isinstance(clean, _TYPES[attribute.kind])
    assert quality <= set(Quality)
    if clean is None and attribute.missing is not None:
        assert attribute.missing in quality


SESSION = columns.UTTERANCE["session_id"]
PARENT = columns.UTTERANCE["parent_event_id"]


@given(st.uuids())
def test_uuids_in_every_spelling(uuid: UUID) -> None:
    """A UUID is read from itself, its text in any case, with braces, as a URN and as a foreign text type."""
    quality: set[str] = set()
    spellings = [uuid, str(uuid), str(uuid).upper(), f"{{{uuid}}}", uuid.urn, uuid.hex, np.str_(str(uuid))]
    assert {mending.value(SESSION, spelling, quality) for spelling in spellings} == {uuid}
    assert not quality


class OtherUUID(UUID):
    """A UUID type of a library, as a database driver has one."""


def test_a_subclass_of_uuid_is_a_uuid() -> None:
    """The UUID type of a database driver is read as the plain one."""
    raw = OtherUUID("0190163d-8694-739b-aea5-966c26f8ad91")
    clean = mending.value(SESSION, raw, set())
    assert type(clean) is UUID
    assert clean.int == raw.int


def test_a_foreign_session_id_becomes_a_uuid5_of_it() -> None:
    """The same foreign id gives the same UUID, another gives another, and both say that they are derived."""
    quality: set[str] = set()
    one, again, other = (mending.value(SESSION, raw, quality) for raw in ("s-1", "s-1", 7))
    assert one == again != other
    assert one.version == other.version == 5
    assert quality == {Quality.SESSION_ID_DERIVED, Quality.VALUE_MENDED}


def test_a_reference_is_never_derived() -> None:
    """What refers to a row of ours is that row's key or nothing."""
    quality: set[str] = set()
    assert mending.value(PARENT, "s-1", quality) is None
    assert quality == {Quality.PARENT_EVENT_ID_INVALID}


@pytest.mark.parametrize("raw", ["", "\x00", b"x", [], object()])
def test_an_empty_id_is_missing_rather_than_derived(raw: object) -> None:
    """Nothing is derived from an id that has no text."""
    quality: set[str] = set()
    assert mending.value(SESSION, raw, quality) is None
    assert Quality.SESSION_ID_MISSING in quality
    assert Quality.SESSION_ID_DERIVED not in quality


@given(ANY_TEXT)
def test_labels_are_open(raw: str) -> None:
    """An unknown label is kept as it is and flagged; a known one is not flagged."""
    quality: set[str] = set()
    outcome = columns.UTTERANCE["outcome"]
    clean = mending.value(outcome, raw, quality)
    assert clean == mending.text(raw, set())
    assert (Quality.OUTCOME_UNKNOWN in quality) is (clean not in outcome.known)


class Context:
    """What a host hands over."""

    session_id = "s"

    @property
    def actor_id(self) -> str:
        """Raises."""
        raise LookupError(TOLD)


@given(ANYTHING, st.sampled_from(["session_id", "trace", "verb", "__class__", "get"]))
def test_field_of_is_total(thing: Any, name: str) -> None:
    """A field of anything is read or None."""
    mending.field_of(thing, name)


def test_field_of() -> None:
    """Fields are attributes of an object and keys of a mapping; a property that raises is an absent field."""
    assert mending.field_of(Context(), "session_id") == "s"
    assert mending.field_of({"session_id": "s"}, "session_id") == "s"
    assert mending.field_of(Context(), "actor_id") is None
    assert mending.field_of(Context(), "scope") is None
    assert mending.field_of({}, "scope") is None
    assert mending.field_of(None, "scope") is None
