# SPDX-License-Identifier: Apache-2.0
"""Canaries are found in whatever form they were written down, and nothing else is taken for one."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from json import dumps
from typing import Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from intent_events.errors import SettingsError
from intent_events.privacy.canaries import MAX_CANARIES, Canaries, canaries_in, canary_of
from intent_events.privacy.fingerprint import normalize

VALUES: Final = st.text(min_size=8, max_size=40).filter(lambda text: len(normalize(text)) >= 8 and text.strip() == text)
AROUND: Final = st.text(max_size=10)

FORMS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": lambda text: text,
    "capitals": str.upper,
    "percent-encoded": lambda text: quote(text, safe=""),
    "form-encoded": quote_plus,
    "hexadecimal": lambda text: text.encode().hex(),
    "JSON": dumps,
    "Base64": lambda text: b64encode(text.encode()).decode(),
    "Base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(form: str) -> None:
    """A canary is found in each form, within other text, and by its name alone."""
    for value in ("Zebedee Quux", "Zoë Ünlü-Çelik", "zebedee.quux+1@example.org", 'a "quoted" value\\'):
        canaries = Canaries([canary_of("canary 1", value), canary_of("canary 2", "somebody else")])
        assert canaries.in_text(f"heard: {FORMS[form](value)};") == ("canary 1",)


@given(VALUES, AROUND, AROUND)
@example("ab cd ef gh", "ab", "")
def test_a_value_is_found_wherever_it_stands(value: str, before: str, after: str) -> None:
    """Whatever text stands before and after a canary, it is found; in bytes of any kind as well."""
    assume(not any("\ud800" <= letter <= "\udfff" for letter in value + before + after))
    canaries = Canaries([canary_of("it", value)])
    text = f"{before} {value} {after}"
    assert canaries.in_text(text) == ("it",)
    assert canaries.in_bytes(b"\xff\x00" + text.encode() + b"\xd9") == ("it",)


@given(st.binary(min_size=12, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_wherever_it_begins(value: bytes, before: bytes, after: bytes) -> None:
    """Base64 of a longer text holds other characters for a value, depending on where it begins: all are known."""
    text = value.hex()
    assert Canaries([canary_of("it", text)]).in_text(b64encode(before + text.encode() + after).decode()) == ("it",)


def test_pieces_give_a_value_away() -> None:
    """A part of a value that counts as giving it away is found by itself."""
    canaries = Canaries([canary_of("it", "4111 1111 1111 1111", ["41111111"])])
    assert canaries.in_text("…41111111…") == ("it",)
    assert canaries.in_text("4111 1111") == ()


def test_what_is_too_short_cannot_be_looked_for() -> None:
    """A value or a piece that would be found everywhere is refused."""
    for value, pieces in (("ab ", []), ("long enough", ["abc"])):
        with pytest.raises(ValueError, match="needs 4 characters"):
            canary_of("it", value, pieces)


def test_many_are_told_apart() -> None:
    """Of many canaries with the same beginning those that are there are found, in their order, each once."""
    canaries = Canaries(canary_of(str(number), f"canary number {number:04d}") for number in range(MAX_CANARIES))
    assert canaries.in_text("canary number 0512 canary number 0007 CANARY NUMBER 0512") == ("7", "512")


def test_nothing_to_look_for() -> None:
    """Without canaries nothing is found, not even in bytes."""
    assert (Canaries().in_text("anything"), Canaries().in_bytes(b"anything"), len(Canaries())) == ((), (), 0)


def test_a_list_names_canaries_by_their_lines() -> None:
    """A finding names the line of the list, so that whoever made it knows which canary it was."""
    canaries = canaries_in("\nZebedee Quux\n\n  somebody@example.org \n", source="the list")
    assert len(canaries) == 2
    assert canaries.in_text("mail SOMEBODY@example.org") == ("canary 4",)
    assert canaries.longest >= len("somebody@example.org")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\n \n", "holds no canaries"),
        ("good one\nabc", "line 2: a canary needs 4 characters"),
        ("\u3000\u3000a\u3000\u3000\u3000b", "line 1"),
        ("canary\n" * (MAX_CANARIES + 1), f"holds {MAX_CANARIES + 1} canaries"),
    ],
)
def test_a_list_that_cannot_be_used(text: str, why: str) -> None:
    """A list that is empty, too long, or has canaries that are found everywhere is refused, without telling them."""
    with pytest.raises(SettingsError, match=why) as refused:
        canaries_in(text, source="the list")
    assert "good one" not in str(refused.value)
    assert "abc" not in str(refused.value)
