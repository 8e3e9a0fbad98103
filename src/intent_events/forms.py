# SPDX-License-Identifier: Apache-2.0
"""How durations, sizes and lists are spelled in a variable, and what to say to whoever spelled one otherwise."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_CENTURY_S: Final = 36_525 * 86_400
_MOST_BYTES: Final = 1 << 50
_SIZES: Final = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE: Final = re.compile(r"(\d+) ?(B|KB|MB|GB|)")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(value: object) -> object:
    """Seconds that a duration such as ``30s``, ``15m`` or ``7d`` spells; numbers pass to the next check.

    A number as a text is none: whoever writes 200 may mean milliseconds. Zero is the same in every unit.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    match = _DURATION.fullmatch("0s" if text == "0" else text)
    if match is None:
        raise ValueError
    return float(match[1]) * _UNITS[match[2]]


def _size(value: object) -> object:
    """Bytes that a size such as ``64MB`` or ``2GB`` spells (powers of 1024); numbers pass to the next check."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip().upper())
    if match is None:
        raise ValueError
    return int(match[1]) * _SIZES[match[2]]


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(item for item in re.split(r"[,\s]+", value) if item)
    return value


def _paths(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return (value,) if isinstance(value, Path) else value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=_CENTURY_S, allow_inf_nan=False)]
Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_paths)]
Bytes = Annotated[int, BeforeValidator(_size), Field(gt=0, le=_MOST_BYTES)]
Port = Annotated[int, Field(ge=0, le=65535)]

_NO_UNITS: Final[Mapping[str, float]] = {}
_FORMS: Final[Mapping[Any, str]] = {int: "a whole number", bool: "true or false"}
_SPELLED: Final[Mapping[Any, tuple[str, Mapping[str, float]]]] = {
    seconds: ("200ms, 30s or 15m", _UNITS),
    _size: ("64MB or 1GB", _SIZES),
}
_LIMITS: Final = {
    "ge": "at least {}",
    "le": "at most {}",
    "min_length": "at least {} characters",
    "max_length": "at most {} characters",
}
_OF_ALL: Final = (0, _CENTURY_S, _MOST_BYTES)  # of every duration and every size: nobody runs into them but by a slip


def form_of(field: FieldInfo) -> str:
    """What may be written into the variable of a setting, and within which limits."""
    kinds, units, limits = get_args(field.annotation), _NO_UNITS, list[str]()
    form = next((_FORMS[kind] for kind in (field.annotation, *kinds) if kind in _FORMS), "")
    if get_origin(field.annotation) is Literal:
        form = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
    for rule in field.metadata:
        form, units = _SPELLED.get(getattr(rule, "func", None), (form, units))
        for limit, words in _LIMITS.items():
            bound = getattr(rule, limit, None)
            if bound is not None and not (units and bound in _OF_ALL):
                limits.append(words.format(_in_units(bound, units)))
    return ", ".join(filter(None, (form, " and ".join(limits))))


def _in_units(n: float, units: Mapping[str, float]) -> str:
    fewest, unit = min(((n / length, unit) for unit, length in units.items() if n % length == 0), default=(n, ""))
    return f"{fewest:.0f}{unit}"
