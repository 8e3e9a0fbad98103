# SPDX-License-Identifier: Apache-2.0
"""Values inside an utterance: names, dates, amounts, identifiers. By shape alone, so the same text gives the same."""

from enum import Enum, auto
from re import DOTALL, IGNORECASE, Pattern
from re import compile as pattern
from typing import Final, NamedTuple


class Kind(Enum):
    """What a value looks like."""

    TEXT = auto()
    QUOTED = auto()
    ISIN = auto()
    LEI = auto()
    REFERENCE = auto()
    DATE = auto()
    PERCENT = auto()
    AMOUNT = auto()
    CURRENCY = auto()
    COUNTRY = auto()
    NAME = auto()


class Value(NamedTuple):
    """A value that was found.

    Attributes:
        kind: what it looks like.
        text: the value itself, without its quotes.
        start: where it begins in the utterance.
        end: where it ends.
        cue: the lower-case word before it, or an empty text.
    """

    kind: Kind
    text: str
    start: int
    end: int
    cue: str


MAX_CHARACTERS: Final = 2_000
"""How much of an utterance is searched for values."""

_LONGEST_CUE: Final = 32
_MONTHS: Final = "january|february|march|april|may|june|july|august|september|october|november|december"
_CURRENCIES: Final = "EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|SGD|HKD|AUD|CAD"
_NUMBER: Final = r"\d[\d.,]*(?:\s?(?:thousand|million|billion|[kmKM]|bn)\b)?"
_COUNTRIES: Final = (
    "Luxembourg|Ireland|Germany|France|Switzerland|Austria|Netherlands|Belgium|Italy|Spain|Portugal|Sweden|Norway|"
    "Denmark|Finland|United Kingdom|United States|Jersey|Guernsey|Malta|Cyprus|Singapore|Hong Kong|Japan|Canada|"
    "Australia|Liechtenstein|Cayman Islands|Mauritius"
)

# In this order: what an earlier shape took, a later one cannot take again.
_SHAPES: Final[tuple[tuple[Kind, Pattern[str]], ...]] = (
    # What follows a colon was dictated: a note, a reason, an address.
    (Kind.TEXT, pattern(r"(?<=\w): +(\S.*)$", DOTALL)),
    (Kind.QUOTED, pattern(r"\"([^\"]+)\"|“([^”]+)”")),
    (Kind.LEI, pattern(r"\b[A-Z0-9]{18}\d{2}\b")),
    (Kind.ISIN, pattern(r"\b[A-Z]{2}[A-Z0-9]{9}\d\b")),
    (Kind.REFERENCE, pattern(r"\b[A-Z]{2,4}-\d{2,8}\b")),
    (
        Kind.DATE,
        pattern(
            rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTHS})(?: \d{{4}})?"
            rf"|(?:{_MONTHS}) \d{{1,2}}(?:, \d{{4}})?|today|tomorrow"
            r"|next (?:week|month|quarter|year|monday|tuesday|wednesday|thursday|friday)"
            r"|(?:the )?end of (?:the |this |next )?(?:week|month|quarter|year))\b",
            IGNORECASE,
        ),
    ),
    (Kind.PERCENT, pattern(r"\b\d+(?:\.\d+)?\s?(?:%|percent\b|per cent\b|bps\b|basis points\b)", IGNORECASE)),
    (Kind.AMOUNT, pattern(rf"\b(?:{_CURRENCIES}) ?{_NUMBER}|\b{_NUMBER} ?(?:{_CURRENCIES})\b")),
    (Kind.CURRENCY, pattern(rf"\b(?:{_CURRENCIES})\b")),
    (Kind.COUNTRY, pattern(rf"\b(?:{_COUNTRIES})\b")),
    (Kind.NAME, pattern(r"\b[A-Z](?:[\w'&.-]*\w)?(?:(?: (?:of|&|de))? [A-Z0-9](?:[\w'&.-]*\w)?)*")),
)
_WORD_BEFORE: Final = pattern(r"([\w-]+)\W*$")

# After these even a word of the trade is a name: "a class called Institutional".
_ANNOUNCES_NAME: Final = frozenset({"called", "named", "class"})

# Capitalised in English or in the trade, but never the name of anybody.
_NO_NAME_WORDS: Final = (
    "i i'm i'd i've i'll please can could would will what what's which who where when how why is are do does "
    "did has have we let's thanks hi hello ok okay yes no now then and so also actually the a an this that "
    "these those there it its my our your their his her if for from on in at to of by with as into under "
    "against after before not monday tuesday wednesday thursday friday saturday sunday dsl id"
)
_NO_NAMES: Final = frozenset(_NO_NAME_WORDS.split())


def find_values(utterance: str, vocabulary: frozenset[str]) -> tuple[Value, ...]:
    """Values of an utterance in the order of the text, none overlapping another.

    Args:
        utterance: what was said.
        vocabulary: lower-case words that are no names even when they are capitalised.
    """
    found: list[Value] = []
    left = utterance[:MAX_CHARACTERS]
    for kind, shape in _SHAPES:
        for match in shape.finditer(left):
            start, end = match.span()
            cue = _cue(utterance, start)
            if kind is Kind.NAME and cue not in _ANNOUNCES_NAME:
                start = _skip_words(left, start, end, vocabulary)
                cue = _cue(utterance, start)
            if start < end:
                text = next((group for group in match.groups() if group), left[start:end])
                found.append(Value(kind, text, start, end, cue))
        left = _blank(left, found)
    return tuple(sorted(found, key=lambda value: value.start))


def without_values(utterance: str, values: tuple[Value, ...]) -> str:
    """What was said, less what it was said about: the part that tells verbs apart."""
    return _blank(utterance, values)


def _cue(utterance: str, start: int) -> str:
    before = _WORD_BEFORE.search(utterance[max(0, start - _LONGEST_CUE) : start])
    return before.group(1).lower() if before else ""


def _blank(text: str, values: tuple[Value, ...] | list[Value]) -> str:
    for value in values:
        text = text[: value.start] + " " * (value.end - value.start) + text[value.end :]
    return text


def _skip_words(text: str, start: int, end: int, vocabulary: frozenset[str]) -> int:
    """Where the name begins: not at what opens a sentence, an acronym of the trade or a lone known word."""
    while start < end:
        stop = text.find(" ", start, end)
        stop = end if stop < 0 else stop
        word = text[start:stop]
        if word.lower() not in _NO_NAMES:
            known = not vocabulary.isdisjoint({word.lower(), word.lower().removesuffix("'s")})
            opening = text[:start].rstrip()[-1:] in {"", ".", "!", "?"}
            if not known or not (opening or word.isupper() or stop == end):
                return start
        start = min(stop + 1, end)
    return end
