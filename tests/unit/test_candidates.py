# SPDX-License-Identifier: Apache-2.0
"""CandidateItem lists: three forms of one meaning, and nothing that an emitter sends breaks them."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.mending import INT32_MAX
from intent_events.rows import CandidateItem
from intent_events.rows.candidates import candidates_of
from intent_events.semconv import CANDIDATES_POST, CANDIDATES_PRE, MAX_CANDIDATES, MAX_STRING, Quality
from unit.odd_values import HOSTILE, Hostile, Unbound
from unit.spans_of import CANDIDATE_ATTRIBUTES

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=20)
WHOLE = st.lists(st.builds(CandidateItem, TEXT, FINITE, TEXT), max_size=25)


def forms(prefix: str, candidates: list[CandidateItem]) -> list[dict[str, Any]]:
    """Attributes of the same list in each form that an emitter may send."""
    maps = [msgspec.structs.asdict(candidate) for candidate in candidates]
    parallel = {
        f"{prefix}.verbs": [candidate.verb for candidate in candidates],
        f"{prefix}.scores": [candidate.score for candidate in candidates],
        f"{prefix}.sources": [candidate.source for candidate in candidates],
    }
    return [parallel, {prefix: maps}, {prefix: tuple(maps)}, {prefix: json.dumps(maps)}]


@given(WHOLE)
def test_the_forms_mean_the_same(candidates: list[CandidateItem]) -> None:
    """Parallel arrays, an array of maps and a JSON string give the same columns, before and after policy."""
    quality: set[str] = set()
    for attributes in forms(CANDIDATES_PRE, candidates):
        expected = (candidates[:MAX_CANDIDATES], len(candidates), None, None)
        assert candidates_of(attributes, quality) == expected
    for attributes in forms(CANDIDATES_POST, candidates):
        assert candidates_of(attributes, quality) == (None, None, candidates[:MAX_CANDIDATES], len(candidates))
    assert quality <= {Quality.VALUE_CUT}


@given(CANDIDATE_ATTRIBUTES)
def test_candidates_of_is_total(attributes: dict[str, Any]) -> None:
    """Whatever the lists hold, the columns hold at most 20 candidates of the right types."""
    quality: set[str] = set()
    pre, pre_total, post, post_total = candidates_of(attributes, quality)
    for items, total in ((pre, pre_total), (post, post_total)):
        assert items is None or len(items) <= MAX_CANDIDATES
        assert total is None or (type(total) is int and 0 <= total <= INT32_MAX)
        for item in items or ():
            verb, score, source = msgspec.structs.astuple(item)
            assert type(verb) is str
            assert len(verb) <= MAX_STRING
            assert score is None or (type(score) is float and math.isfinite(score))
            assert source is None or type(source) is str
    assert quality <= set(Quality)


@given(st.lists(HOSTILE, max_size=3), HOSTILE)
def test_objects_in_lists_are_refused(items: list[Any], whole: Any) -> None:
    """Objects that raise when they are looked at do no harm in any form of a list."""
    for attributes in (
        {f"{CANDIDATES_PRE}.verbs": items, f"{CANDIDATES_PRE}.scores": items, f"{CANDIDATES_PRE}.total": whole},
        {f"{CANDIDATES_PRE}.verbs": whole, f"{CANDIDATES_PRE}.scores": whole},
        {CANDIDATES_PRE: items},
        {CANDIDATES_PRE: whole},
        {CANDIDATES_PRE: [{"verb": whole, "score": whole, "source": whole}]},
    ):
        candidates_of(attributes, set())


def test_a_proxy_that_is_bound_to_nothing_is_refused() -> None:
    """What raises when its class is asked is refused wherever it stands."""
    quality: set[str] = set()
    for attributes in (
        {f"{CANDIDATES_PRE}.verbs": ["a.b"], f"{CANDIDATES_PRE}.scores": Unbound()},
        {f"{CANDIDATES_PRE}.verbs": ["a.b"], f"{CANDIDATES_PRE}.scores": [Unbound()]},
        {f"{CANDIDATES_PRE}.verbs": Unbound()},
        {CANDIDATES_PRE: Unbound()},
        {CANDIDATES_PRE: [Unbound()]},
    ):
        pre = candidates_of(attributes, quality)[0]
        assert pre in (None, [CandidateItem("a.b")], [CandidateItem("?")])


@pytest.mark.parametrize("key", ["scores", "sources"])
@pytest.mark.parametrize("values", [[], [0.5], ["x", "y", "z"], "text", 7, {"a": 1}])
def test_lists_out_of_step_keep_the_verbs(key: str, values: object) -> None:
    """Scores or sources that are out of step would belong to other verbs, so they are left out and flagged."""
    quality: set[str] = set()
    attributes = {f"{CANDIDATES_PRE}.verbs": ["a.b", "c.d"], f"{CANDIDATES_PRE}.{key}": values}
    assert candidates_of(attributes, quality) == ([CandidateItem("a.b"), CandidateItem("c.d")], 2, None, None)
    assert quality == {Quality.CANDIDATES_MISMATCH}


@pytest.mark.parametrize("total", [None, 0, 1, -5, "2", 2.5])
def test_a_total_is_never_less_than_the_list(total: object) -> None:
    """How many there were is at least how many came."""
    attributes = {f"{CANDIDATES_PRE}.verbs": ["a.b", "c.d"], f"{CANDIDATES_PRE}.total": total}
    assert candidates_of(attributes, set())[1] == 2


def test_a_total_counts_what_was_cut() -> None:
    """The emitter's total stands when it is more; a list that is too long counts itself."""
    attributes = {
        f"{CANDIDATES_PRE}.verbs": ["a.b"] * 25,
        f"{CANDIDATES_POST}.verbs": [],
        f"{CANDIDATES_POST}.total": 7,
    }
    quality: set[str] = set()
    assert candidates_of(attributes, quality) == ([CandidateItem("a.b")] * 20, 25, [], 7)
    assert quality == {Quality.VALUE_CUT}


