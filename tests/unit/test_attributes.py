# SPDX-License-Identifier: Apache-2.0
"""Any trace becomes attributes that every SDK takes, within the bounds of the contract."""

from enum import Enum
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from opentelemetry.util.types import AttributeValue

from intent_events import columns, semconv
from intent_events.columns import Candidate, Kind
from intent_events.instrument.attributes import attributes_of, careful_attributes_of
from intent_events.instrument.quick import attributes_in_python, quick_attributes_of
from intent_events.privacy import TextRecord
from intent_events.semconv import MAX_SPAN_BYTES, MAX_STRING, Quality
from intent_events.trace import TRACE_FIELDS, IntentTrace
from unit.odd_values import ANY_TEXT, Colour, Endless, Hostile, HostileList, LyingList, Unbound
from unit.traces_of import CLEAN, KEPT, PLAIN, STRANGE, check_bounds, items_of, traces, weight


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


class Mislabelled(str, Enum):  # noqa: UP042 - a StrEnum cannot be like that
    """A label that is one text and says that it is another."""

    MATCHED = "matched"

    def __init__(self, _text: str) -> None:
        self._value_ = "other"


def listed(attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    """Attributes with their sequences as lists, for comparison."""
    if attributes is None:
        return None
    return {key: items_of(value) if isinstance(value, tuple) else value for key, value in attributes.items()}


@given(st.one_of(traces(PLAIN), traces(CLEAN), STRANGE))
@example(IntentTrace(outcome=Colour.MATCHED, verb_candidates_pre=[Candidate("a.b", 0.5)]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 0.5), Candidate("c.d", 0.5, "x")]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 1e308), Candidate("c.d", 1e308)]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 0.5), Candidate("c.d", 0.5, "x" * 300)]))
@example(IntentTrace(verb_candidates_pre=["abc", "def"]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 1), Candidate("c.d", 1 << 70)]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", float("inf"))]))
@example(IntentTrace(verb_candidates_pre=[Candidate("a.b", 0.5)] * 25, verb_candidates_post=[Candidate("é", 1.5, "x")]))
@example(IntentTrace(scope="a\x00b"))
@example(IntentTrace(scope="\x01"))
@example(IntentTrace(scope="", session_id="", dsl_hash=""))
@example(IntentTrace(actor_id="\ud800", chosen_verb_fqn="é"))
@example(IntentTrace(actor_id="é" * 257))
@example(IntentTrace(missing_args=["", "é"]))
@example(IntentTrace(verb_candidates_pre=[Candidate("", 0.5), Candidate("é", 0.5)]))
@example(IntentTrace(outcome=Mislabelled.MATCHED))
@example(IntentTrace(session_id="0190163D-8694-739B-AEA5-966C26F8AD91"))
@example(IntentTrace(missing_args=("a", "b"), macro_denied_verbs=["v" * 256] * 129))
def test_the_quick_way_is_the_careful_way(trace: IntentTrace) -> None:
    """A trace that is taken the quick way has the attributes that the careful way gives it, and no flags."""
    careful = listed(careful_attributes_of(trace))
    for quick in (quick_attributes_of(trace), attributes_in_python(trace)):
        assert quick is None or listed(quick) == careful


@given(traces(PLAIN))
def test_most_traces_are_taken_the_quick_way(trace: IntentTrace) -> None:
    """A trace of plain texts far within the bounds needs no care."""
    assume(weight(careful_attributes_of(trace)) < MAX_SPAN_BYTES // 2)
    assert quick_attributes_of(trace) is not None
    assert attributes_in_python(trace) is not None


@pytest.mark.parametrize("character", ["x", "é", "中", "\U0001f469"])
def test_the_bound_of_bytes(character: str) -> None:
    """The largest trace there can be is within 64 KiB, and its verbs are kept to the last."""
    long = character * MAX_STRING
    fields: dict[str, Any] = {}
    for name in TRACE_FIELDS:
        if name.startswith("verb_candidates"):
            fields[name] = None if name.endswith("_total") else [Candidate(long, 0.5, long)] * 25
        elif name in columns.UTTERANCE:
            kind = columns.UTTERANCE[name].kind
            fields[name] = [long] * 128 if kind is Kind.TEXTS else True if kind is Kind.BOOLEAN else long
    attributes = attributes_of(IntentTrace(**fields), KEPT)
    check_bounds(attributes)
    assert weight(attributes) + 500 <= MAX_SPAN_BYTES
    assert len(attributes[semconv.CANDIDATES_PRE + semconv.VERBS]) == 20
    assert len(attributes[semconv.CANDIDATES_POST + semconv.VERBS]) == 20
    assert Quality.VALUE_CUT in attributes[semconv.QUALITY]


@pytest.mark.parametrize("length", [200, 240, 250, 255, 256])
def test_the_bound_of_bytes_leaves_room(length: int) -> None:
    """Texts just within 64 KiB leave no room for keys and fingerprints, so something is left out."""
    lists: dict[str, Any] = {
        "semreg_denied_verbs": ["x" * MAX_STRING] * 128,
        "semreg_denied_reasons": ["x" * length] * 128,
    }
    attributes = attributes_of(IntentTrace(**lists), KEPT)
    check_bounds(attributes)
    assert weight(attributes) + 500 <= MAX_SPAN_BYTES
    assert len(attributes[semconv.SEMREG_DENIED_VERBS]) == 128


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


@pytest.mark.parametrize(("total", "counted"), [(7, 7), (-1, 0), ("x", None), (None, None)])
def test_a_total_without_a_list(total: Any, counted: int | None) -> None:
    """An orchestrator that counts but does not list says how many there were."""
    assert attributes_of(IntentTrace(verb_candidates_pre_total=total), None).get(PRE + ".total") == counted


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
