# SPDX-License-Identifier: Apache-2.0
"""Candidate lists in every form that an emitter may send them: parallel arrays, an array of maps, or a JSON string."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from intent_events.mending import INT32_MAX, each_text, field_of, integer, score, scores, text, texts
from intent_events.rows.shapes import CandidateItem
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

_Lists = tuple[list[CandidateItem] | None, int | None, list[CandidateItem] | None, int | None]
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
) -> tuple[list[CandidateItem] | None, int | None]:
    prefix, verbs_key, scores_key, sources_key, total_key = keys
    counted = integer(attributes.get(total_key), quality, INT32_MAX)
    total = None if counted is None else max(counted, 0)
    verbs = attributes.get(verbs_key)
    if verbs is None:
        maps = _maps(attributes.get(prefix), quality)
        if maps is None:
            return None, total
        items: list[CandidateItem] = [_of_map(item, quality) for item in maps[:MAX_CANDIDATES]]
        length = len(maps)
    else:
        listed = _listed(verbs)
        names = texts(verbs if listed is None else listed, quality, MAX_CANDIDATES)
        if names is None:
            return None, total
        length = len(names if listed is None else listed)
        points = scores(_parallel(attributes.get(scores_key), length, quality), quality)
        sources = each_text(_parallel(attributes.get(sources_key), length, quality), quality)
        items = list(map(CandidateItem, names, points or _nothing(names), sources or _nothing(names)))
    return items, max(length, total or 0)


def _nothing(names: list[str]) -> list[None]:
    return [None] * len(names)


def _parallel(values: object, length: int, quality: set[str]) -> Sequence[object]:
    """A list that is in step with the verbs, or nothing: out of step, it would give verbs the scores of others."""
    if values is None:
        return ()
    items = _listed(values)
    if items is None or len(items) != length:
        quality.add(Quality.CANDIDATES_MISMATCH)
        return ()
    return items[:MAX_CANDIDATES]


def _listed(value: object) -> Sequence[object] | None:
    """The value when it is a list or tuple; one of a type derived from these is copied, since that may do anything."""
    kind = type(value)
    if kind is list or kind is tuple:
        return cast("Sequence[object]", value)
    if not issubclass(kind, (list, tuple)):
        return None
    own: Any = list if issubclass(kind, list) else tuple
    return own.__getitem__(value, slice(None))


def _maps(value: object, quality: set[str]) -> Sequence[object] | None:
    if issubclass(type(value), str):
        try:
            value = json.loads(str.__str__(cast("str", value)))
        except (ValueError, RecursionError):  # no JSON, as after a length limit cut it, or nested beyond reading
            quality.add(Quality.VALUE_REFUSED)
            return None
    if value is None:
        return None
    items = _listed(value)
    if items is None:
        quality.add(Quality.VALUE_REFUSED)
    return items


def _of_map(item: object, quality: set[str]) -> CandidateItem:
    if issubclass(type(item), (str, int, float)):
        return CandidateItem(text(item, quality) or "?")
    verb = text(field_of(item, "verb"), quality)
    if verb is None:
        quality.add(Quality.CANDIDATES_MISMATCH)
    source = text(field_of(item, "source"), quality)
    return CandidateItem(verb or "?", score(field_of(item, "score"), quality), source)
