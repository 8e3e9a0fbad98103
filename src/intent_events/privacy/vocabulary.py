# SPDX-License-Identifier: Apache-2.0
"""Words that a preview may show, in any language: shipped, of one's own, and from the phrases of a registry."""

from collections.abc import Iterator
from enum import IntFlag
from functools import cache
from importlib.resources import files
from json import loads
from re import compile as pattern
from typing import Final, cast
from unicodedata import category
from unicodedata import normalize as unicode_form

LONGEST_WORD: Final = 40
"""Longest word that a vocabulary may hold, characters."""

AROUND: Final = (
    "\"'“”\u2018\u2019()[]{}<>«»*_`.,;:!?…-—\u2013/\\¿¡。、\uff0c\uff01\uff1f\uff1b\uff1a「」『』\uff08\uff09"
)
"""What may stand around a word."""

JOINTS: Final = pattern("[-/_.'\u2019]+")
"""What may join two words to one."""


class WordClass(IntFlag):
    """When a word of a vocabulary is hidden all the same."""

    ALWAYS_SHOWN = 0
    CONNECTOR = 1
    """Between two masked words."""

    NAME = 2
    """Beside a masked word that may be a name."""

    PLACE = 4
    """Beside any masked word."""

    NUMBER = 8
    """Beside another one, and beside digits."""


_SECTIONS: Final = {
    "[connectors]": WordClass.CONNECTOR,
    "[names]": WordClass.NAME,
    "[places]": WordClass.PLACE,
    "[numbers]": WordClass.NUMBER,
}


def plain_form(text: str) -> str:
    """Compatibility form: full-width letters are plain ones, and accents are part of their letter."""
    return text if text.isascii() else unicode_form("NFKC", text)


def words_of(entry: str) -> list[str]:
    """Words that an entry of a vocabulary lets through, in lower case: those of letters and marks only."""
    words = plain_form(entry).lower().split()
    parts = (part for word in words for part in (word.strip(AROUND), *JOINTS.split(word.strip(AROUND))))
    return [part for part in parts if part and len(part) <= LONGEST_WORD and _is_word(JOINTS.sub("", part))]


def capitals_of(entry: str) -> list[str]:
    """Words that an entry writes in capitals, such as ``KYC``: these may be shown so anywhere."""
    words = (word.strip(AROUND) for word in plain_form(entry).split())
    return [word for word in words if 1 < len(word) <= LONGEST_WORD and word.isalpha() and word.isupper()]


def _is_word(letters: str) -> bool:
    return letters[:1].isalpha() and all(letter.isalpha() or category(letter)[0] == "M" for letter in letters)


@cache
def shipped_vocabulary() -> frozenset[str]:
    """Function words and task words of English that every masker may show."""
    return frozenset(word for line in _lines(_shipped("vocabulary")) for word in line.split())


@cache
def word_classes() -> dict[str, WordClass]:
    """Words that are hidden in some company."""
    classes: dict[str, WordClass] = {}
    section = WordClass.ALWAYS_SHOWN
    for line in _lines(_shipped("word_classes")):
        if line in _SECTIONS:
            section = _SECTIONS[line]
            continue
        for word in line.split():
            classes[word] = classes.get(word, WordClass.ALWAYS_SHOWN) | section
    return classes


def vocabulary_in(text: str) -> frozenset[str]:
    """Words and phrases of a vocabulary: one a line; ``#`` begins a comment."""
    return frozenset(_lines(text))


def phrases_in(text: str) -> frozenset[str]:
    """What ``phrases`` and ``description`` of a registry say; it has one JSON object a line.

    Raises:
        ValueError: a line is no JSON.
        RecursionError: a line is nested beyond reading.
    """
    return frozenset(_phrases(text))


def _phrases(text: str) -> Iterator[str]:
    for line in text.split("\n"):  # the other line ends of Unicode may stand in a text of JSON
        entry: object = loads(line) if line.strip() else None
        if isinstance(entry, dict):
            known = cast("dict[str, object]", entry)
            phrases = known.get("phrases")
            given = cast("list[object]", phrases) if isinstance(phrases, list) else []
            yield from (each for each in (*given, known.get("description")) if isinstance(each, str))


def _shipped(name: str) -> str:
    return files("intent_events.privacy").joinpath(f"data/{name}.txt").read_text("utf-8")


def _lines(text: str) -> Iterator[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return (line for line in lines if line)
