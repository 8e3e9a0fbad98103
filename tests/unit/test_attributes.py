# SPDX-License-Identifier: Apache-2.0
"""Any trace becomes attributes that every SDK takes, within the bounds of the contract, and comes back as its row."""

from typing import Any, Final, NamedTuple, cast, get_args
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from opentelemetry.util.types import AttributeValue

from intent_events import columns, semconv
from intent_events.columns import Candidate, Kind
from intent_events.identity import derived_uuid
from intent_events.instrument.attributes import attributes_of, careful_attributes_of
from intent_events.instrument.quick import quick_attributes_of
from intent_events.mending import text
from intent_events.privacy import TextRecord
from intent_events.rows import IntentEventRow, row_of
from intent_events.rows import mapping as row_mapping
from intent_events.semconv import MAX_CANDIDATES, MAX_KEYS, MAX_SPAN_BYTES, MAX_STRING, Quality, Record
from intent_events.trace import TRACE_FIELDS, IntentTrace
from unit.odd_values import ANY_TEXT, ANYTHING, WIRE, Colour, Endless, Hostile, HostileList, LyingList, Unbound
from unit.spans_of import CANDIDATE_ATTRIBUTES, KEYS, view
from unit.traced import Traced, traced_by
from unit.traced import attributes_of as attributes_of_span

KEPT: Final = TextRecord("a" * 64, "k-1", "b" * 64, "assign <name?>")
PLAIN = st.one_of(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8), st.just("x" * MAX_STRING))
CLEAN = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8), st.just("é" * MAX_STRING)
)


def values_of(name: str, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Values that a field may have and that need no mending."""
    if name.endswith("_total"):
        return st.none()
    if name.startswith("verb_candidates"):
        score = st.floats(-1e300, 1e300)
        candidate = st.builds(Candidate, texts.filter(bool), score, texts)
        return st.one_of(st.lists(candidate, min_size=1, max_size=3), candidate.map(lambda one: [one] * 25))
    attribute = columns.UTTERANCE[name]
    return {
        Kind.TEXT: texts,
        Kind.TEXTS: st.one_of(
            st.lists(texts.filter(bool), max_size=3), texts.filter(bool).map(lambda one: [one] * 100)
        ),
        Kind.LABEL: st.sampled_from(sorted(attribute.known) or ["?"]),
        Kind.UUID: st.uuids(),
        Kind.STRICT_UUID: st.one_of(st.uuids(), st.uuids().map(str)),
        Kind.INTEGER: st.integers(0, 1 << 31),
        Kind.BOOLEAN: st.booleans(),
    }[attribute.kind]


def traces(texts: st.SearchStrategy[str]) -> st.SearchStrategy[IntentTrace]:
    """Traces whose values need no mending but that of their texts."""
    fields = {name: values_of(name, texts) for name in TRACE_FIELDS}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: IntentTrace(**given))


STRANGE: Final = st.fixed_dictionaries({}, optional=dict.fromkeys(TRACE_FIELDS, ANYTHING)).map(
    lambda fields: IntentTrace(**fields)
)
"""Traces whose fields hold anything."""


def items_of(value: Any) -> list[Any]:
    """Items of a list, or the value as the only one."""
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def weight(attributes: dict[str, Any]) -> int:
    """Bytes of all texts of some attributes, keys included."""
    parts = [part for value in attributes.values() for part in items_of(value)]
    return sum(len(part.encode()) for part in [*attributes, *parts] if isinstance(part, str))


def check_bounds(attributes: dict[str, Any]) -> None:
    """Check that attributes are within the contract and of types that every SDK takes."""
    assert len(attributes) + 5 <= MAX_KEYS
    assert weight(attributes) <= MAX_SPAN_BYTES
    assert set(attributes) <= {*KEYS, "error.type"}
    for value in attributes.values():
        items = items_of(value)
        assert len(set(map(type, items))) <= 1, "lists are homogeneous"
        for item in items:
            assert type(item) in {str, bool, int, float}
            if isinstance(item, str):
                assert len(item) <= MAX_STRING
                assert "\x00" not in item
                item.encode()
            if type(item) is int:
                assert -(1 << 63) < item < (1 << 63)
    for prefix in (semconv.CANDIDATES_PRE, semconv.CANDIDATES_POST):
        verbs = attributes.get(prefix + semconv.VERBS, ())
        assert len(verbs) <= MAX_CANDIDATES
        assert attributes.get(prefix + semconv.TOTAL, 0) >= len(verbs)
        for suffix in (semconv.SCORES, semconv.SOURCES):
            assert len(attributes.get(prefix + suffix, verbs)) == len(verbs)


def test_the_types_are_those_of_the_api() -> None:
    """What is checked here is what OpenTelemetry's API takes for an attribute."""
    assert {str, bool, int, float} <= set(get_args(AttributeValue))


@given(STRANGE)
def test_attributes_of_is_total(trace: IntentTrace) -> None:
    """Whatever a trace holds, its attributes are within the bounds and of the right types."""
    check_bounds(attributes_of(trace, KEPT))
    check_bounds(attributes_of(trace, None))


@given(traces(st.one_of(PLAIN, ANY_TEXT)))
def test_texts_of_any_kind(trace: IntentTrace) -> None:
    """Texts of any code points are within the bounds."""
    check_bounds(attributes_of(trace, KEPT))


def listed(attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    """Attributes with their sequences as lists, for comparison."""
    if attributes is None:
        return None
    return {key: items_of(value) if isinstance(value, tuple) else value for key, value in attributes.items()}


@given(st.one_of(traces(PLAIN), traces(CLEAN), STRANGE))
@example(IntentTrace(outcome=Colour.MATCHED, verb_candidates_pre=[Candidate("a.b", 0.5)]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 0.5), Candidate("c.d", 0.5, "x")]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 1e308), Candidate("c.d", 1e308)]))
@example(IntentTrace(session_id="0190163D-8694-739B-AEA5-966C26F8AD91"))
@example(IntentTrace(missing_args=("a", "b"), macro_denied_verbs=["v" * 256] * 129))
def test_the_quick_way_is_the_careful_way(trace: IntentTrace) -> None:
    """A trace that is taken the quick way has the attributes that the careful way gives it, and no flags."""
    quick = listed(quick_attributes_of(trace))
    assert quick is None or quick == listed(careful_attributes_of(trace))


