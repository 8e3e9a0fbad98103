# SPDX-License-Identifier: Apache-2.0
"""Keys that every door, retry and replay derives alike: pure functions of the span."""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, cast
from uuid import UUID, uuid5

from intent_events.native import spell_uuid

NAMESPACE: Final = UUID("5f0ce84c-8d4c-5c4b-9d5a-6f0d3a1c2b77")
"""Namespace of the UUIDv5 that stands for an id which is no UUID."""

MAX_MS: Final = (1 << 48) - 1
"""Largest millisecond that a UUIDv7 can hold (year 10889)."""

_LONGEST_UUID: Final = len("urn:uuid:{00000000-0000-0000-0000-000000000000}")
_TRACE_ID: Final = (1 << 128) - 1
_SPAN_ID: Final = (1 << 64) - 1
_RANDOM_MASK: Final = (0xFFF << 64) | ((1 << 62) - 1)
_VERSION_AND_VARIANT: Final = (7 << 76) | (0b10 << 62)


def event_id_of(trace_id: int, span_id: int, start_ns: int) -> UUID:
    """UUIDv7 of a span: 48 bits of its start in milliseconds, the rest from a hash of its ids.

    Args:
        trace_id: 128-bit trace id.
        span_id: 64-bit span id.
        start_ns: start of the span, nanoseconds since 1970; times outside of 48 bits of milliseconds are clamped.
    """
    ms = start_ns // 1_000_000
    if not 0 <= ms <= MAX_MS:
        ms = min(max(ms, 0), MAX_MS)
    raw = ((trace_id & _TRACE_ID) << 64 | span_id & _SPAN_ID).to_bytes(24, "big")
    digest = int.from_bytes(blake2b(raw, digest_size=10).digest(), "big")
    return UUID(int=(ms << 80) | _VERSION_AND_VARIANT | (digest & _RANDOM_MASK))


spelled: Final[Callable[[UUID], str]] = str if spell_uuid is None else spell_uuid
"""The canonical spelling of a UUID, as ``str`` gives it, in a fifth of the time where the C code is built."""


def milliseconds_in(event_id: UUID) -> int:
    """Milliseconds since 1970 inside a UUIDv7; ``ts`` of a row is exactly this."""
    return event_id.int >> 80


def is_uuid7(value: UUID) -> bool:
    """Whether the value is a UUID of version 7 and the RFC 9562 variant."""
    return (value.int >> 76) & 0xF == 7 and (value.int >> 62) & 0b11 == 0b10  # noqa: PLR2004 - the version itself


def parse_uuid(value: object) -> UUID | None:
    """The UUID that a value is or spells, or None."""
    kind = type(value)
    if issubclass(kind, str):
        spelled = str.__str__(cast("str", value))
        return _spelled(spelled) if len(spelled) <= _LONGEST_UUID else None
    if not issubclass(kind, UUID):
        return None
    given = cast("UUID", value)
    try:
        number = given.int
    except AttributeError:  # one that was never made, as by UUID.__new__ alone
        return None
    return given if kind is UUID else UUID(int=number)


@lru_cache(maxsize=4096)  # emitters and sessions recur from record to record
def _spelled(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:  # no UUID in any of its spellings
        return None


def derived_uuid(kind: str, value: str) -> UUID:
    """UUIDv5 that stands for an id which is no UUID.

    Args:
        kind: attribute key of the id, so that equal texts of two kinds stay apart.
        value: the foreign id.
    """
    return uuid5(NAMESPACE, f"{kind}:{value}")
