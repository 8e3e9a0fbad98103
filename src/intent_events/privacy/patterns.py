# SPDX-License-Identifier: Apache-2.0
"""Detection: values that can be told by their form or their check digits. What has neither is not found.

Needs ``intent-events[patterns]`` (phonenumbers and python-stdnum).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cache
from ipaddress import ip_address
from re import compile as pattern
from typing import Any, Final, NamedTuple, cast
from unicodedata import category
from unicodedata import normalize as unicode_form

from intent_events.errors import SettingsError

REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "BR", "JP", "AU")
"""Regions whose phone numbers are found without their international prefix."""


class PersonalKind(StrEnum):
    """What a detected value is, by falling certainty."""

    EMAIL = "email"
    UUID = "uuid"
    IBAN = "iban"
    LEI = "lei"
    ISIN = "isin"
    CARD = "card"
    IP = "ip"
    PHONE = "phone"
    NATIONAL_ID = "national_id"
    """A number of persons or taxes of some country; its check digit may fit another number by chance."""


class Found(NamedTuple):
    """A detected value.

    Attributes:
        start: its first character.
        end: behind its last character.
        kind: what it is; a :class:`PersonalKind`, or whatever another detector calls it.
    """

    start: int
    end: int
    kind: str


_NATIONAL: Final[dict[int, str]] = {
    8: "au.tfn cl.rut ie.pps",
    9: "au.tfn ca.sin cl.rut cz.rc es.nie es.nif ie.pps il.idnr nl.bsn pt.nif us.itin us.ssn",
    10: "at.vnr bg.egn cz.rc dk.cpr fi.hetu gb.nhs in.pan se.personnummer",
    11: "be.nn br.cpf de.idnr ee.ik gr.amka hr.oib lt.asmens no.fodselsnummer pl.pesel tr.tckimlik",
    12: "in.aadhaar pt.cc se.personnummer",
    13: "ch.ssn kr.rrn ro.cnp si.emso th.pin za.idnr",
    14: "br.cnpj",
    15: "fr.nir",
    16: "it.codicefiscale",
    18: "cn.ric mx.curp",
}
"""Modules of python-stdnum by the letters and digits that their numbers have."""

_CARD: Final = range(12, 20)
_LONGEST_NUMBER: Final = 34
_FOUR: Final = 4
_MOST_GROUPS: Final = 9
_LEAST_DIGITS: Final = 5
_SHORT_WORD: Final = 2
_PHONE_DIGITS: Final = 6
_AROUND: Final = "\"'()[]{}<>«»*_`.,;:!?…“”\u2018\u2019"
_WORDS: Final = pattern(r"\S+")
_GROUPS: Final = pattern(r"[A-Za-z0-9]+")
_IBAN_BEGINS: Final = pattern("[A-Za-z]{2}[0-9]{2}")
_JOINT: Final = pattern(r"[ \-./]")
_UUID: Final = pattern(r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")
_IP: Final = pattern(r"(?<![0-9A-Za-z.:])[0-9a-fA-F:.]{2,45}(?![0-9A-Za-z])")
_LOOK_ALIKES: Final = str.maketrans(
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
    "\u2010\u2011\u2012\u2013\u2014\u2212",
    "ABESIJKMHOPCTYXaeopcyxijsABEZHIKMNOPTYXo------",
)
"""Letters and dashes that look like those of ASCII."""


def cleaned(text: str) -> str:
    """The text in compatibility form, with ASCII digits, and without what is not seen.

    Full-width forms become plain, digits of any script ASCII; format characters (zero-width ones and those that turn
    the direction) and marks over ASCII characters are left out.
    """
    if text.isascii():
        return text
    kept: list[str] = []
    for letter in unicode_form("NFKC", "".join(letter for letter in text if category(letter) != "Cf")):
        kind = category(letter)
        if kind == "Nd":
            kept.append(str(int(letter)))
        elif not (kind[0] == "M" and kept and kept[-1].isascii()):
            kept.append(letter)
    return "".join(kept)


class Patterns:
    """Finds values by form and check digit."""

    __slots__ = ("_national", "_numbers", "_phones", "_regions")

    def __init__(self, regions: Sequence[str] = REGIONS) -> None:
        """Find values.

        Args:
            regions: countries whose phone numbers are found without their international prefix, two letters each.

        Raises:
            SettingsError: the extra is not installed.
        """
        try:
            import phonenumbers  # noqa: PLC0415 - an extra, which may be missing, and that has to be said kindly
            from stdnum import get_cc_module, iban, isin, lei, luhn  # noqa: PLC0415 - the same
        except ModuleNotFoundError as error:  # the extra is not installed
            raise SettingsError(
                f"detection of patterns needs {error.name}: pip install 'intent-events[patterns]'"
            ) from error
        self._phones: Any = phonenumbers
        self._regions = regions
        self._numbers: tuple[tuple[PersonalKind, range, Callable[[str], bool]], ...] = (
            (PersonalKind.IBAN, range(15, _LONGEST_NUMBER + 1), iban.is_valid),
            (PersonalKind.LEI, range(20, 21), lei.is_valid),
            (PersonalKind.ISIN, range(12, 13), isin.is_valid),
            (PersonalKind.CARD, _CARD, luhn.is_valid),
        )
        get_module = cast("Any", get_cc_module)
        self._national: dict[int, tuple[Callable[[str], bool], ...]] = {
            length: tuple(get_module(*name.split(".")).is_valid for name in names.split())
            for length, names in _NATIONAL.items()
        }

    def find(self, text: str) -> list[Found]:
        """Values in a text that :func:`cleaned` gave, in their order, none within another; linear in its length."""
        look = text.translate(_LOOK_ALIKES) if not text.isascii() else text
        taken: list[Found] = []
        free = bytearray(len(look))
        for found in self._each(look):
            if not any(free[found.start : found.end]):
                free[found.start : found.end] = b"\1" * (found.end - found.start)
                taken.append(found)
        return sorted(taken)

    def kinds_in(self, text: str) -> Counter[PersonalKind]:
        """How many values of which kind any text holds."""
        return Counter(PersonalKind(found.kind) for found in self.find(cleaned(text)))

    def _each(self, text: str) -> Iterator[Found]:
        """Every value that could be one, the surest first."""
        if "@" in text:
            yield from _emails(text)
        if not any(map(str.isdigit, text)) and ":" not in text:
            return
        yield from (Found(*match.span(), PersonalKind.UUID) for match in _UUID.finditer(text))
        numbers = list(self._numbers_in(text))
        yield from (found for found in numbers if found.kind is not PersonalKind.NATIONAL_ID)
        yield from _addresses(text)
        yield from self._phones_in(text)
        yield from (found for found in numbers if found.kind is PersonalKind.NATIONAL_ID)

    def _numbers_in(self, text: str) -> Iterator[Found]:
        groups = [match.span() for match in _GROUPS.finditer(text)]
        for first in range(len(groups)):
            found = self._longest_from(text, groups, first)
            if found is not None:
                yield found

    def _longest_from(self, text: str, groups: Sequence[tuple[int, int]], first: int) -> Found | None:
        """The longest number that begins with this group of letters and digits."""
        start, end = groups[first]
        if not _may_be_part(text[start:end]):
            return None
        compact, longest, last_end = "", None, start
        may_be_part = _may_be_of_iban if _IBAN_BEGINS.match(text, start) else _may_be_part
        for at, group_end in groups[first : first + _MOST_GROUPS]:
            part = text[at:group_end]
            joined = at == start or (at == last_end + 1 and _JOINT.match(text, last_end) is not None)
            compact += part.upper()
            if not joined or len(compact) > _LONGEST_NUMBER or not may_be_part(part):
                break
            last_end = group_end
            kind = self._kind_of(compact, text[start:group_end])
            if kind is not None:
                longest = Found(start, group_end, kind)
        return longest

    def _kind_of(self, compact: str, written: str) -> PersonalKind | None:
        if sum(map(str.isdigit, compact)) < _LEAST_DIGITS:
            return None
        for kind, lengths, is_valid in self._numbers:
            if len(compact) in lengths and (kind is not PersonalKind.CARD or compact.isdigit()) and is_valid(compact):
                return kind
        national = self._national.get(len(compact), ())
        return PersonalKind.NATIONAL_ID if any(is_valid(written) for is_valid in national) else None

    def _phones_in(self, text: str) -> Iterator[Found]:
        if sum(map(str.isdigit, text)) < _PHONE_DIGITS:
            return
        for region in (None, *self._regions):
            for match in self._phones.PhoneNumberMatcher(text, region):
                yield Found(match.start, match.end, PersonalKind.PHONE)


def kinds_in(text: str) -> Counter[PersonalKind]:
    """How many values of which kind a text holds, by the patterns as they are set up without settings.

    Raises:
        SettingsError: the extra ``patterns`` is not installed.
    """
    return _default().kinds_in(text)


@cache
def _default() -> Patterns:
    return Patterns()


def _may_be_part(group: str) -> bool:
    return len(group) <= _SHORT_WORD or any(map(str.isdigit, group))


def _may_be_of_iban(group: str) -> bool:
    """IBANs are written in fours, some of letters alone."""
    return len(group) <= _FOUR or any(map(str.isdigit, group))


def _emails(text: str) -> Iterable[Found]:
    for match in _WORDS.finditer(text):
        word = match[0]
        core = word.strip(_AROUND)
        if "@" in core[1:-1]:
            start = match.start() + word.index(core)
            yield Found(start, start + len(core), PersonalKind.EMAIL)


def _addresses(text: str) -> Iterable[Found]:
    for match in _IP.finditer(text):
        written = match[0].rstrip(".:") if not match[0].endswith("::") else match[0]
        for candidate in (written, written.rpartition(":")[0]):
            if _is_address(candidate):
                yield Found(match.start(), match.start() + len(candidate), PersonalKind.IP)
                break


def _is_address(written: str) -> bool:
    try:
        ip_address(written)
    except ValueError:  # a time, a number, or a word of hexadecimal letters
        return False
    return any(map(str.isdigit, written))
