# SPDX-License-Identifier: Apache-2.0
"""Canaries: values that were said on purpose and may be found nowhere. Finds them in texts and in bytes.

A canary is also found when it was written down in another form: other case or width, percent-encoded, in hexadecimal,
in Base64, or with JSON's escapes. Nothing here tells the value again: canaries have names.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

from intent_events.errors import SettingsError
from intent_events.privacy.fingerprint import normalize

MIN_CANARY: Final = 4
"""Characters that a canary must have at least: shorter ones are part of nearly everything."""

MAX_CANARIES: Final = 1_000
"""Canaries that can be looked for at once."""

_Index = dict[str, list[tuple[str, int]]]

_TRIPLE: Final = 3
_LEAST_BASE64: Final = 8


class Canary(NamedTuple):
    """One value that may be found nowhere.

    Attributes:
        name: what a finding calls it.
        folded: forms to be found in the normalised text.
        exact: forms to be found in the text as it is.
    """

    name: str
    folded: tuple[str, ...]
    exact: tuple[str, ...] = ()


def canary_of(name: str, value: str, pieces: Iterable[str] = ()) -> Canary:
    """A canary in all its forms.

    Args:
        name: what a finding calls it.
        value: the value.
        pieces: parts of the value that give it away as well.

    Raises:
        ValueError: the value or a piece is too short to be looked for.
    """
    folded = dict.fromkeys(form for part in (value, *pieces) for form in _folded_forms(part))
    if any(len(form) < MIN_CANARY for form in folded):
        raise ValueError(f"a canary needs {MIN_CANARY} characters")
    return Canary(name, tuple(folded), tuple(dict.fromkeys(_base64_forms(value))))


class Canaries:
    """Several canaries that are looked for together: the time that takes does not depend on how many there are."""

    __slots__ = ("_exact", "_folded", "_names", "longest")

    def __init__(self, canaries: Iterable[Canary] = ()) -> None:
        """Look for these."""
        given = tuple(canaries)
        self._names = tuple(one.name for one in given)
        self._folded = _by_beginning(one.folded for one in given)
        self._exact = _by_beginning(one.exact for one in given)
        self.longest: Final = max((len(form) for one in given for form in one.folded + one.exact), default=0)

    def __len__(self) -> int:
        return len(self._names)

    def in_text(self, text: str) -> tuple[str, ...]:
        """Names of the canaries that a text holds, in the order in which they were given."""
        if not self._names:
            return ()
        found = {*_found(self._folded, normalize(text)), *_found(self._exact, text)}
        return tuple(self._names[number] for number in sorted(found)) if found else ()

    def in_bytes(self, data: bytes) -> tuple[str, ...]:
        """The same for bytes of any kind that hold texts as UTF-8."""
        return self.in_text(data.decode("utf-8", "replace")) if self._names else ()


def canaries_in(text: str, *, source: str) -> Canaries:
    """The canaries of a list, one a line; they are named by their lines.

    Args:
        text: the list; empty lines count as lines only.
        source: the variable or the file that it came from, for the error.

    Raises:
        SettingsError: one is too short, there are none, or there are too many; none is repeated.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    given = [(number, line) for number, line in lines if line]
    if not given:
        raise SettingsError(f"{source} holds no canaries: write one a line")
    if len(given) > MAX_CANARIES:
        raise SettingsError(f"{source} holds {len(given)} canaries: {MAX_CANARIES} can be looked for at once")
    for number, line in given:
        if len(normalize(line)) < MIN_CANARY:
            raise SettingsError(
                f"{source}, line {number}: a canary needs {MIN_CANARY} characters, shorter ones are found everywhere"
            )
    return Canaries(canary_of(f"canary {number}", line) for number, line in given)


def _by_beginning(forms: Iterable[Iterable[str]]) -> _Index:
    index: _Index = {}
    for number, of_one in enumerate(forms):
        for form in of_one:
            index.setdefault(form[:MIN_CANARY], []).append((form, number))
    return index


def _found(index: _Index, text: str) -> Iterator[int]:
    """Numbers of the canaries of which a form stands anywhere in a text."""
    for at in range(len(text) - MIN_CANARY + 1):
        for form, number in index.get(text[at : at + MIN_CANARY], ()):
            if text.startswith(form, at):
                yield number


def _folded_forms(value: str) -> Iterator[str]:
    yield normalize(value)
    yield quote(value, safe="").lower()
    yield quote_plus(value).lower()
    yield value.encode("utf-8", "surrogatepass").hex()
    yield normalize(json.dumps(value)[1:-1])


def _base64_forms(value: str) -> Iterator[str]:
    """What stands in Base64 wherever the value begins in a longer text, without what neighbours have a share in."""
    data = value.encode("utf-8", "surrogatepass")
    for shift in range(_TRIPLE):
        skipped = (_TRIPLE - shift) % _TRIPLE
        whole = data[skipped : skipped + (len(data) - skipped) // _TRIPLE * _TRIPLE]
        encoded = b64encode(whole).decode()
        if len(encoded) >= _LEAST_BASE64:
            yield encoded
            yield encoded.replace("+", "-").replace("/", "_")
