# SPDX-License-Identifier: Apache-2.0
"""Texts of vocabularies and registries, whichever way they came."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.privacy.vocabulary import phrases_in, vocabulary_in
from unit.odd_values import ANY_TEXT

ENTRIES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="#"), min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
)


@given(st.lists(ENTRIES), ANY_TEXT.map(lambda text: " ".join(text.splitlines())))
def test_an_entry_a_line(entries: list[str], remark: str) -> None:
    """Every line is an entry; blank ones and comments are none."""
    lines = [f"\t{entry} # {remark}" for entry in entries]
    assert vocabulary_in("\n".join(["", f"#{remark}", *lines, "  "])) == set(entries)


@given(ANY_TEXT)
def test_any_text_is_a_vocabulary(text: str) -> None:
    """No text raises, and no entry is blank, a comment, or more than a line."""
    for entry in vocabulary_in(text):
        assert entry.strip() == entry != ""
        assert "#" not in entry
        assert len(entry.splitlines()) == 1


@given(st.lists(ANY_TEXT, max_size=3), ANY_TEXT, st.dictionaries(ANY_TEXT, JSON, max_size=3), JSON)
def test_a_registry(phrases: list[str], description: str, more: dict[str, object], odd: object) -> None:
    """Texts of ``phrases`` and ``description`` are taken as they are, of objects alone; whatever else stands there."""
    verb = {**more, "phrases": [*phrases, 7, None], "description": description}
    strange: dict[str, object] = {"phrases": {"phrases": ["not said"]}, "description": 7}
    lines = [json.dumps(each, ensure_ascii=False) for each in (verb, [odd], strange)]
    assert phrases_in("\r\n\n".join(lines)) == {*phrases, description}


@pytest.mark.parametrize(("text", "error"), [("{", ValueError), ("[" * 100_000, RecursionError)])
def test_what_is_no_registry(text: str, error: type[Exception]) -> None:
    """It raises, whoever reads the file says which one it is."""
    with pytest.raises(error):
        phrases_in(text)
