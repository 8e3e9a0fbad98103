# SPDX-License-Identifier: Apache-2.0
"""Words that a preview may show, in any language: shipped, from files, and from the phrases of a registry."""

from collections.abc import Iterable, Iterator
from enum import IntFlag
from functools import cache
from importlib.resources import files
from json import loads
from pathlib import Path
from re import compile as pattern
from typing import Final, cast
from unicodedata import category
from unicodedata import normalize as unicode_form

from intent_events.errors import SettingsError

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


def load_vocabulary(path: Path) -> frozenset[str]:
    """Words of a vocabulary file, or of a registry.

    A vocabulary is UTF-8, one word or phrase a line; ``#`` begins a comment. A registry (``.jsonl``) has one JSON
    object a line, of which ``phrases`` and ``description`` are taken.

    Args:
        path: the file.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        text = path.read_text("utf-8")
        return frozenset(_phrases(text) if path.suffix == ".jsonl" else _lines(text))
    except (OSError, ValueError, RecursionError) as error:  # not there, not readable, not UTF-8, no JSON, or too deep
        raise SettingsError(
            f"the vocabulary file {path} cannot be read ({type(error).__name__}): give a readable UTF-8 file, "
            "one word or phrase a line, or a registry in JSON lines (.jsonl)"
        ) from error


def _phrases(text: str) -> Iterator[str]:
    for line in text.splitlines():
        entry: object = loads(line) if line.strip() else None
        if isinstance(entry, dict):
            known = cast("dict[str, object]", entry)
            phrases = known.get("phrases")
            given = cast("list[object]", phrases) if isinstance(phrases, list) else []
            yield from (each for each in (*given, known.get("description")) if isinstance(each, str))


def load_vocabularies(paths: Iterable[Path]) -> frozenset[str]:
    """Words of several files.

    Raises:
        SettingsError: a file cannot be read.
    """
    return frozenset[str]().union(*map(load_vocabulary, paths))


def _shipped(name: str) -> str:
    return files("intent_events.privacy").joinpath(f"data/{name}.txt").read_text("utf-8")


def _lines(text: str) -> Iterator[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return (line for line in lines if line)
