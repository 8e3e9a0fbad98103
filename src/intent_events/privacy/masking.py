# SPDX-License-Identifier: Apache-2.0
"""Previews by allow-list: a word is shown when the vocabulary has it; everything else becomes its kind.

Masking by detection misses what it does not know, so nothing is detected in order to be hidden: words are known in
order to be shown. A cut falls between words only. No grapheme spans the border before a space, so no grapheme is
ever broken and no Unicode tables are needed.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from re import compile as pattern
from typing import Final, NamedTuple, Protocol

from intent_events.native import mask_words
from intent_events.privacy.entities import EntitySpan, kinds_by_token
from intent_events.privacy.vocabulary import (
    AROUND,
    JOINTS,
    LONGEST_WORD,
    WordClass,
    capitals_of,
    plain_form,
    word_classes,
    words_of,
)

PREVIEW_CHARACTERS: Final = 80
"""Longest preview, characters."""

MASKED_CHARACTERS: Final = 4096
"""How much of a text is masked for its preview and template; its fingerprint covers all of it."""

EMAIL: Final = "<email>"
NUMBER: Final = "<number>"
DATE: Final = "<date>"
ID: Final = "<id>"
NAME: Final = "<name?>"

_ELLIPSIS: Final = "…"
_TRAILING: Final = ".,;:!?"
_ENDS: Final = ".!?"
_has_value: Final = pattern("[0-9@]").search
_DATE_SHAPE: Final = pattern(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}|\d{1,2}:\d{2}(?::\d{2})?(?:am|pm)?")
_NUMBER_SHAPE: Final = pattern(r"[+\-($€£¥#]*\d[\d.,'()\-/+]*(?:%|st|nd|rd|th|k|m|bn|eur|usd|gbp|chf)?\)?")
_CONNECTOR: Final = int(WordClass.CONNECTOR)
_PLACE: Final = int(WordClass.PLACE)
_SPOKEN: Final = int(WordClass.NUMBER)
_NEAR_NAMES: Final = int(WordClass.NAME | WordClass.PLACE)
_NEAR_NUMBERS: Final = int(WordClass.PLACE | WordClass.NUMBER)
_MASKED: Final = -1


class Masked(NamedTuple):
    """A masked text.

    Attributes:
        template: every word of it, shown or as its kind, in the form that is compared.
        preview: the same as it is shown, of at most 80 characters.
    """

    template: str
    preview: str


class Masking(Protocol):
    """A way to mask a text."""

    def mask(self, text: str, entities: Sequence[EntitySpan] = ()) -> Masked:
        """Mask a text; linear in its length, total on any string."""
        ...


class Masker:
    """Shows the words of a vocabulary and masks everything else by kind."""

    __slots__ = ("_capitals", "_words")

    def __init__(self, vocabulary: Iterable[str]) -> None:
        """Show these words.

        Args:
            vocabulary: words or phrases, in any case and language; a phrase stands for its words. A word with a digit
                or an ``@`` is left out: such words never pass.
        """
        entries = list(vocabulary)
        classes = word_classes()
        self._words = {
            word: int(classes.get(word, WordClass.ALWAYS_SHOWN)) for entry in entries for word in words_of(entry)
        }
        self._capitals = frozenset(word for entry in entries for word in capitals_of(entry))

    def mask(self, text: str, entities: Sequence[EntitySpan] = ()) -> Masked:
        """Mask a text; linear in its length, total on any string.

        Args:
            text: the raw text.
            entities: what of it is known to be a value, and of which kind.
        """
        text = text[:MASKED_CHARACTERS]
        shown = text.split()
        masked = None
        if mask_words is not None and not entities:
            masked = mask_words(self._words, self._capitals, self._word, _kind, NAME, shown)
        if masked is None:
            declared = kinds_by_token(text, entities, self._words) if entities else {}
            masked = self.masked_in_python(shown, declared)
        template, preview = masked
        return Masked(template, cut(preview))

    def masked_in_python(self, shown: list[str], declared: dict[int, str]) -> tuple[str, str]:
        """The words of a text as its template and its uncut preview, without C.

        Args:
            shown: the words; changed in place.
            declared: kind of each that is known to be a value, by its place.
        """
        classes = list(map(self._words.get, shown))
        for at in declared:
            classes[at] = None
        masked, words = self._mask_unknown(shown, classes, declared)
        known: list[int] = classes  # pyright: ignore[reportAssignmentType] - each word has one now
        highest = max(known, default=0)
        if highest >= _SPOKEN:
            _hide_spoken(known, shown, masked)
        if highest > 0 and masked:
            _hide_company(known, shown, masked)
        last, kind = -2, ""
        for at in masked:
            if at == last + 1 and shown[at] == kind:
                shown[at] = ""
            else:
                kind = shown[at]
            last = at
        preview = " ".join(filter(None, shown))
        if not words:
            return preview, preview
        for at, word in words.items():
            if known[at] != _MASKED:
                shown[at] = word
        return " ".join(filter(None, shown)), preview

    def _mask_unknown(
        self, shown: list[str], classes: list[int | None], declared: dict[int, str]
    ) -> tuple[list[int], dict[int, str]]:
        """Give every word without a class one, or its kind; both lists are changed in place.

        Returns:
            Places of the masked words, and the compared form of those that are written in a form of their own.
        """
        masked: list[int] = []
        words: dict[int, str] = {}
        written = -1
        for at, each in enumerate(classes):
            if each is not None:
                continue
            token = shown[at]
            kind = declared.get(at) if declared else None
            if kind is None:
                first = at == 0 or (written == at - 1 and shown[written][-1:] in _ENDS)
                stands = first or token in self._capitals or len(token) == 1
                if not stands and token.isalpha() and token.isascii():
                    kind = NAME  # it has a capital, or the vocabulary would have had it
                elif (word := self._word(token, first)) is not None:
                    classes[at], shown[at], words[at] = word
                    written = at
                    continue
                else:
                    kind = _kind(token)
            shown[at], classes[at] = kind, _MASKED
            masked.append(at)
        return masked, words

    def _word(self, token: str, first: bool, /) -> tuple[int, str, str] | None:  # noqa: FBT001 - C calls it, too
        """Class of a word that is not written as the vocabulary has it, as it is shown, and as it is compared.

        None when it is masked: it is not known, or has a capital within a sentence. "State Street" is made of common
        words.
        """
        if _has_value(token):
            return None
        core = token.strip(AROUND)
        if not core:
            return _CONNECTOR, "", ""
        if len(core) > LONGEST_WORD:
            return None
        core = plain_form(core)
        lower = core.lower()
        known = self._words.get(lower)
        if known is None:
            known = self._joined(lower)
        if known is None or not (
            core in {lower, lower[:1].upper() + lower[1:] if first else lower} or self._stands(core)
        ):
            return None
        return known, core + token[-1] if token[-1] in _TRAILING else core, lower

    def _stands(self, core: str) -> bool:
        """Whether a word may have its capitals anywhere."""
        return core in self._capitals or len(core) == 1 or core[:2] in {"I'", "I\u2019"}

    def _joined(self, lower: str) -> int | None:
        """Class of what is joined of words; None when one of them is not known."""
        together = spoken = 0
        parts = JOINTS.split(lower)
        if max(map(len, parts)) == 1:
            return None  # "s.a.", "a/s": the form of a company
        for part in parts:
            known = self._words.get(part)
            if known is None:
                return None
            together |= known
            spoken += known & _SPOKEN > 0
        return together if spoken <= 1 else None


def _hide_spoken(classes: list[int], shown: list[str], masked: list[int]) -> None:
    """Two words of numbers in a row are a number that is read out."""
    spoken = [at for at, each in enumerate(classes) if each > 0 and each & _SPOKEN]
    for before, at in pairwise(spoken):
        if at == before + 1:
            for each in (before, at):
                if classes[each] != _MASKED:
                    classes[each], shown[each] = _MASKED, NUMBER
                    masked.append(each)
    masked.sort()


def _hide_company(classes: list[int], shown: list[str], masked: list[int]) -> None:
    """Hide words beside masked ones that are parts of names and addresses more often than not."""
    classes.append(0)  # stands on both sides of the text
    first = tuple(masked)
    for at in first:
        kind = shown[at]
        near = _NEAR_NAMES if kind == NAME else _NEAR_NUMBERS
        beside = at - 1
        while (each := classes[beside]) > 0 and each & near:
            classes[beside], shown[beside] = _MASKED, kind
            masked.append(beside)
            beside -= 1
        beside = at + 1
        while (each := classes[beside]) > 0 and each & near:
            classes[beside], shown[beside] = _MASKED, kind
            masked.append(beside)
            beside += 1
        if each <= 0 or not each & _CONNECTOR:
            continue
        behind = beside + 1
        while (each := classes[behind]) > 0 and each & _CONNECTOR:
            behind += 1
        if each == _MASKED and NAME in {kind, shown[behind]}:
            for between in range(beside, behind):
                classes[between], shown[between] = _MASKED, kind
                masked.append(between)
    classes.pop()
    if len(masked) > len(first):
        masked.sort()


def _kind(token: str) -> str:
    if token.isalpha():
        return NAME
    if "@" in token or "\uff20" in token or "\ufe6b" in token:
        return EMAIL
    if _has_value(token) or (not token.isascii() and any(map(str.isnumeric, token))):
        core = token.strip(AROUND).lower()
        if _DATE_SHAPE.fullmatch(core):
            return DATE
        return NUMBER if _NUMBER_SHAPE.fullmatch(core) else ID
    return NAME


def cut(preview: str) -> str:
    """The first words of a preview, of at most 80 characters."""
    if len(preview) <= PREVIEW_CHARACTERS:
        return preview
    end = preview.rfind(" ", 0, PREVIEW_CHARACTERS - 1)
    return preview[:end] + " " + _ELLIPSIS if end > 0 else _ELLIPSIS
