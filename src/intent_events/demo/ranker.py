# SPDX-License-Identifier: Apache-2.0
"""Discovery: which verbs an utterance may mean, by its words. BM25 over the phrases and description of each verb."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from re import compile as pattern
from typing import Any, Final, NamedTuple, Protocol, cast

import bm25s  # pyright: ignore[reportMissingTypeStubs] - the library ships no types; _Index says what is used of it
import numpy as np
from numpy.typing import NDArray

from intent_events.columns import Candidate
from intent_events.demo.registry import Registry, Verb

LEXICAL: Final = "bm25s"
"""Source of a candidate that was found by its words."""

EXACT: Final = "exact"
"""Source of a candidate one of whose phrases is the utterance itself, word for word."""

UNKNOWN_SHARE: Final = 0.6
"""What a word counts that no verb knows, as a share of the rarest known one: higher finds out-of-scope talk sooner."""

MAX_WORDS: Final = 100
"""How many words of a text are looked at."""

_WORD: Final = pattern(r"[a-z0-9]+(?:['\u2019][a-z]+)?")
_ENDINGS: Final = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", ""), ("e", ""))
_SHORTEST_STEM: Final = 3
_LETTERS: Final = 5
_COMMON_STEMS: Final = "a an the of to is are my me i you pleas can could would do for in on it that this and be"
_COMMON: Final = frozenset(_COMMON_STEMS.split())


class _Index(Protocol):
    """What is used of ``bm25s.BM25``."""

    scores: Mapping[str, NDArray[Any]]
    vocab_dict: Mapping[str, int]

    def index(self, corpus: list[list[str]], *, show_progress: bool) -> None: ...

    def get_scores(self, query_tokens_single: list[str]) -> NDArray[np.float32]: ...


class _View(NamedTuple):
    """One way to cut a text into terms, and its share in the score. Shares and k1 were tuned on CLINC150."""

    terms: Callable[[Sequence[str]], Iterable[str]]
    share: float
    k1: float


class _Indexed(NamedTuple):
    view: _View
    bm25: _Index
    best: Mapping[str, float]
    unknown: float


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    word = word.replace("'", "").replace("\u2019", "")
    for ending, replacement in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM and not word.endswith("ss"):
            return word.removesuffix(ending) + replacement
    return word


def words_of(text: str) -> tuple[str, ...]:
    """Stemmed lower-case words of a text, in its order."""
    return tuple(_stem(word) for word in _WORD.findall(text.lower()))


def telling(words: Iterable[str]) -> frozenset[str]:
    """Those stemmed words that say something: all but the most common ones."""
    return frozenset(words) - _COMMON


def _letters(words: Sequence[str]) -> list[str]:
    line = "#" + "#".join(words) + "#"
    return [line[at : at + _LETTERS] for at in range(len(line) - _LETTERS + 1)]


def _words(words: Sequence[str]) -> Sequence[str]:
    return words


def _pairs(words: Sequence[str]) -> list[str]:
    return [f"{one}&{other}" for one, other in combinations(sorted(telling(words)), 2)]


_VIEWS: Final = (
    _View(_words, 1.0, 2.0),
    _View(_letters, 0.15, 2.0),
    _View(_pairs, 0.4, 1.0),
)


class Ranker:
    """Ranks the verbs of one registry; the index is built once."""

    __slots__ = ("_phrases", "_verbs", "_views")

    def __init__(self, registry: Registry) -> None:
        """Index a registry.

        Args:
            registry: its verbs, macros included.
        """
        self._verbs = tuple(registry.verbs)
        self._phrases: dict[tuple[str, ...], list[str]] = {}
        for verb in registry.verbs.values():
            for phrase in {words_of(phrase) for phrase in verb.phrases}:
                self._phrases.setdefault(phrase, []).append(verb.verb)
        texts = [_texts(verb) for verb in registry.verbs.values()]
        self._views = tuple(_indexed(view, texts) for view in _VIEWS)

    def rank(self, text: str, limit: int) -> tuple[Candidate, ...]:
        """Verbs that share terms with a text, best first.

        Args:
            text: what was said, best without its values.
            limit: how many candidates at most.

        Returns:
            Candidates with a score from 0 to 1: the share of what the text's terms could have scored at best. The same
            words as a phrase of the verb give 1.
        """
        words = words_of(text)[:MAX_WORDS]
        total = np.zeros(len(self._verbs), dtype=np.float64)
        attainable = 0.0
        for indexed in self._views:
            terms = list(dict.fromkeys(indexed.view.terms(words)))
            if any(term in indexed.bm25.vocab_dict for term in terms):
                total += indexed.view.share * indexed.bm25.get_scores(terms)
            attainable += indexed.view.share * sum(indexed.best.get(term, indexed.unknown) for term in terms)
        exact = self._phrases.get(words, [])
        if attainable:
            total /= attainable
        order = np.argsort(-total, kind="stable")[: limit + len(exact)]
        found = [
            Candidate(self._verbs[at], round(float(total[at]), 4), LEXICAL)
            for at in order
            if total[at] > 0 and self._verbs[at] not in exact
        ]
        return (*(Candidate(verb, 1.0, EXACT) for verb in exact), *found)[:limit]


def _texts(verb: Verb) -> list[Sequence[str]]:
    return [words_of(text) for text in (*verb.phrases, verb.description, verb.verb) if text]


def _indexed(view: _View, texts: Sequence[Sequence[Sequence[str]]]) -> _Indexed:
    index = cast("_Index", bm25s.BM25(k1=view.k1, b=1.0))
    index.index([[term for words in document for term in view.terms(words)] for document in texts], show_progress=False)
    best = _best_scores(index)
    return _Indexed(view, index, best, UNKNOWN_SHARE * max(best.values(), default=0.0))


def _best_scores(index: _Index) -> dict[str, float]:
    """The most that each term scores in any verb: a CSC matrix keeps the scores of a term side by side."""
    data, starts = index.scores["data"], index.scores["indptr"]
    return {
        term: float(data[starts[at] : starts[at + 1]].max())
        for term, at in index.vocab_dict.items()
        if at + 1 < len(starts) and starts[at + 1] > starts[at]
    }