@given(traces(PLAIN))
def test_most_traces_are_taken_the_quick_way(trace: IntentTrace) -> None:
    """A trace of plain texts far within the bounds needs no care."""
    assume(weight(careful_attributes_of(trace)) < MAX_SPAN_BYTES // 2)
    assert quick_attributes_of(trace) is not None


def known_value(name: str) -> Any:
    """A value of a field that needs no mending."""
    if name.startswith("verb_candidates"):
        return None if name.endswith("_total") else [Candidate("a.b", 0.5, "x")]
    attribute = columns.UTTERANCE[name]
    values = {Kind.TEXTS: ["a", "b"], Kind.BOOLEAN: True, Kind.LABEL: min(attribute.known, default="")}
    return values.get(attribute.kind, str(UUID(int=7)))


WHOLE: Final = IntentTrace(**{name: known_value(name) for name in TRACE_FIELDS})
"""A trace whose every field is known."""


def by_the_real_sdk(trace: IntentTrace) -> IntentEventRow:
    """Row of a trace after its way through a span of the real SDK."""
    with traced_by(Traced()) as traced:
        opened = traced.recorder.begin("assign it", {})
        for name in TRACE_FIELDS:
            setattr(opened.trace, name, getattr(trace, name))
        opened.end()
        attributes = attributes_of_span(traced.root)
        check_bounds({key: value for key, value in attributes.items() if not key.startswith("intent.emitter")})
        return traced.row


UUIDS: Final = {name for name in TRACE_FIELDS if name in columns.UTTERANCE and name.endswith("_id")}


def expected(name: str, value: Any) -> Any:
    """What a column holds of a field that needs no mending."""
    missing = {"actor_id", "entrypoint", "semreg_mode", "outcome"}
    if value is None:
        return "unknown" if name in missing else False if name in {"synthetic", "macro_semreg_checked"} else None
    if name.startswith("verb_candidates"):
        return [tuple(item) for item in value][:MAX_CANDIDATES]
    kind = columns.UTTERANCE[name].kind
    if kind in {Kind.UUID, Kind.STRICT_UUID}:
        return UUID(str(value))
    return text(value, set()) if kind is Kind.LABEL else value


@given(traces(CLEAN))
def test_a_trace_comes_back_as_its_row(trace: IntentTrace) -> None:
    """Through a span of the real SDK, every column holds what the field of its name held."""
    row = by_the_real_sdk(trace)
    flags = set(row.quality or ())
    for name in TRACE_FIELDS:
        value = getattr(trace, name)
        if name.endswith("_total"):
            items = getattr(trace, name.removesuffix("_total"))
            assert getattr(row, name) == (None if items is None else len(items))
        elif name == "session_id" and value is None:
            assert row.session_id == derived_uuid(semconv.SESSION_ID, row.trace_id)
        elif not (
            Quality.VALUE_CUT in flags and isinstance(value, list)
        ):  # what is over 64 KiB is left out and flagged
            assert getattr(row, name) == expected(name, value), name
    assert "event_id_derived" not in flags


@given(STRANGE)
def test_a_strange_trace_comes_back_as_a_row(trace: IntentTrace) -> None:
    """Whatever a trace holds, there is one row of it, and it says what had to be mended."""
    row = by_the_real_sdk(trace)
    assert row.utterance_preview == "assign it"
    assert set(row.quality or ()) <= set(Quality)


def recorded(trace: IntentTrace, kept: TextRecord | None, more: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a trace as they are on a span, some of them changed."""
    attributes = {**attributes_of(trace, kept), **more}
    return {key: tuple(items_of(value)) if isinstance(value, list) else value for key, value in attributes.items()}


WIRE_ATTRIBUTES: Final = st.one_of(
    st.builds(
        recorded,
        st.one_of(traces(PLAIN), traces(CLEAN)),
        st.sampled_from([KEPT, None]),
        CANDIDATE_ATTRIBUTES,
    ),
    st.builds(recorded, traces(CLEAN), st.just(KEPT), st.just(dict[str, Any]())),
)


def nothing(*_: object) -> None:
    """Say that care is needed."""


@given(WIRE_ATTRIBUTES)
def test_the_quick_way_to_a_row_is_the_careful_way(attributes: dict[str, Any]) -> None:
    """A record that is read the quick way has the row that the careful way gives it."""
    span = view(attributes)
    row = row_of(span, Record.UTTERANCE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(row_mapping, "quick_columns_of", nothing)
        assert row == row_of(span, Record.UTTERANCE)


CHANGES: Final = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), WIRE), min_size=1, max_size=2)
"""Some attributes that are absent or odd."""


@given(st.one_of(traces(PLAIN), st.just(WHOLE)), CHANGES)
def test_the_quick_way_leaves_what_is_odd_to_the_careful_way(trace: IntentTrace, changes: dict[str, Any]) -> None:
    """The same holds when an attribute is absent or is anything."""
    attributes = recorded(trace, KEPT, {semconv.EVENT_ID: str(UUID(int=0))} | changes)
    test_the_quick_way_to_a_row_is_the_careful_way.hypothesis.inner_test(attributes)  # pyright: ignore[reportFunctionMemberAccess] - of hypothesis


@pytest.mark.parametrize(
    "value", [None, "?", "x" * 300, 7, 1 << 40, -(1 << 70), 0.5, True, (), ("a",), ("a",) * 200, (1,)]
)
@pytest.mark.parametrize("key", KEYS)
def test_every_odd_attribute_is_read_carefully(key: str, value: Any) -> None:
    """Each attribute, absent or of another type, has the same row either way."""
    attributes = recorded(WHOLE, KEPT, {semconv.EVENT_ID: str(UUID(int=0)), key: value})
    test_the_quick_way_to_a_row_is_the_careful_way.hypothesis.inner_test(attributes)  # pyright: ignore[reportFunctionMemberAccess] - of hypothesis


@pytest.mark.parametrize("character", ["x", "é", "中", "\U0001f469"])
def test_the_bound_of_bytes(character: str) -> None:
    """The largest trace there can be is within 64 KiB, and its verbs are kept to the last."""
    long = character * MAX_STRING
    fields: dict[str, Any] = {}
    for name in TRACE_FIELDS:
        if name.startswith("verb_candidates"):
            fields[name] = None if name.endswith("_total") else [Candidate(long, 0.5, long)] * 25
        else:
            kind = columns.UTTERANCE[name].kind
            fields[name] = [long] * 128 if kind is Kind.TEXTS else True if kind is Kind.BOOLEAN else long
    attributes = attributes_of(IntentTrace(**fields), KEPT)
    check_bounds(attributes)
    assert weight(attributes) + 500 <= MAX_SPAN_BYTES
    assert len(attributes[semconv.CANDIDATES_PRE + semconv.VERBS]) == 20
    assert len(attributes[semconv.CANDIDATES_POST + semconv.VERBS]) == 20
    assert Quality.VALUE_CUT in attributes[semconv.QUALITY]


PRE: Final = semconv.CANDIDATES_PRE


@pytest.mark.parametrize(
    ("candidates", "verbs", "scores", "sources"),
    [
        ([Candidate("a.b", 0.5, "x")], ["a.b"], [0.5], ["x"]),
        ([("a.b", 1)], ["a.b"], [1.0], None),
        ([["a.b", 1, "x", "more"]], ["a.b"], [1.0], ["x"]),
        ([{"verb": "a.b", "score": 0.5}], ["a.b"], [0.5], None),
        (["a.b", "c.d"], ["a.b", "c.d"], None, None),
        (("a.b", Candidate("c.d", 0.5)), ["a.b", "c.d"], None, None),
        ({"a.b"}, ["a.b"], None, None),
        ([Candidate("a.b", float("nan"))], ["a.b"], None, None),
        ([Candidate(None, 0.5)], ["?"], [0.5], None),  # pyright: ignore[reportArgumentType] - the mistake
        ([], [], None, None),
        ([7], ["?"], None, None),
    ],
)  # fmt: skip
def test_candidates_of_every_form(candidates: Any, verbs: list[str], scores: Any, sources: Any) -> None:
    """Tuples, mappings, objects and plain verbs are candidates; a list with an unknown score has none."""
    attributes = attributes_of(IntentTrace(verb_candidates_pre=candidates), None)
    assert list(attributes[PRE + ".verbs"]) == verbs
    assert listed(attributes).get(PRE + ".scores") == scores  # pyright: ignore[reportOptionalMemberAccess] - given
    assert listed(attributes).get(PRE + ".sources") == sources  # pyright: ignore[reportOptionalMemberAccess] - given
    assert attributes[PRE + ".total"] == len(verbs)


class Hit:
    """A candidate of an orchestrator's own."""

    def __init__(self, score: float, verb: str) -> None:
        self.score = score
        self.verb = verb


class NamedHit(NamedTuple):
    """A candidate of an orchestrator's own, in its own order."""

    score: float
    verb: str


def test_candidates_of_a_foreign_type() -> None:
    """Objects are read by the names of their fields, whatever order those have."""
    attributes = attributes_of(IntentTrace(verb_candidates_pre=[Hit(0.5, "a.b"), NamedHit(0.25, "c.d")]), None)
    assert list(attributes[PRE + ".verbs"]) == ["a.b", "c.d"]
    assert list(attributes[PRE + ".scores"]) == [0.5, 0.25]


@pytest.mark.parametrize(
    "make", [Hostile, Unbound, lambda: HostileList(["a"]), lambda: LyingList(["a"], -3), lambda: "a.b", lambda: b"a"]
)
def test_candidates_that_are_no_list(make: Any) -> None:
    """What is no list of candidates, or cannot be read, is left out and flagged."""
    attributes = attributes_of(IntentTrace(verb_candidates_pre=make(), scope="b"), None)
    assert not [key for key in attributes if key.startswith(PRE)]
    assert attributes[semconv.QUALITY] == [Quality.VALUE_REFUSED]
    assert attributes[semconv.SCOPE] == "b"


def test_a_list_without_an_end() -> None:
    """A collection is read no further than the bound."""
    attributes = attributes_of(IntentTrace(verb_candidates_pre=Endless(), missing_args=Endless()), None)  # pyright: ignore[reportArgumentType] - the mistake
    assert len(attributes[PRE + ".verbs"]) == 20
    assert attributes[PRE + ".total"] >= 20
    assert len(attributes[semconv.MISSING_ARGS]) == 128
    ranged = attributes_of(IntentTrace(verb_candidates_pre=range(1 << 60)), None)
    assert ranged[PRE + ".total"] == 1 << 60


@pytest.mark.parametrize(("total", "counted"), [(None, 2), (0, 2), (5, 5), ("7", 7), (-1, 2), (1 << 70, (1 << 63) - 1)])
def test_the_total(total: Any, counted: int) -> None:
    """How many candidates there were is what the orchestrator says, and at least what it lists."""
    trace = IntentTrace(verb_candidates_pre=["a.b", "c.d"], verb_candidates_pre_total=total)
    assert attributes_of(trace, None)[PRE + ".total"] == counted


def test_a_total_without_a_list() -> None:
    """An orchestrator that counts but does not list says how many there were."""
    assert attributes_of(IntentTrace(verb_candidates_pre_total=7), None)[PRE + ".total"] == 7


def test_a_uuid_of_a_library_is_a_text() -> None:
    """The UUID type of a database driver becomes its text, as every other UUID."""

    class OtherUUID(UUID):
        pass

    attributes = attributes_of(IntentTrace(session_id=OtherUUID(int=7), subject_ref_id=OtherUUID(int=8)), None)
    assert attributes[semconv.SESSION_ID] == str(UUID(int=7))
    assert attributes[semconv.SUBJECT_ID] == str(UUID(int=8))
    assert semconv.QUALITY not in attributes


@pytest.mark.parametrize(
    ("kept", "keys"),
    [
        (None, set[str]()),
        (TextRecord("h", None, "t", None), {"hash", "template_hash"}),
        (TextRecord("h", "k", "t", ""), {"hash", "template_hash", "hash_key_id", "preview"}),
    ],
)
def test_what_is_kept_of_a_text(kept: TextRecord | None, keys: set[str]) -> None:
    """Plain hashes name no key, and without previews there is none."""
    attributes = attributes_of(IntentTrace(), kept)
    assert {key for key in attributes if key.startswith("intent.utterance")} == {
        f"intent.utterance.{key}" for key in keys
    }
