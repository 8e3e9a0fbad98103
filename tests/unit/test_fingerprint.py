# SPDX-License-Identifier: Apache-2.0
"""Equal utterances meet whatever their case and white space; others, other keys and other modes do not."""

import hashlib
import hmac
import re
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.privacy import (
    Fingerprinter,
    HashKey,
    KeyRing,
    Masker,
    Privacy,
    TextRecord,
    normalize,
    shipped_vocabulary,
)
from unit.odd_values import ANY_TEXT

KEY = HashKey("k1", b"0123456789abcdef")
RING = KeyRing([KEY])
PLAIN = Fingerprinter(None)
KEYED = Fingerprinter(KEY)
WORDS = st.lists(st.text(ascii_letters + "äöüßéñçжщ中文한", min_size=1, max_size=8), min_size=1, max_size=6)
SPACES = st.text(" \t\n\r\x0b\x0c\x85\xa0\u2003\u2028\u3000", min_size=1, max_size=4)


@given(WORDS, st.data())
def test_the_hash_is_stable_across_white_space_and_case(words: list[str], data: st.DataObject) -> None:
    """The same words give the same fingerprint, whatever stands between them and however they are written."""
    spaced = "".join(data.draw(SPACES) + word for word in words) + data.draw(SPACES)
    for fingerprinter in (PLAIN, KEYED):
        wanted = fingerprinter.fingerprint(normalize(" ".join(words)))
        for variant in (spaced, spaced.upper(), spaced.lower(), spaced.title()):
            assert fingerprinter.fingerprint(normalize(variant)) == wanted


@given(WORDS, WORDS)
def test_different_words_have_different_hashes(words: list[str], others: list[str]) -> None:
    """Texts that differ in more than case and white space do not meet."""
    one, other = normalize(" ".join(words)), normalize(" ".join(others))
    same = [word.casefold() for word in words] == [word.casefold() for word in others]
    assert (one == other) is same
    assert (PLAIN.fingerprint(one) == PLAIN.fingerprint(other)) is same


@given(ANY_TEXT)
def test_normalize_is_total_and_idempotent(text: str) -> None:
    """Any text has a normal form, which is its own, without white space around it or two in a row."""
    normal = normalize(text)
    assert normalize(normal) == normal
    assert normal == " ".join(normal.split())


@given(st.text(st.characters(exclude_categories=()), min_size=257, max_size=600), st.integers(0, 600), SPACES)
def test_long_texts_are_normalized_alike(text: str, at: int, space: str) -> None:
    """The way a long text is worked through does not show: it is the normal form of its words."""
    spaced = text[:at] + " " + text[at:]
    assert normalize(spaced) == " ".join(filter(None, (normalize(word) for word in spaced.split())))
    assert normalize(space.join(spaced.split(" "))) == normalize(spaced)


def test_wide_and_composed_forms_meet() -> None:
    """Full-width letters, ligatures and composed accents are the plain ones."""
    assert normalize("\uff21\uff53\uff53\uff49\uff47\uff4e ﬁne CAFE\u0301") == normalize("assign fine café")


@pytest.mark.parametrize(
    "text", ["a" + "\u0301\u0327" * 500_000, "\u0344" * 100_000, "é " * 50_000, "\ufdfa" * 100_000, "x" * 100_000]
)
def test_a_long_text_takes_no_longer_a_character(text: str) -> None:
    """A long text is done at once; a million marks that have to be put in order would take Python half an hour."""
    assert len(PLAIN.fingerprint(normalize(text))) == 64


@given(ANY_TEXT)
def test_a_fingerprint_is_the_digest_of_the_text(text: str) -> None:
    """Plain fingerprints are SHA-256 and keyed ones HMAC-SHA256, each time anew."""
    data = text.encode("utf-8", "surrogatepass")
    assert PLAIN.fingerprint(text) == hashlib.sha256(data).hexdigest()
    assert KEYED.fingerprint(text) == hmac.new(KEY.secret, data, "sha256").hexdigest()
    assert re.fullmatch("[0-9a-f]{64}", KEYED.fingerprint(text))


@given(ANY_TEXT, st.binary(min_size=16, max_size=40), st.binary(min_size=16, max_size=40))
def test_two_keys_differ(text: str, one: bytes, other: bytes) -> None:
    """Whoever has another key, or none, cannot compare."""
    prints = {Fingerprinter(HashKey("k", key)).fingerprint(text) for key in (one, other)}
    assert (len(prints) == 1) is (one == other)
    assert PLAIN.fingerprint(text) not in prints


def test_a_key_is_named_and_never_shown() -> None:
    """The name of the key is public, the key is not even in its repr."""
    assert (KEYED.key_id, PLAIN.key_id) == ("k1", None)
    assert "0123456789abcdef" not in f"{KEY!r} {KEY} {KEYED!r}"


PRIVACY = Privacy(RING, Masker(shipped_vocabulary()))


def test_template_hashes_of_utterances_that_differ_in_values_meet() -> None:
    """Two custodians are one template, and another task is another."""
    one = PRIVACY.record("assign Goldman Sachs as custodian")
    other = PRIVACY.record("assign State Street as custodian")
    third = PRIVACY.record("remove State Street as custodian")
    assert one.template_hash == other.template_hash != third.template_hash
    assert len({one.hash, other.hash, third.hash}) == 3
    assert one.preview == other.preview == "assign <name?> as custodian"


@given(ANY_TEXT)
def test_previews_off_leave_the_hashes(text: str) -> None:
    """Without previews nothing readable is kept, and the fingerprints are the same."""
    shown = PRIVACY.record(text)
    hidden = Privacy(RING, Masker(shipped_vocabulary()), previews=False).record(text)
    assert hidden == TextRecord(shown.hash, "k1", shown.template_hash, None)
    assert shown.preview is not None


def test_the_whole_text_is_fingerprinted() -> None:
    """Texts that differ far behind what is masked have different hashes and one template."""
    one, other = PRIVACY.record("a " * 50_000 + "yes"), PRIVACY.record("a " * 50_000 + "no")
    assert one.hash != other.hash
    assert one.template_hash == other.template_hash
