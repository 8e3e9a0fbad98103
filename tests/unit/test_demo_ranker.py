# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intent_events.demo.ranker import EXACT, LEXICAL, Ranker
from intent_events.demo.registry import Registry, load_registry

REGISTRY = load_registry()
RANKER = Ranker(REGISTRY)


def verbs(text: str, limit: int = 10) -> list[str]:
    return [candidate.verb for candidate in RANKER.rank(text, limit)]


@given(st.sampled_from([(verb.verb, phrase) for verb in REGISTRY.verbs.values() for phrase in verb.phrases]))
def test_a_phrase_finds_its_verb(case: tuple[str, str]) -> None:
    """A verb's own phrase, in any case and spacing, ranks the verb first with score 1."""
    verb, phrase = case
    best = RANKER.rank(f"  {phrase.upper()} ", 10)[0]
    assert (best.verb, best.score, best.source) == (verb, 1.0, EXACT)


def test_other_words_find_the_verb_too() -> None:
    """Sentences that are no phrase of any verb rank the verb that they mean first."""
    assert verbs("could you please get sanctions screening going")[0] == "screening.run"
    assert verbs("I would like the fund to be domiciled elsewhere")[0] == "fund.set-domicile"
    assert RANKER.rank("could you please get sanctions screening going", 1)[0].source == LEXICAL


def test_other_talk_scores_low() -> None:
    """What shares hardly a word with any verb stays below every sensible floor."""
    assert all((candidate.score or 0) < 0.2 for candidate in RANKER.rank("my aunt plays the trombone at dawn", 10))


def test_nothing_said_finds_nothing() -> None:
    """No words, or words of no verb, give no candidate."""
    assert verbs("") == []
    assert verbs("?!") == []
    assert verbs("xylophone zzyzx") == []


@settings(max_examples=50)
@given(st.text(max_size=200), st.integers(1, 30))
def test_any_text_gives_a_ranking(text: str, limit: int) -> None:
    """Any text gives at most the asked number of different verbs, best first, with scores from 0 to 1."""
    found = RANKER.rank(text, limit)
    scores = [candidate.score or 0.0 for candidate in found]
    assert len({candidate.verb for candidate in found}) == len(found) <= limit
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1.0001 for score in scores)


def test_a_very_long_text_is_cut() -> None:
    """Only the beginning of a very long text is looked at, so that its cost is bounded."""
    text = "screen the company " * 40
    assert RANKER.rank(text + "rename the client unit " * 10_000, 5) == RANKER.rank(text, 5)


def test_indexing_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """The library shows no progress, neither while indexing nor while ranking."""
    Ranker(Registry({verb: REGISTRY.verbs[verb] for verb in list(REGISTRY.verbs)[:3]})).rank("set up a client", 3)
    assert capfd.readouterr() == ("", "")
