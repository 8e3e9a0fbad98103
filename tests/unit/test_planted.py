# SPDX-License-Identifier: Apache-2.0
"""The values that a proof plants: valid, each kind there, and found in no text but where they were planted."""

import pytest
from stdnum import iban, luhn

from intent_events.privacy import shipped_vocabulary
from intent_events.privacy.canaries import Canaries
from intent_events.testing.planted import SENTENCES, planted_in

KINDS = ["name", "name in small letters", "e-mail", "phone", "card", "IBAN", "account"]


def test_every_kind_is_planted() -> None:
    """A sentence becomes an utterance of each kind; numbers with check digits are valid ones."""
    planted = {one.canary.name: one.utterance for one in planted_in("{}")}
    assert list(planted) == KINDS
    assert iban.is_valid(planted["IBAN"])
    assert luhn.is_valid(planted["card"].replace(" ", ""))
    assert planted["name"].istitle()
    assert planted["name in small letters"].islower()
    assert "@" in planted["e-mail"]


def test_values_are_found_where_they_are_alone() -> None:
    """Each value is found in its own utterance, and in no other proof's."""
    texts = [one.utterance for sentence in SENTENCES for one in planted_in(sentence)]
    for sentence in SENTENCES:
        for one in planted_in(sentence):
            canaries = Canaries([one.canary])
            assert canaries.in_text(one.utterance) == (one.canary.name,)
            assert not [text for text in texts if canaries.in_text(text)]
            assert canaries.in_text(" ".join(shipped_vocabulary())) == ()


def test_a_part_gives_a_value_away() -> None:
    """A value that was cut, at whichever end, is found all the same."""
    for one in planted_in("{}"):
        canaries = Canaries([one.canary])
        assert canaries.in_text(one.utterance[:-1])
        assert canaries.in_text(one.utterance[1:])


def test_a_sentence_without_a_place() -> None:
    """A sentence in which no value goes would prove nothing."""
    with pytest.raises(ValueError, match=r"needs \{\}"):
        list(planted_in("assign somebody as custodian"))
