# SPDX-License-Identifier: Apache-2.0
"""Utterances with values planted in them that exist nowhere else, so that they can be looked for everywhere."""

from collections.abc import Iterator
from secrets import choice, randbelow
from typing import Final, NamedTuple

from intent_events.privacy.canaries import Canary, canary_of

SENTENCES: Final = (
    "assign {} as custodian",
    "please find out what happened to {} and tell me today",
    "{}",
)
"""What is said unless a test says otherwise; a value stands in place of the braces."""

# No vowels, so that no word of any language holds them; no hexadecimal digits, so that no hash does.
_LETTERS: Final = "ghjklmnpqrstvwxz"
_WORD: Final = 9
_WORD_PIECE: Final = 6
_NUMBER_PIECE: Final = 8
_GROUP: Final = 4
_CARD: Final = 15
_ACCOUNT: Final = 18
_IBAN_MODULUS: Final = 97
_LUHN: Final = 10
_NINE: Final = 9


class Planted(NamedTuple):
    """An utterance with a value that may be found nowhere.

    Attributes:
        utterance: what is said.
        canary: the value, in the forms in which it would be found.
    """

    utterance: str
    canary: Canary


def planted_in(sentence: str) -> Iterator[Planted]:
    """A sentence with a fresh value of each kind: names, an address, a phone, a card, an IBAN, an account.

    Args:
        sentence: holds ``{}`` where a value goes.

    Raises:
        ValueError: it does not.
    """
    if "{}" not in sentence:
        raise ValueError("a sentence needs {} where the value goes")
    for kind, value, pieces in _values():
        yield Planted(sentence.replace("{}", value), canary_of(kind, value, pieces))


def _values() -> Iterator[tuple[str, str, list[str]]]:
    first, last, plain, user, host = (_word() for _ in range(5))
    yield "name", f"{first.capitalize()} {last.capitalize()}", _pieces(_WORD_PIECE, first, last)
    yield "name in small letters", plain, _pieces(_WORD_PIECE, plain)
    yield "e-mail", f"{user}@{host}.example", _pieces(_WORD_PIECE, user, host)
    # Parts of a number are looked for where they are random: all of these phones begin alike.
    number = _digits(_NUMBER_PIECE + 2)
    yield "phone", f"+4930{number}", _pieces(_NUMBER_PIECE, number)
    card = _with_luhn(f"4{_digits(_CARD - 1)}")
    written = " ".join(card[at : at + _GROUP] for at in range(0, len(card), _GROUP))
    yield "card", written, _pieces(_NUMBER_PIECE, card[1:]) + _pieces(_NUMBER_PIECE + 1, written[1:])
    within = _digits(_ACCOUNT)
    yield "IBAN", _iban(within), _pieces(_NUMBER_PIECE, within)
    account = _digits(_NINE)
    yield "account", account, _pieces(_NUMBER_PIECE, account)


def _word() -> str:
    return "".join(choice(_LETTERS) for _ in range(_WORD))


def _digits(n: int) -> str:
    return "".join(str(randbelow(10)) for _ in range(n))


def _pieces(size: int, *parts: str) -> list[str]:
    return [part[at : at + size] for part in parts for at in range(len(part) - size + 1)]


def _with_luhn(digits: str) -> str:
    doubled = (int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(digits)))
    total = sum(n - _NINE if n > _NINE else n for n in doubled)
    return f"{digits}{-total % _LUHN}"


def _iban(account: str) -> str:
    check = _IBAN_MODULUS + 1 - int(f"{account}131400") % _IBAN_MODULUS  # D and E are 13 and 14
    return f"DE{check:02d}{account}"
