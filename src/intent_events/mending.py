# SPDX-License-Identifier: Apache-2.0
"""Values made safe for attributes and columns; what had to be mended is added to a set of quality flags.

Used when an attribute is set and again when it is read, because a foreign emitter may not have mended anything.
An object of an unknown type is refused rather than turned into text: its text could be the utterance.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from itertools import islice
from math import isfinite, nan
from re import fullmatch
from typing import Any, Final, cast
from uuid import UUID

from intent_events.columns import Attribute, Kind
from intent_events.identity import derived_uuid, parse_uuid
from intent_events.semconv import MAX_STRING, Quality

MAX_ITEMS: Final = 128
"""Items that a list of verbs, reasons or names may have."""

INT32_MAX: Final = (1 << 31) - 1
"""Largest number of an ``integer`` column."""

INT64_MAX: Final = (1 << 63) - 1
"""Largest number of a ``bigint`` column."""

_TEXT_ONLY: Final[frozenset[type]] = frozenset({str})
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def text(value: object, quality: set[str], limit: int = MAX_STRING) -> str | None:
    """The value as text that Postgres and protobuf accept.

    Args:
        value: a string, an enum member, a UUID or a number; anything else is refused.
        quality: receives the flags of what had to be mended.
        limit: characters that may stay.

    Returns:
        The text without NUL and lone surrogates, or None when there is none.
    """
    if type(value) is str:
        return value if is_clean(value, limit) else _clean(value, quality, limit)
    if value is None:
        return None
    try:
        given = _spelled(value, quality)
    except Exception:  # noqa: BLE001 - an object of foreign code may raise anything when it is looked at
        given = None
    if given is None:
        quality.add(Quality.VALUE_REFUSED)
        return None
    return _clean(given, quality, limit)


def _spelled(value: object, quality: set[str]) -> str | None:
    """Text of what may be shown as text, spelled by Python's own types: those derived from them may do anything."""
    if isinstance(value, Enum) and not isinstance(value, str):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, UUID):
        return UUID.__str__(value)
    if isinstance(value, bool):
        number = str(value)
    elif isinstance(value, int):
        number = int.__repr__(value)
    elif isinstance(value, float):
        number = float.__repr__(value)
    else:
        return None
    quality.add(Quality.VALUE_MENDED)
    return number


def is_clean(given: str, limit: int = MAX_STRING) -> bool:
    """Whether a text needs no mending, as far as a quick look tells: ASCII without NUL, of at most ``limit``."""
    return len(given) <= limit and given.isascii() and "\x00" not in given


def _clean(given: str, quality: set[str], limit: int) -> str:
    if len(given) > limit:
        quality.add(Quality.VALUE_CUT)
        given = given[:limit]
    if given.isascii() and "\x00" not in given:
        return given
    clean = given.replace("\x00", "").encode("utf-8", "replace").decode()
    if clean != given:
        quality.add(Quality.VALUE_MENDED)
    return clean


def texts(value: object, quality: set[str], limit: int = MAX_ITEMS) -> list[str] | None:
    """A list of texts; items that are none become ``"?"``, so that parallel lists stay in step.

    Args:
        value: a collection of texts, or one text; an iterator is refused, since reading would use it up.
        quality: receives the flags of what had to be mended.
        limit: items that may stay.
    """
    if value is None:
        return None
    if type(value) in {list, tuple}:
        items = cast("Sequence[object]", value)
        if len(items) <= limit and are_clean(items):
            return list(cast("Sequence[str]", items))
    try:
        if isinstance(value, (str, bytes, bytearray)):
            one = text(value, quality)
            return None if one is None else [one]
        if not isinstance(value, Collection):
            quality.add(Quality.VALUE_REFUSED)
            return None
        items = list(islice(cast("Collection[object]", value), limit + 1))
    except Exception:  # noqa: BLE001 - a collection of foreign code may raise anything, as when another thread changes it
        quality.add(Quality.VALUE_REFUSED)
        return None
    if len(items) > limit:
        quality.add(Quality.VALUE_CUT)
    return [text(item, quality) or "?" for item in items[:limit]]


def are_clean(items: Sequence[object]) -> bool:
    """Whether these are texts that need no mending: one look at all of them together."""
    if not _TEXT_ONLY.issuperset(map(type, items)):  # a type derived from str could not be written as JSON
        return False
    joined = "".join(cast("Sequence[str]", items))
    short = len(joined) <= MAX_STRING or max(map(len, cast("Sequence[str]", items))) <= MAX_STRING
    return short and joined.isascii() and "\x00" not in joined


