# SPDX-License-Identifier: Apache-2.0
"""Spans of time as people type them: ``7d``, ``15m``, ``2026-11-01``, ``2026-11-01T09:30+01:00``. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from intent_events.errors import SettingsError

NOW: Final = "now"
"""The moment of asking."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([0-9]+)([smhdw])")
_MILLISECOND: Final = timedelta(milliseconds=1)
_SHOWN: Final = 40
_REMEDY: Final = "write a duration (30s, 15m, 12h, 7d, 2w), a date (2026-11-01) or a time (2026-11-01T09:30, UTC)"


class Window(BaseModel):
    """A span of time: ``since`` belongs to it, ``until`` does not. Both in UTC and in whole milliseconds."""

    model_config = ConfigDict(frozen=True)

    since: AwareDatetime
    until: AwareDatetime


def parse_duration(text: str) -> timedelta | None:
    """How long a text such as ``30s``, ``15m``, ``12h``, ``7d`` or ``2w`` says.

    Returns:
        The duration, or None when the text is no duration, is zero, or is longer than time itself.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        return None
    try:
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except (OverflowError, ValueError):  # more days than a timedelta counts, or more digits than int() reads
        return None
    return duration or None


def age(seconds: float) -> str:
    """How long ago, for people: ``12s``, ``15m``, ``3h``, ``2d``; a moment of a clock that is ahead is ``0s`` ago."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def parse_instant(text: str, now: datetime, *, name: str) -> datetime:
    """The moment that a text names: ``now``, so long before now, a date (its first moment), or a time.

    Args:
        text: ``now``, a duration, an ISO 8601 date or an ISO 8601 time; without a zone it is UTC.
        now: what durations count back from; must have a zone.
        name: the flag or variable that the text came from, for the error.

    Returns:
        The moment in UTC, rounded up to the millisecond: times of rows are whole milliseconds, so the rounding moves
        no row over the edge of a window.

    Raises:
        SettingsError: the text names no moment between the years 1 and 9999.
    """
    duration = timedelta() if text.strip().lower() == NOW else parse_duration(text)
    try:
        if duration is not None:
            return _whole(now.astimezone(UTC) - duration)
        moment = datetime.fromisoformat(text.strip())
        return _whole(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # no ISO 8601, or outside of the years that a datetime holds
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        raise SettingsError(f"{name}: {shown!r} names no moment; {_REMEDY}") from None


def window_of(since: str, until: str, now: datetime, *, since_name: str, until_name: str) -> Window:
    """The window from one moment to another.

    Args:
        since: first moment of the window, as :func:`parse_instant` reads it.
        until: first moment after it, read alike.
        now: what durations count back from; must have a zone.
        since_name: the flag or variable that ``since`` came from, for the error.
        until_name: the same for ``until``.

    Raises:
        SettingsError: a text names no moment, or the window would be empty.
    """
    start = parse_instant(since, now, name=since_name)
    end = parse_instant(until, now, name=until_name)
    if start >= end:
        raise SettingsError(
            f"{since_name} {start:%Y-%m-%d %H:%M:%S} UTC is not before {until_name} {end:%Y-%m-%d %H:%M:%S} UTC; "
            "the window would be empty"
        )
    return Window(since=start, until=end)


def _whole(moment: datetime) -> datetime:
    rest = timedelta(microseconds=moment.microsecond % 1000)
    return moment + (_MILLISECOND - rest) if rest else moment
