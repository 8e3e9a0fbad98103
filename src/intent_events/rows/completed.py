# SPDX-License-Identifier: Apache-2.0
"""What stands for values that are missing or of another form, so that such records go the quick way too.

Whole services never name a session, have ids of their own form, or labels that this version does not know: that is no
fault of a record, and must not make each of them cost ten times as much. ``row_of`` does the same, value by value.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from intent_events import columns, semconv
from intent_events.columns import Kind
from intent_events.identity import derived_uuid, event_id_of, parse_uuid, spelled
from intent_events.mending import is_clean
from intent_events.rows.known import KNOWN, Ended
from intent_events.semconv import Quality

_UNKNOWN: Final = "unknown"
"""Stands in a required column for what the emitter did not say; a quality flag says so too."""

REQUIRED: Final[dict[str, Any]] = {
    "schema_version": semconv.SCHEMA_VERSION,
    "synthetic": False,
    "macro_semreg_checked": False,
    "actor_id": _UNKNOWN,
    "entrypoint": _UNKNOWN,
    "utterance_hash": _UNKNOWN,
    "semreg_mode": _UNKNOWN,
    "outcome": _UNKNOWN,
    "kind": _UNKNOWN,
}
"""What required columns hold when the emitter says nothing."""

_FIRST: Final = len(Ended._fields)
_AT: Final = {key: _FIRST + place for place, key in enumerate(KNOWN)}
_EVENT_ID: Final = _AT[semconv.EVENT_ID]
_SESSION: Final = _AT[semconv.SESSION_ID]
_OF_UTTERANCE: Final = tuple(columns.UTTERANCE.items())
_MISSING: Final = tuple((_AT[of.key], of.missing, REQUIRED.get(column)) for column, of in _OF_UTTERANCE if of.missing)
_LABELS: Final = tuple((_AT[of.key], of.odd, of.known) for _, of in _OF_UTTERANCE if of.kind is Kind.LABEL)
_IDS: Final = tuple((_AT[of.key], of.odd, of.key) for _, of in _OF_UTTERANCE if of.kind is Kind.UUID)
_CANONICAL: Final = 36


def completed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of an utterance, of which none that is required is missing any more.

    Args:
        values: what an :class:`Ended` has, then values of the types and in the order of :data:`KNOWN`.

    Returns:
        The same with what had to be put in, its flags among those of the emitter.
    """
    whole = list(values)
    flags: list[str | None] = [odd for at, odd, known in _LABELS if whole[at] not in {None, *known}]
    flags += _with_ids(whole)
    flags += _with_defaults(whole)
    if flags:
        whole[-1] = (*(whole[-1] or ()), *map(str.__str__, filter(None, flags)))
    return tuple(whole)


def _with_ids(whole: list[Any]) -> Iterator[str | None]:
    """Put UUIDs in the place of ids of another form."""
    for at, odd, key in _IDS:
        if not _is_sound(whole[at]) and is_clean(whole[at]):
            whole[at], is_derived = _standing_for(key, whole[at])
            if is_derived:
                yield odd


def _with_defaults(whole: list[Any]) -> Iterator[str | None]:
    """Put in what is required and missing."""
    for at, missing, default in _MISSING:
        if whole[at] is None:
            whole[at] = default
            yield missing
    trace_id, span_id, start_ns = whole[:3]
    if whole[_EVENT_ID] is None:
        own = event_id_of(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), start_ns)
        whole[_EVENT_ID] = spelled(own)
        yield Quality.EVENT_ID_DERIVED
    if whole[_SESSION] is None:
        whole[_SESSION] = spelled(derived_uuid(semconv.SESSION_ID, trace_id.hex()))


def _is_sound(given: str | None) -> bool:
    """Whether an id is absent, or looks like the canonical spelling of a UUID; if it is none the row is not taken."""
    return given is None or (len(given) == _CANONICAL and given.islower())


@lru_cache(maxsize=4096)  # sessions and subjects recur from record to record
def _standing_for(key: str, given: str) -> tuple[str, bool]:
    """The canonical spelling of an id, or of what stands for one that is no UUID; whether it is the latter."""
    parsed = parse_uuid(given)
    if parsed is None and given:
        return spelled(derived_uuid(key, given)), True
    return given if parsed is None else spelled(parsed), False
