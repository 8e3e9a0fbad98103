# SPDX-License-Identifier: Apache-2.0
"""Values made safe for attributes and columns; what had to be mended is added to a set of quality flags.

Used when an attribute is set and again when it is read, because a foreign emitter may not have mended anything.
An object of an unknown type is refused rather than turned into text: its text could be the utterance.
"""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from math import isfinite
from typing import Any, Final
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


def text(value: object, quality: set[str], limit: int = MAX_STRING) -> str | None:
    """The value as text that Postgres and protobuf accept.

    Args:
        value: a string, an enum member, a UUID or a number; anything else is refused.
        quality: receives the flags of what had to be mended.
        limit: characters that may stay.

    Returns:
        The text without NUL and lone surrogates, or None when there is none.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return None
    if isinstance(value, str):
        return _clean(str.__str__(value), quality, limit)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (bool, int, float)):
        quality.add(Quality.VALUE_MENDED)
        return str(value)
    quality.add(Quality.VALUE_REFUSED)
    return None


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
    if isinstance(value, (str, bytes)):
        one = text(value, quality)
        return None if one is None else [one]
    if not isinstance(value, Collection):
        quality.add(Quality.VALUE_REFUSED)
        return None
    items: list[str] = []
    for item in value:  # pyright: ignore[reportUnknownVariableType] - a foreign list holds anything
        if len(items) == limit:
            quality.add(Quality.VALUE_CUT)
            break
        if type(item) is str and len(item) <= MAX_STRING and item.isascii() and "\x00" not in item:  # pyright: ignore[reportUnknownArgumentType] - str by the test before
            items.append(item)
        else:
            items.append(text(item, quality) or "?")  # pyright: ignore[reportUnknownArgumentType] - any object may come
    return items


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
    except (TypeError, ValueError, OverflowError):  # no number, NaN, or infinity
        quality.add(Quality.VALUE_REFUSED)
        return None
    return min(max(number, -most), most)


def score(value: object) -> float | None:
    """The value as a finite float, or None when it is none."""
    if type(value) is float:
        return value if isfinite(value) else None
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        number = float(value)  # pyright: ignore[reportArgumentType] - whether it can is what is tried
    except (TypeError, ValueError, OverflowError):  # no number, or one beyond a double
        return None
    return number if isfinite(number) else None


def boolean(value: object, quality: set[str]) -> bool | None:
    """The value as a bool: ``"true"`` and ``"false"`` of emitters without booleans count; None when it is none."""
    if value is None or isinstance(value, bool):
        return value
    quality.add(Quality.VALUE_MENDED)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, int) and value in {0, 1}:
        return value == 1
    quality.add(Quality.VALUE_REFUSED)
    return None


def value(attribute: Attribute, raw: object, quality: set[str]) -> Any:
    """What an attribute stands for: str, list of str, int, bool or UUID by its kind; None when it is absent or refused.

    Args:
        attribute: what the value is of.
        raw: the value as it was recorded or received.
        quality: receives the flags of what had to be mended, and of what is missing.
    """
    clean = None if raw is None else _READERS[attribute.kind](attribute, raw, quality)
    if clean is None and attribute.missing is not None:
        quality.add(attribute.missing)
    return clean


def _text(attribute: Attribute, raw: object, quality: set[str]) -> str | None:
    return text(raw, quality, attribute.limit)


def _label(attribute: Attribute, raw: object, quality: set[str]) -> str | None:
    label = text(raw, quality)
    if label is not None and label not in attribute.known and attribute.odd is not None:
        quality.add(attribute.odd)
    return label


def _uuid(attribute: Attribute, raw: object, quality: set[str]) -> UUID | None:
    parsed = parse_uuid(raw)
    if parsed is not None:
        return parsed
    foreign = text(raw, quality)
    if attribute.odd is not None:
        quality.add(attribute.odd)
    if not foreign or attribute.kind is Kind.STRICT_UUID:
        return None
    return derived_uuid(attribute.key, foreign)


_READERS: Final[dict[Kind, Callable[[Attribute, object, set[str]], Any]]] = {
    Kind.TEXT: _text,
    Kind.TEXTS: lambda _, raw, quality: texts(raw, quality),
    Kind.LABEL: _label,
    Kind.UUID: _uuid,
    Kind.STRICT_UUID: _uuid,
    Kind.INTEGER: lambda attribute, raw, quality: integer(raw, quality, attribute.limit),
    Kind.BOOLEAN: lambda _, raw, quality: boolean(raw, quality),
}


def field_of(thing: object, name: str) -> object:
    """Attribute or key of a foreign thing; None when it has none or will not tell."""
    if isinstance(thing, Mapping):
        return thing.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - a foreign mapping holds anything
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a property of foreign code may raise anything, and reading it must not hurt the host
        return None
