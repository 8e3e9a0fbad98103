# SPDX-License-Identifier: Apache-2.0
"""Utterances with planted values of eleven kinds from the people, addresses and numbers of many countries.

Made by Faker from a seed: the same each time. What survives masking is looked for in the whole masked text, which is
more than its preview shows.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from faker import Faker

LOCALES: Final = (
    *("en_US", "en_GB", "en_IN", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pt_BR", "pl_PL", "sv_SE", "cs_CZ"),
    *("tr_TR", "ru_RU", "ar_AA", "he_IL", "hi_IN", "ja_JP", "zh_CN", "ko_KR"),
)
"""Countries and languages of the values."""

WITH_DIGITS: Final = ("phone", "email", "card", "iban", "national_id", "ip", "birth_date", "account")
"""Kinds of which nothing may survive."""

NAMES: Final = ("name", "address", "organisation")
"""Kinds of which nearly nothing may survive."""

KINDS: Final = (*NAMES, *WITH_DIGITS)

SENTENCES: Final = (
    "assign {} as custodian",
    "please open a new account for {}",
    "{} should be the new signatory",
    "{} is the beneficial owner now",
    "what is the status of {}?",
    "change the contact to {}, please",
    "I spoke to {} yesterday and we agreed to close it",
    "the client said: {}",
    "send the documents to {} and copy the manager",
    'add "{}" to the list of directors',
    "is {} a politically exposed person",
    "update the record ({}) before Friday",
    "we have got {} on file, is that right",
    "remove {}.",
    "Can you check {} for me",
    "Please verify {}. Then approve the case.",
    "my details are {} and I need help",
    "transfer the position from {} to the other fund",
    "who is {}",
    "run a sanctions screening on {} and tell me the result",
    "{}",
    "hi, {} here, how do I reset my password",
    "the right one is {}; the old one was wrong",
    "call me back at {} tomorrow morning",
    "set up {} as an investor of the umbrella fund",
    "Our team needs {} today!",
    "there is a mistake in {}",
    "do not show {} to anyone",
    "match {} with the passport",
    "book it under {}",
)
"""What the values are planted in, at the beginning, in the middle and at the end."""

_CASES: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    *((("as written", str),) * 8),
    ("small letters", str.lower),
    ("capitals", str.upper),
)
_KIND: Final = re.compile(r"<[^<>]*>")
_RUN: Final = 4
_DATES: Final = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %B %Y", "%B %d, %Y", "%d/%m/%y", "%d %b %Y")


class Planted(NamedTuple):
    """An utterance with a value in it.

    Attributes:
        text: the utterance.
        value: what was planted, in the case in which it stands there.
        kind: one of :data:`KINDS`.
        locale: where the value is from.
        case: how the utterance is written.
        around: the utterance without the value.
    """

    text: str
    value: str
    kind: str
    locale: str
    case: str
    around: str


def corpus(n: int, seed: int = 4711) -> Iterator[Planted]:
    """Planted utterances, every kind and locale in turns.

    Args:
        n: how many.
        seed: other seeds give other values.
    """
    choose = random.Random(seed)  # noqa: S311 - no secret
    fakers = {locale: Faker(locale) for locale in LOCALES}
    for at, fake in enumerate(fakers.values()):
        fake.seed_instance(seed + at)
    turns = [(kind, locale) for locale in LOCALES for kind in KINDS]
    for at in range(n):
        kind, locale = turns[at % len(turns)]
        case, spell = choose.choice(_CASES)
        sentence = choose.choice(SENTENCES)
        value = spell(_value(fakers[locale], kind, choose))
        before, after = map(spell, sentence.split("{}"))
        yield Planted(before + value + after, value, kind, locale, case, f"{before} {after}")


def _value(fake: Any, kind: str, choose: random.Random) -> str:
    ways: dict[str, tuple[Callable[[], object], ...]] = {
        "name": (fake.name, fake.name, lambda: f"{fake.last_name()}, {fake.first_name()}"),
        "address": (fake.address,),
        "organisation": (fake.company,),
        "phone": (fake.phone_number,),
        "email": (fake.email,),
        "card": (fake.credit_card_number, lambda: _in_fours(fake.credit_card_number(), choose.choice(" -"))),
        "iban": (fake.iban, lambda: _in_fours(fake.iban(), " ")),
        "national_id": (fake.ssn,),
        "ip": (fake.ipv4, fake.ipv6),
        "birth_date": (lambda: fake.date_of_birth(minimum_age=18).strftime(choose.choice(_DATES)),),
        "account": (fake.bban, lambda: fake.numerify("########"), lambda: fake.bothify("??-######").upper()),
    }
    return " ".join(str(choose.choice(ways[kind])()).split())


def _in_fours(number: str, joint: str) -> str:
    return joint.join(number[at : at + 4] for at in range(0, len(number), 4))


def survives(planted: Planted, masked: str) -> bool:
    """Whether four or more consecutive characters of a value are in what was kept of its utterance.

    Args:
        planted: the utterance.
        masked: what was kept; the kinds that stand for values are no part of it.
    """
    shown = f" {_KIND.sub(' < ', masked).casefold()} "
    value, around = planted.value.casefold(), f" {planted.around.casefold()} "
    runs = {value[at : at + _RUN] for at in range(max(len(value) - _RUN + 1, 1))}
    return any(run in shown and run not in around for run in runs if run.strip())