def test_a_total_alone_is_kept() -> None:
    """An emitter that counts but does not list says how many there were."""
    assert candidates_of({f"{CANDIDATES_PRE}.total": 1 << 40}, set()) == (None, INT32_MAX, None, None)
    assert candidates_of({f"{CANDIDATES_POST}.total": -1}, set()) == (None, None, None, 0)


def test_none_is_not_empty() -> None:
    """No list is None; an empty list says that nothing was found, or that policy left nothing."""
    assert candidates_of({}, set()) == (None, None, None, None)
    assert candidates_of({f"{CANDIDATES_POST}.verbs": ()}, set()) == (None, None, [], 0)
    assert candidates_of({CANDIDATES_POST: "[]"}, set()) == (None, None, [], 0)


@pytest.mark.parametrize("verbs", [7, b"a.b", {1.5}.__iter__(), Hostile()], ids=["int", "bytes", "iterator", "hostile"])
def test_verbs_that_are_no_list_are_none(verbs: object) -> None:
    """A list that cannot be read was not an empty one."""
    quality: set[str] = set()
    assert candidates_of({f"{CANDIDATES_PRE}.verbs": verbs}, quality)[0] is None
    assert Quality.VALUE_REFUSED in quality


@pytest.mark.parametrize("text", ["", "nonsense", '[{"verb": "a.b"', "7", "null", '"a.b"', "[" * 100_000, "9" * 5000])
def test_a_json_string_that_cannot_be_read_is_refused(text: str) -> None:
    """A string that a length limit cut, or that is no list, is no list."""
    quality: set[str] = set()
    assert candidates_of({CANDIDATES_PRE: text}, quality)[0] is None
    assert quality <= {Quality.VALUE_REFUSED}
    assert bool(quality) is (text != "null")


@pytest.mark.parametrize(
    ("items", "candidates", "flags"),
    [
        (["a.b", 7], [CandidateItem("a.b"), CandidateItem("7")], {Quality.VALUE_MENDED}),
        ([{"verb": "a.b"}], [CandidateItem("a.b")], set[str]()),
        ([{"verb": "a.b", "score": "high"}], [CandidateItem("a.b")], {Quality.VALUE_REFUSED}),
        ([{"verb": "a.b", "score": math.nan}], [CandidateItem("a.b")], {Quality.VALUE_REFUSED}),
        ([{"verb": "a.b", "score": 1}], [CandidateItem("a.b", 1.0)], set[str]()),
        ([{"score": 0.5}], [CandidateItem("?", 0.5)], {Quality.CANDIDATES_MISMATCH}),
        ([None, ["a.b"]], [CandidateItem("?"), CandidateItem("?")], {Quality.CANDIDATES_MISMATCH}),
        ([np.str_("a.b")], [CandidateItem("a.b")], set[str]()),
        ([CandidateItem("a.b", 0.5, "x")], [CandidateItem("a.b", 0.5, "x")], set[str]()),
    ],
)
def test_items_of_a_list(items: list[Any], candidates: list[CandidateItem], flags: set[str]) -> None:
    """Plain verbs and incomplete maps are read for what they say; what is missing is flagged."""
    quality: set[str] = set()
    assert candidates_of({CANDIDATES_PRE: items}, quality)[0] == candidates
    assert quality == flags


def test_a_score_that_is_none_is_flagged() -> None:
    """NaN in a list of scores leaves its verb without a score, and says so."""
    quality: set[str] = set()
    attributes = {f"{CANDIDATES_PRE}.verbs": ["a.b", "c.d"], f"{CANDIDATES_PRE}.scores": [math.nan, 0.5]}
    assert candidates_of(attributes, quality)[0] == [CandidateItem("a.b"), CandidateItem("c.d", 0.5)]
    assert quality == {Quality.VALUE_REFUSED}
