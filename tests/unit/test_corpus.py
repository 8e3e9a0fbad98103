# SPDX-License-Identifier: Apache-2.0
"""What survives masking of 22,000 utterances with planted values, and what is left to read of the others."""

import json
import os
from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest

from intent_events.privacy import Masker, load_vocabulary, shipped_vocabulary
from support.corpus import KINDS, LOCALES, NAMES, WITH_DIGITS, Planted, corpus, survives
from support.usefulness import share_kept

UTTERANCES = 22_000
REGISTRY = Path(str(files("intent_events.demo").joinpath("data/registry.jsonl")))
PHRASES = load_vocabulary(REGISTRY)
MASKER = Masker(shipped_vocabulary() | PHRASES)
CLINC150 = os.environ.get("INTENT_EVENTS_TEST_CLINC150", "")


@cache
def survivors() -> tuple[Counter[str], dict[str, list[Planted]]]:
    """How many values of each kind were planted, and those of which something survived."""
    planted: Counter[str] = Counter()
    survived: dict[str, list[Planted]] = {kind: [] for kind in KINDS}
    for each in corpus(UTTERANCES):
        masked = MASKER.mask(each.text)
        planted[each.kind] += 1
        if survives(each, f"{masked.template}\n{masked.preview}"):
            survived[each.kind].append(each)
    return planted, survived


def test_the_corpus() -> None:
    """It has as many utterances as were asked for, of every kind and of more than ten locales, the same each time."""
    planted, _ = survivors()
    assert planted.total() == UTTERANCES
    assert set(planted) == set(KINDS)
    assert min(planted.values()) >= UTTERANCES // len(KINDS) - len(LOCALES)
    few = list(corpus(2 * len(KINDS) * len(LOCALES)))
    assert few == list(corpus(len(few)))
    assert len({each.locale for each in few}) == len(LOCALES) >= 10
    assert all(each.value in each.text for each in few)


@pytest.mark.parametrize("kind", WITH_DIGITS)
def test_nothing_with_digits_survives(kind: str) -> None:
    """Of phones, mails, cards, accounts, ids, IPs and dates of birth no four characters in a row stay."""
    assert survivors()[1][kind] == []


@pytest.mark.parametrize("kind", NAMES)
def test_names_survive_in_less_than_one_of_200(kind: str) -> None:
    """Of names, addresses and organisations nearly nothing stays, in any case and any place of a sentence."""
    planted, survived = survivors()
    assert len(survived[kind]) / planted[kind] < 0.005, survived[kind]


def test_what_is_counted_as_surviving() -> None:
    """Four characters of the value count wherever they stand, unless the sentence around it has them."""
    said = Planted("call Zebedee Quux now", "Zebedee Quux", "name", "en_US", "as written", "call  now")
    assert survives(said, "call zebedee now")
    assert survives(said, "call <name?> quux now")
    assert survives(said, "x bede x")
    assert not survives(said, "call <name?> now")
    assert not survives(said, "call <zebedee> now")
    assert not survives(said._replace(around="call quux now", value="quux"), "call quux now")
    assert survives(said._replace(value="Ng"), "call ng now")


def test_words_of_the_registry_are_kept() -> None:
    """At least 98% of the words of the phrases and descriptions of a registry are shown in themselves."""
    assert share_kept(MASKER, sorted(PHRASES)) >= 0.98


@pytest.mark.skipif(not CLINC150, reason="INTENT_EVENTS_TEST_CLINC150 names no folder with CLINC150 in JSON lines")
def test_words_of_clinc150_are_kept() -> None:
    """At least 70% of the tokens of the utterances of CLINC150 are shown, even without a vocabulary of their domain."""
    folder = Path(CLINC150)
    utterances = [json.loads(line)["utterance"] for line in (folder / "utterances.jsonl").read_text().splitlines()]
    assert share_kept(Masker(shipped_vocabulary()), utterances) >= 0.7
    assert share_kept(Masker(shipped_vocabulary() | load_vocabulary(folder / "registry.jsonl")), utterances) >= 0.7
