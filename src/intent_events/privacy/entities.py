# SPDX-License-Identifier: Apache-2.0
"""Entity spans: what an orchestrator knows to be a value in its utterance, and of which kind."""

from collections.abc import Container, Sequence
from re import compile as pattern
from typing import Final, NamedTuple, cast

ENTITY: Final = "<entity>"
"""Stands for an entity whose kind may not be shown."""

ENTITY_KINDS: Final = frozenset(
    {
        *("person", "name", "organisation", "organization", "company", "entity", "location", "address", "country"),
        *("city", "street", "currency", "money", "amount", "percent", "number", "quantity", "date", "time", "duration"),
        *("email", "phone", "url", "ip", "uuid", "id", "account", "iban", "bic", "card", "lei", "isin", "national_id"),
        *("passport", "licence", "product", "instrument", "document", "reference", "username", "password", "secret"),
    }
)
"""Kinds that are shown; others are shown when all their words are words of the vocabulary."""

_WORDS: Final = pattern(r"\S+")
_MOST: Final = 256


class EntitySpan(NamedTuple):
    """A value in an utterance.

    Attributes:
        start: its first character, counted in characters of the text from 0.
        end: behind its last character.
        kind: what it is, such as ``person``; see :data:`ENTITY_KINDS`.
    """

    start: int
    end: int
    kind: str


_SEQUENCES: Final = frozenset({list, tuple, EntitySpan})


def entity_spans(given: object) -> list[EntitySpan]:
    """Spans that may be anything of foreign code, as spans; what is none is left out.

    Args:
        given: a sequence of :class:`EntitySpan`, or of sequences of start, end and kind.
    """
    if type(given) not in _SEQUENCES:
        return []
    spans: list[EntitySpan] = []
    for item in cast("Sequence[object]", given)[:_MOST]:
        if type(item) not in _SEQUENCES:
            continue
        parts = cast("Sequence[object]", item)
        start, end, kind = (*parts, None, None, None)[:3]
        if type(start) is int and type(end) is int and 0 <= start < end:
            spans.append(EntitySpan(start, end, kind if type(kind) is str else ""))
    return sorted(spans)


def shown_kind(kind: str, vocabulary: Container[str]) -> str:
    """How a kind is shown: as it is when it says nothing of the value."""
    lower = kind.lower()
    if lower in ENTITY_KINDS or (lower and all(word in vocabulary for word in lower.replace("_", " ").split(" "))):
        return f"<{lower.replace(' ', '_')}>"  # a preview is cut at spaces
    return ENTITY


def kinds_by_token(text: str, spans: Sequence[EntitySpan], vocabulary: Container[str]) -> dict[int, str]:
    """Kind of each word that a span touches, by the number of the word.

    Args:
        text: the text that the spans count characters of.
        spans: in order of their beginning.
        vocabulary: words of which a kind may be made.
    """
    kinds: dict[int, str] = {}
    waiting = list(reversed(spans))
    open_spans: list[EntitySpan] = []
    for at, match in enumerate(_WORDS.finditer(text)):
        while waiting and waiting[-1].start < match.end():
            open_spans.append(waiting.pop())
        open_spans = [span for span in open_spans if span.end > match.start()]
        if open_spans:
            kinds[at] = shown_kind(open_spans[-1].kind, vocabulary)
    return kinds
