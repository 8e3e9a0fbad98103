# SPDX-License-Identifier: Apache-2.0
"""Traces as an orchestrator fills them: those that need no mending, and those that hold anything."""

from typing import Any, Final, cast
from uuid import UUID

from hypothesis import strategies as st

from intent_events import columns, semconv
from intent_events.columns import Candidate, Kind
from intent_events.privacy import TextRecord
from intent_events.semconv import MAX_CANDIDATES, MAX_KEYS, MAX_SPAN_BYTES, MAX_STRING
from intent_events.trace import TRACE_FIELDS, IntentTrace
from unit.odd_values import ANYTHING
from unit.spans_of import KEYS

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
    if name == "entity_spans":
        return st.just([(0, 1, "person")])
    attribute = columns.UTTERANCE[name]
    return {
        Kind.TEXT: texts,
        Kind.WORD: st.sampled_from(["scope-101", "E-1", "e.timeout_2", "acme"]),
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


def known_value(name: str) -> Any:
    """A value of a field that needs no mending."""
    if name.startswith("verb_candidates"):
        return None if name.endswith("_total") else [Candidate("a.b", 0.5, "x")]
    if name == "entity_spans":
        return [(0, 1, "person")]
    attribute = columns.UTTERANCE[name]
    values = {Kind.TEXTS: ["a", "b"], Kind.BOOLEAN: True, Kind.LABEL: min(attribute.known, default="")}
    return values.get(attribute.kind, str(UUID(int=7)))


WHOLE: Final = IntentTrace(**{name: known_value(name) for name in TRACE_FIELDS})
"""A trace whose every field is known."""
