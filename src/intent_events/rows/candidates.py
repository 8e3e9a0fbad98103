# SPDX-License-Identifier: Apache-2.0
"""Candidate lists in every form that an emitter may send them: parallel arrays, an array of maps, or a JSON string."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from intent_events.columns import Candidate
from intent_events.mending import INT32_MAX, each_text, field_of, integer, score, scores, text, texts
from intent_events.semconv import (
    CANDIDATES_POST,
    CANDIDATES_PRE,
    MAX_CANDIDATES,
    SCORES,
    SOURCES,
    TOTAL,
    VERBS,
    Quality,
)

_Lists = tuple[list[Candidate] | None, int | None, list[Candidate] | None, int | None]
_KEYS: Final = tuple(
    (prefix, prefix + VERBS, prefix + SCORES, prefix + SOURCES, prefix + TOTAL)
    for prefix in (CANDIDATES_PRE, CANDIDATES_POST)
)


def candidates_of(attributes: Mapping[str, Any], quality: set[str]) -> _Lists:
    """Candidates before policy, how many there were, candidates after policy, and how many there were.

    A list is None when the emitter sent none, which is not the same as an empty one: policy may have left nothing.

    Args:
        attributes: attributes of the span.
        quality: receives the flags of what had to be mended.
    """
    (pre, pre_total), (post, post_total) = (_read(attributes, keys, quality) for keys in _KEYS)
    return pre, pre_total, post, post_total


def _read(
    attributes: Mapping[str, Any], keys: tuple[str, str, str, str, str], quality: set[str]
) -> tuple[list[Candidate] | None, int | None]:
    prefix, verbs_key, scores_key, sources_key, total_key = keys
    verbs = attributes.get(verbs_key)
    if verbs is None:
        maps = _maps(attributes.get(prefix), quality)
        if maps is None:
            return None, integer(attributes.get(total_key), quality, INT32_MAX)
        items = [_of_map(item, quality) for item in maps[:MAX_CANDIDATES]]
        length = len(maps)
    else:
        names = texts(verbs, quality, MAX_CANDIDATES) or []
        length = len(cast("Sequence[object]", verbs)) if isinstance(verbs, (list, tuple)) else len(names)
        points = scores(_parallel(attributes.get(scores_key), length, quality))
        sources = each_text(_parallel(attributes.get(sources_key), length, quality), quality)
        items = list(map(Candidate, names, points or _nothing(names), sources or _nothing(names)))
    total = integer(attributes.get(total_key), quality, INT32_MAX)
    return items, max(length, total or 0)


def _nothing(names: list[str]) -> list[None]:
    return [None] * len(names)


def _parallel(values: object, length: int, quality: set[str]) -> Sequence[object]:
    """A list that is in step with the verbs, or nothing: out of step, it would give verbs the scores of others."""
    if values is None:
        return ()
    items = cast("Sequence[object]", values) if isinstance(values, (list, tuple)) else ()
    if len(items) != length:
        quality.add(Quality.CANDIDATES_MISMATCH)
        return ()
    return items[:MAX_CANDIDATES]


def _maps(value: object, quality: set[str]) -> Sequence[object] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # no JSON, as after a length limit cut it, or nested beyond reading
            quality.add(Quality.VALUE_REFUSED)
            return None
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        quality.add(Quality.VALUE_REFUSED)
        return None
    return cast("Sequence[object]", value)


def _of_map(item: object, quality: set[str]) -> Candidate:
    if isinstance(item, (str, int, float)):
        return Candidate(text(item, quality) or "?")
    verb = text(field_of(item, "verb"), quality)
    if verb is None:
        quality.add(Quality.CANDIDATES_MISMATCH)
    return Candidate(verb or "?", score(field_of(item, "score")), text(field_of(item, "source"), quality))