def integer(value: object, quality: set[str], most: int = INT64_MAX) -> int | None:
    """The value as a signed integer, clamped; None when it is no number.

    Args:
        value: an integer, or what ``int`` makes one of.
        quality: receives the flags of what had to be mended.
        most: largest number of the column; the smallest is as far below zero.
    """
    if value is None:
        return None
    if type(value) is int and -most <= value <= most:
        return value
    quality.add(Quality.VALUE_MENDED)
    try:
        number = int(value)  # pyright: ignore[reportArgumentType] - whether it can is what is tried
    except Exception:  # noqa: BLE001 - no number, NaN, infinity, or whatever the object of foreign code raises
        quality.add(Quality.VALUE_REFUSED)
        return None
    return min(max(number, -most), most)


def score(value: object, quality: set[str]) -> float | None:
    """The value as a finite float; None when it is none, or unknown.

    Args:
        value: a number, or what ``float`` makes one of; a text is none.
        quality: receives the flag of a score that is refused.
    """
    if value is None:
        return None
    try:
        number = nan if isinstance(value, (str, bytes, bytearray)) else float(value)  # pyright: ignore[reportArgumentType] - whether it can is what is tried
    except Exception:  # noqa: BLE001 - no number, one beyond a double, or whatever the object of foreign code raises
        number = nan
    if isfinite(number):
        return number
    quality.add(Quality.VALUE_REFUSED)
    return None


def scores(values: Sequence[object], quality: set[str]) -> Sequence[float | None]:
    """Each value as a finite float, or None where it is none; see :func:`score`."""
    if set(map(type, values)) == {float} and isfinite(sum(cast("Sequence[float]", values))):
        return cast("Sequence[float]", values)  # one look at all of them together
    return [score(value, quality) for value in values]


def each_text(values: Sequence[object], quality: set[str]) -> Sequence[str | None]:
    """Each value as text, or None where it is none; see :func:`text`."""
    return cast("Sequence[str]", values) if are_clean(values) else [text(value, quality) for value in values]


def boolean(value: object, quality: set[str]) -> bool | None:
    """The value as a bool, also of emitters that have none: ``"true"``, ``"false"``, 1 and 0; None when it is none."""
    if value is None or value is True or value is False:
        return value
    quality.add(Quality.VALUE_MENDED)
    known = _BOOLEANS.get((text(value, set()) or "").lower())
    if known is None:
        quality.add(Quality.VALUE_REFUSED)
    return known


def value(attribute: Attribute, raw: object, quality: set[str]) -> Any:
    """What an attribute stands for: str, list of str, int, bool or UUID by its kind; None when it is absent or refused.

    Args:
        attribute: what the value is of.
        raw: the value as it was recorded or received.
        quality: receives the flags of what had to be mended, and of what is missing.
    """
    if type(raw) is str:  # nearly every value is one that needs no mending
        if attribute.kind is Kind.TEXT and is_clean(raw, attribute.limit):
            return raw
        if raw in attribute.known:
            return raw
    clean = None if raw is None else _READERS[attribute.kind](attribute, raw, quality)
    if clean is None and attribute.missing is not None:
        quality.add(attribute.missing)
    return clean


def _text(attribute: Attribute, raw: object, quality: set[str]) -> str | None:
    return text(raw, quality, attribute.limit)


def _word(attribute: Attribute, raw: object, quality: set[str]) -> str | None:
    word = text(raw, quality)
    if word is None or fits(attribute.shape, word):
        return word
    quality.add(Quality.VALUE_REFUSED)
    return None


def fits(shape: str, word: str) -> bool:
    """Whether a word has the shape of an attribute as a whole."""
    return fullmatch(shape, word) is not None


def _label(attribute: Attribute, raw: object, quality: set[str]) -> str | None:
    label = text(raw, quality)
    if label is not None and label not in attribute.known:
        quality.add(attribute.odd or Quality.VALUE_MENDED)
    return label


def _uuid(attribute: Attribute, raw: object, quality: set[str]) -> UUID | None:
    parsed = parse_uuid(raw)
    if parsed is not None:
        return parsed
    foreign = text(raw, quality)
    if not foreign and attribute.kind is Kind.UUID:
        quality.add(Quality.VALUE_REFUSED)
        return None
    quality.add(attribute.odd or Quality.VALUE_MENDED)
    return derived_uuid(attribute.key, foreign) if foreign and attribute.kind is Kind.UUID else None


_READERS: Final[dict[Kind, Callable[[Attribute, object, set[str]], Any]]] = {
    Kind.TEXT: _text,
    Kind.WORD: _word,
    Kind.TEXTS: lambda _, raw, quality: texts(raw, quality),
    Kind.LABEL: _label,
    Kind.UUID: _uuid,
    Kind.STRICT_UUID: _uuid,
    Kind.INTEGER: lambda attribute, raw, quality: integer(raw, quality, attribute.limit),
    Kind.BOOLEAN: lambda _, raw, quality: boolean(raw, quality),
}


def field_of(thing: object, name: str) -> object:
    """Attribute or key of a foreign thing; None when it has none or will not tell."""
    try:
        if isinstance(thing, Mapping):
            return cast("Mapping[object, object]", thing).get(name)
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a property of foreign code may raise anything, and reading it must not hurt the host
        return None
