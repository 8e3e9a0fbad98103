# SPDX-License-Identifier: Apache-2.0
"""Values that have a form or check digits are found however they are written; others are not claimed to be found."""

import sys
from collections import Counter
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.errors import SettingsError
from intent_events.instrument.current import make_privacy
from intent_events.privacy.detecting import DetectingMasker, presidio_detector
from intent_events.privacy.patterns import Found, Patterns, PersonalKind, cleaned, kinds_in
from intent_events.settings import RecordSettings
from unit.odd_values import ANY_TEXT

PATTERNS = Patterns()
VALUES = {
    "zebedee.quux@mail.example": PersonalKind.EMAIL,
    "550e8400-e29b-41d4-a716-446655440000": PersonalKind.UUID,
    "DE89 3704 0044 0532 0130 00": PersonalKind.IBAN,
    "GB29NWBK60161331926819": PersonalKind.IBAN,
    "gb29 nwbk 6016 1331 9268 19": PersonalKind.IBAN,
    "5493001KJTIIGC8Y1R12": PersonalKind.LEI,
    "US0378331005": PersonalKind.ISIN,
    "4111-1111-1111-1111": PersonalKind.CARD,
    "10.20.30.40": PersonalKind.IP,
    "2001:db8::1": PersonalKind.IP,
    "+44 20 7946 0958": PersonalKind.PHONE,
    "(212) 555-2368": PersonalKind.PHONE,
    "12345678Z": PersonalKind.NATIONAL_ID,
    "131052-308T": PersonalKind.NATIONAL_ID,
}


def _wide(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


def _arabic(text: str) -> str:
    return "".join(chr(0x660 + int(each)) if each.isdigit() else each for each in text)


TRICKS: dict[str, Callable[[str], str]] = {
    "full-width": _wide,
    "zero-width": "\u200b".join,
    "bidi": "\u202e{}\u202c".format,
    "soft hyphens": "\u00ad".join,
    "marks": "\u0336".join,
    "Arabic digits": _arabic,
    "look-alikes": methodcaller("translate", str.maketrans("ABE", "\u0410\u0412\u0415")),
}


@pytest.mark.parametrize("value", VALUES)
def test_each_kind_is_found_within_a_sentence(value: str) -> None:
    """A value is found where it stands, whole, and nothing else is."""
    text = f"please look at {value}, today"
    (found,) = PATTERNS.find(text)
    assert (text[found.start : found.end], found.kind) == (value, VALUES[value])
    assert kinds_in(text) == Counter([VALUES[value]])


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("value", VALUES)
def test_no_trick_of_unicode_hides_a_value(value: str, trick: str) -> None:
    """A value that is written in odd letters, or with what is not seen among them, is found all the same."""
    assert kinds_in(f"please look at {TRICKS[trick](value)} today").total() >= 1


@pytest.mark.parametrize(
    "text", ["", "assign a custodian", "at 10:30 on 2024-05-01", "1,000,000 EUR", "a @ b", "@", "cafe: babe::", "x.y"]
)
def test_what_is_no_value_is_not_found(text: str) -> None:
    """Words, times, dates and amounts are none of these kinds."""
    assert not kinds_in(text)


def test_several_values_of_one_text() -> None:
    """Each is counted, and none within another."""
    text = "mail a@b.example and c@d.example from 10.0.0.1:80 with 4111111111111111 or 4111111111111111"
    assert kinds_in(text) == {PersonalKind.EMAIL: 2, PersonalKind.IP: 1, PersonalKind.CARD: 2}


@given(ANY_TEXT)
def test_finding_is_total(text: str) -> None:
    """Any text can be looked through; what is found lies in it, in order and apart."""
    clean = cleaned(text)
    found = PATTERNS.find(clean)
    ends = [0, *(each.end for each in found)]
    assert all(before <= each.start < each.end <= len(clean) for before, each in zip(ends, found, strict=False))


@given(st.text(st.characters(categories=("Nd", "Cf", "Mn", "Zs"))))
def test_a_cleaned_text_has_ascii_digits_and_nothing_unseen(text: str) -> None:
    """Digits of every script are ASCII; zero-width characters and marks over ASCII are gone."""
    clean = cleaned(text)
    assert cleaned(clean) == clean
    assert all(not each.isdecimal() or each.isascii() for each in clean)
    assert not {"\u200b", "\u202e", "\u2066", "\ufeff"} & set(clean)


def test_a_preview_by_detection_is_cut_between_words() -> None:
    """What is not found is shown, in at most 80 characters; a first word that is too long is left out whole."""
    masker = DetectingMasker()
    assert masker.mask("Mail a@b.example,  Zebedee").preview == "Mail <email>, Zebedee"
    assert masker.mask("Mail a@b.example,  Zebedee").template == "mail <email>, zebedee"
    assert masker.mask("x" * 100).preview == "…"
    assert masker.mask("word " * 30).preview == "word " * 15 + "…"


def test_several_detectors() -> None:
    """What any of them finds is hidden, once, by the kind of whichever begins first."""
    text = "ask Zebedee Quux"
    masker = DetectingMasker(lambda _: [Found(4, 16, "person")], lambda _: [Found(12, 16, "city"), Found(0, 3, "verb")])
    assert masker.mask(text).preview == "<verb> <person>"


def test_presidio_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(SettingsError, match=r"pip install 'intent-events\[presidio\]'"):
        presidio_detector()


def presidio_module(create: Callable[[], object]) -> ModuleType:
    """A module that looks like Presidio's, which is too large to be part of every set-up."""
    module = ModuleType("presidio_analyzer")

    def provider(**_: object) -> SimpleNamespace:
        return SimpleNamespace(create_engine=create)

    vars(module)["AnalyzerEngineProvider"] = provider
    return module


def test_what_presidio_finds_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entities become kinds in small letters."""

    def analyze(text: str, language: str) -> list[SimpleNamespace]:
        assert language == "en"
        return [SimpleNamespace(start=text.index("Zebedee"), end=len(text), entity_type="PERSON")]

    monkeypatch.setitem(sys.modules, "presidio_analyzer", presidio_module(lambda: SimpleNamespace(analyze=analyze)))
    privacy = make_privacy(RecordSettings.from_environment({"INTENT_EVENTS_PREVIEW": "presidio"}))
    assert privacy.record("mail a@b.example to Zebedee").preview == "mail <email> to <person>"


def test_a_model_that_presidio_cannot_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where spaCy ends the process, when it cannot download a model, the error names the setting instead."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", presidio_module(lambda: sys.exit("no network")))
    with pytest.raises(SettingsError, match=r"\(SystemExit\).*INTENT_EVENTS_PRESIDIO"):
        presidio_detector(Path("none.yaml"))


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(SettingsError, match=r"needs phonenumbers: pip install 'intent-events\[patterns\]'"):
        Patterns()
