# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.demo.arguments import Filled, fill, fill_from_answer
from intent_events.demo.context import Context
from intent_events.demo.registry import load_registry
from intent_events.demo.values import Kind, find_values, without_values

REGISTRY = load_registry()
CASE = UUID(int=7)


def context(**fields: Any) -> Context:
    return Context(session_id=UUID(int=1), actor_id="tester", **fields)


def found(text: str) -> list[tuple[Kind, str]]:
    return [(value.kind, value.text) for value in find_values(text, REGISTRY.vocabulary)]


def filled(verb: str, text: str, **fields: Any) -> Filled:
    return fill(REGISTRY.verbs[verb], text, find_values(text, REGISTRY.vocabulary), context(**fields))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Assign Moonbase Custody Bank as custodian", [(Kind.NAME, "Moonbase Custody Bank")]),
        ("open a KYC case for Ship & Anchor Sarl.", [(Kind.NAME, "Ship & Anchor Sarl")]),
        ('rename it to "the small one"', [(Kind.QUOTED, "the small one")]),
        ("add a share class called Institutional", [(Kind.NAME, "Institutional")]),
        ("Please open the case", []),
        ("its ISIN is LU0000000018", [(Kind.ISIN, "LU0000000018")]),
        ("LEI 391200FICTION0000077", [(Kind.LEI, "391200FICTION0000077")]),
        ("change SSI-4410 by 14 March 2031", [(Kind.REFERENCE, "SSI-4410"), (Kind.DATE, "14 March 2031")]),
        ("due by the end of the quarter", [(Kind.DATE, "the end of the quarter")]),
        ("set the fee to 0.85 % or 40 bps", [(Kind.PERCENT, "0.85 %"), (Kind.PERCENT, "40 bps")]),
        ("limit it to EUR 2.5 million in Japan", [(Kind.AMOUNT, "EUR 2.5 million"), (Kind.COUNTRY, "Japan")]),
        ("an account in CHF", [(Kind.CURRENCY, "CHF")]),
        ("note on the case: they will call back", [(Kind.TEXT, "they will call back")]),
    ],
)
def test_values_are_found_by_their_shape(text: str, values: list[tuple[Kind, str]]) -> None:
    """Each kind of value is found as it is written, and words of the trade are no names."""
    assert found(text) == values


@given(st.text(max_size=300))
def test_any_text_can_be_searched(text: str) -> None:
    """In any text the values lie in order, do not overlap, and blanking them keeps every other character in place."""
    values = find_values(text, REGISTRY.vocabulary)
    assert all(one.end <= other.start for one, other in pairwise(values))
    blanked = without_values(text, values)
    assert len(blanked) == len(text)
    inside = {at for value in values for at in range(value.start, value.end)}
    assert all(blanked[at] == (" " if at in inside else text[at]) for at in range(len(text)))


def test_cues_tell_two_values_apart() -> None:
    """Of two names the word before decides which argument each one is."""
    assert filled("entity.link-parent", "link Paper Whale Ltd to Cloud Pier Holding").args == {
        "entity": "Paper Whale Ltd",
        "parent": "Cloud Pier Holding",
    }
    assert filled("cbu.rename", "the new name is to Day Train for the client Night Train").args["name"] == "Day Train"


def test_choices_are_read_from_their_values() -> None:
    """A choice is filled by one of its own values, whether it is written with hyphens or without."""
    assert filled("document.request", "we need the articles of association").args == {
        "document": "articles-of-association"
    }
    assert filled("kyc.set-risk-rating", "rate them as quite dubious").missing == ("rating",)


def test_the_subject_fills_what_is_not_said() -> None:
    """The subject of the conversation fills an argument of its kind, and a name in the text wins over it."""
    about: dict[str, Any] = {"subject_ref_type": "entity", "subject_ref_id": CASE}
    assert filled("screening.run", "screen them", **about).args == {"entity": str(CASE)}
    assert filled("screening.run", "screen Paper Whale Ltd", **about).args == {"entity": "Paper Whale Ltd"}
    assert filled("screening.run", "screen them", subject_ref_type="case", subject_ref_id=CASE).missing == ("entity",)


def test_what_is_missing_is_named_and_never_guessed() -> None:
    """Required arguments that nothing was said about are missing, by name, in the order of the verb."""
    assert filled("ubo.add-owner", "add a beneficial owner") == Filled({}, ("owner", "percent"))
    assert filled("ubo.add-owner", "add an owner with 25%").missing == ("owner",)


def test_an_answer_completes_what_was_known() -> None:
    """An answer fills what was asked and keeps what earlier turns filled; a dictated text is taken whole."""
    owner = REGISTRY.verbs["ubo.add-owner"]
    values = find_values("Alex Sample", REGISTRY.vocabulary)
    answer = fill_from_answer(owner, ("owner",), "Alex Sample", values, context(), {"percent": "25%"})
    assert answer == Filled({"owner": "Alex Sample", "percent": "25%"}, ())
    note = REGISTRY.verbs["case.add-note"]
    said = "they call back, no hurry"
    assert fill_from_answer(note, ("note",), said, (), context(), {}).args == {"note": said}
    assert fill_from_answer(owner, ("owner",), "no idea", (), context(), {}).missing == ("owner", "percent")
