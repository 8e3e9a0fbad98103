# SPDX-License-Identifier: Apache-2.0
"""Previews by allow-list: a word is shown when the vocabulary has it; everything else becomes its kind.

Masking by detection misses what it does not know, so nothing is detected in order to be hidden: words are known in
order to be shown. A cut falls between words only. No grapheme spans the border before a space, so no grapheme is
ever broken and no Unicode tables are needed.
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from re import compile as pattern
from typing import Final, NamedTuple
from unicodedata import category

from intent_events.errors import SettingsError

PREVIEW_CHARACTERS: Final = 80
"""Longest preview, characters."""

MASKED_CHARACTERS: Final = 4096
"""How much of a text is masked for its preview and template; its fingerprint covers all of it."""

EMAIL: Final = "<email>"
NUMBER: Final = "<number>"
DATE: Final = "<date>"
ID: Final = "<id>"
NAME: Final = "<name?>"

_ACRONYM: Final = 5
_ELLIPSIS: Final = "…"
_TRAILING: Final = ".,;:!?"
_AROUND: Final = "\"'“”\u2018\u2019()[]{}<>«»*_`.,;:!?…-—\u2013/\\"
_DATE_SHAPE: Final = pattern(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}|\d{1,2}:\d{2}(?::\d{2})?(?:am|pm)?")
_NUMBER_SHAPE: Final = pattern(r"[+\-($€£¥#]*\d[\d.,'()\-/+]*(?:%|st|nd|rd|th|k|m|bn|eur|usd|gbp|chf)?\)?")
_JOINTS: Final = pattern("[-/_.'\u2019]+")


class Masked(NamedTuple):
    """A masked text.

    Attributes:
        template: every word of it, shown or as its kind, in the form that is compared.
        preview: the same as it is shown, of at most 80 characters.
    """

    template: str
    preview: str


class Masker:
    """Shows the words of a vocabulary and masks everything else by kind."""

    __slots__ = ("_vocabulary",)

    def __init__(self, vocabulary: Iterable[str]) -> None:
        """Show these words.

        Args:
            vocabulary: words or phrases, in any case and language; a phrase stands for its words. A word with a digit
                or an ``@`` is left out: such words never pass.
        """
        self._vocabulary = frozenset(word for entry in vocabulary for word in words_of(entry))

    def mask(self, text: str) -> Masked:
        """Mask a text; linear in its length, total on any string."""
        shown: list[str] = []
        template: list[str] = []
        first = True
        vocabulary = self._vocabulary
        for token in text[:MASKED_CHARACTERS].split():
            if token in vocabulary:
                shown.append(token)
                template.append(token)
                first = False
                continue
            word = self._shown(token, first=first)
            first = token[-1] in ".!?"
            if word is None:
                kind = _kind(token)
                if template and template[-1] == kind:
                    continue
                shown.append(kind)
                template.append(kind)
            else:
                shown.append(word)
                template.append(word.rstrip(_TRAILING).lower())
        return Masked(" ".join(template), _cut(shown))

    def _shown(self, token: str, *, first: bool) -> str | None:
        vocabulary = self._vocabulary
        core = token.strip(_AROUND)
        lower = core.lower()
        if lower not in vocabulary and not (core and all(part in vocabulary for part in _JOINTS.split(lower))):
            return None
        if not first and core[0].isupper() and not (core.isupper() and len(core) <= _ACRONYM):
            return None  # "State Street" is made of common words: capitals within a sentence are a name
        return core + token[-1] if token[-1] in _TRAILING else core


def words_of(entry: str) -> list[str]:
    """Words that an entry of a vocabulary lets through: those of letters and marks only."""
    parts = (part for word in entry.lower().split() for part in (word.strip(_AROUND), *_JOINTS.split(word)))
    return [part for part in parts if part and len(part) <= PREVIEW_CHARACTERS // 2 and _is_word(_JOINTS.sub("", part))]


def _is_word(letters: str) -> bool:
    return letters[:1].isalpha() and all(letter.isalpha() or category(letter)[0] == "M" for letter in letters)


@cache
def shipped_vocabulary() -> frozenset[str]:
    """Function words and task words of English that every masker may show."""
    text = files("intent_events.privacy").joinpath("data/vocabulary.txt").read_text("utf-8")
    return frozenset(_entries(text))


def load_vocabulary(path: Path) -> frozenset[str]:
    """Words of a vocabulary file: UTF-8, one word or phrase a line, ``#`` begins a comment.

    Args:
        path: the file.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        return frozenset(_entries(path.read_text("utf-8")))
    except (OSError, ValueError) as error:  # not there, not readable, not UTF-8, or a path that no file can have
        raise SettingsError(
            f"the vocabulary file {path} cannot be read ({type(error).__name__}): give a readable UTF-8 file, "
            "one word or phrase a line"
        ) from error


def _entries(text: str) -> Iterable[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return (line for line in lines if line)


def _kind(token: str) -> str:
    if "@" in token or "\uff20" in token:
        return EMAIL
    if any(map(str.isnumeric, token)):
        core = token.strip(_AROUND).lower()
        if _DATE_SHAPE.fullmatch(core):
            return DATE
        return NUMBER if _NUMBER_SHAPE.fullmatch(core) else ID
    return NAME


def _cut(words: list[str]) -> str:
    preview = " ".join(words)
    if len(preview) <= PREVIEW_CHARACTERS:
        return preview
    end = preview.rfind(" ", 0, PREVIEW_CHARACTERS - 1)
    return preview[:end] + " " + _ELLIPSIS if end > 0 else _ELLIPSIS
