# SPDX-License-Identifier: Apache-2.0
"""IntentTrace -> span attributes. Pure; the only code that writes ``intent.*``, together with its follow-ups."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast
from uuid import UUID

from intent_events import columns, semconv
from intent_events.columns import Candidate
from intent_events.instrument.quick import quick_attributes_of
from intent_events.mending import are_clean, each_text, field_of, integer, scores, text, value
from intent_events.privacy import TextRecord
from intent_events.semconv import MAX_CANDIDATES, MAX_SPAN_BYTES, SCORES, SOURCES, TOTAL, VERBS, Quality
from intent_events.trace import TRACE_FIELDS, IntentTrace

_FIELDS: Final = tuple((name, columns.UTTERANCE[name]) for name in TRACE_FIELDS if name in columns.UTTERANCE)
_HEAVIEST_FIRST: Final = (
    semconv.CANDIDATES_PRE + SOURCES,
    semconv.CANDIDATES_POST + SOURCES,
    semconv.SEMREG_DENIED_REASONS,
    semconv.MACRO_DENIED_VERBS,
    semconv.MISSING_ARGS,
    semconv.SEMREG_DENIED_VERBS,
)
_TEXT_LISTS: Final = (*_HEAVIEST_FIRST, semconv.CANDIDATES_PRE + VERBS, semconv.CANDIDATES_POST + VERBS)
_BYTES_A_CHARACTER: Final = 4
_MOST_BYTES: Final = MAX_SPAN_BYTES - 4096
"""Bytes that the texts of a trace may have; the rest is room for keys, numbers, fingerprints and what is set last."""
_SINGLE_TEXTS: Final = len(columns.UTTERANCE) * semconv.MAX_STRING
"""Characters that all single texts of a record have at the most."""


def attributes_of(trace: IntentTrace, kept: TextRecord | None) -> dict[str, Any]:
    """Attributes of the span of an utterance, without the three that are set last.

    Args:
        trace: what the orchestrator recorded.
        kept: what may be kept of the utterance; None when the handler has no text.

    Returns:
        Attribute values of the types that every SDK accepts: str, bool, int, and lists of str or float.
    """
    attributes = quick_attributes_of(trace)
    if attributes is None:
        attributes = careful_attributes_of(trace)
    if kept is not None:
        add_text(attributes, kept)
    return attributes


def careful_attributes_of(trace: IntentTrace) -> dict[str, Any]:
    """Attributes of a trace whose values may be anything: each is mended on its own, and ``quality`` says so."""
    quality: set[str] = set()
    attributes: dict[str, Any] = {semconv.RECORD_SCHEMA_VERSION: semconv.SCHEMA_VERSION}
    for name, attribute in _FIELDS:
        raw = getattr(trace, name)
        clean = None if raw is None else value(attribute, raw, quality)
        if clean is not None:
            attributes[attribute.key] = str(clean) if type(clean) is UUID else clean
    _add_candidates(
        attributes, semconv.CANDIDATES_PRE, trace.verb_candidates_pre, trace.verb_candidates_pre_total, quality
    )
    _add_candidates(
        attributes, semconv.CANDIDATES_POST, trace.verb_candidates_post, trace.verb_candidates_post_total, quality
    )
    _keep_within_bounds(attributes, quality)
    if quality:
        attributes[semconv.QUALITY] = [str(flag) for flag in sorted(quality)]
    return attributes


def add_text(attributes: dict[str, Any], kept: TextRecord) -> None:
    """Add what may be kept of an utterance."""
    text_hash, key_id, template_hash, preview = kept
    attributes[semconv.UTTERANCE_HASH] = text_hash
    attributes[semconv.UTTERANCE_TEMPLATE_HASH] = template_hash
    if key_id is not None:
        attributes[semconv.UTTERANCE_HASH_KEY_ID] = key_id
    if preview is not None:
        attributes[semconv.UTTERANCE_PREVIEW] = preview


def _add_candidates(
    attributes: dict[str, Any], prefix: str, candidates: object, total: object, quality: set[str]
) -> None:
    """Parallel arrays: every SDK can send them, and a length limit cannot break them."""
    if candidates is None:
        counted = integer(total, quality)
        if counted is not None:
            attributes[prefix + TOTAL] = max(counted, 0)
        return
    try:
        items, length = _first(candidates)
        verbs, points, sources = _columns_of(items, quality)
    except Exception:  # noqa: BLE001 - no collection, or one of foreign code, which may raise anything when it is read
        quality.add(Quality.VALUE_REFUSED)
        return
    attributes[prefix + VERBS] = verbs
    attributes[prefix + TOTAL] = length if total is None else max(integer(total, quality) or 0, length)
    if items and None not in points:
        attributes[prefix + SCORES] = points
    if items and None not in sources:
        attributes[prefix + SOURCES] = sources


def _first(candidates: object) -> tuple[list[object], int]:
    """The candidates that are kept, and how many there are."""
    if not isinstance(candidates, Collection) or isinstance(candidates, (str, bytes, bytearray, Mapping)):
        raise TypeError
    given = cast("Collection[object]", candidates)
    items = list(islice(given, MAX_CANDIDATES))
    return items, max(len(given), len(items))


def _columns_of(
    items: Sequence[object], quality: set[str]
) -> tuple[list[str], Sequence[float | None], Sequence[str | None]]:
    parts = items if set(map(type, items)) == {Candidate} else [_parts(item) for item in items]
    columns_ = zip(*cast("Sequence[tuple[object, object, object]]", parts), strict=True)
    verbs, points, sources = map(list, columns_) if parts else ([], [], [])
    names = cast("list[str]", verbs) if are_clean(verbs) else [text(verb, quality) or "?" for verb in verbs]
    return names, scores(points, quality), each_text(sources, quality)


def _parts(item: object) -> tuple[object, object, object]:
    if isinstance(item, Candidate):
        return item
    if isinstance(item, str):
        return item, None, None
    if type(item) in {tuple, list}:
        padded = (*cast("Sequence[object]", item), None, None, None)
        return padded[0], padded[1], padded[2]
    return field_of(item, "verb"), field_of(item, "score"), field_of(item, "source")


def _keep_within_bounds(attributes: dict[str, Any], quality: set[str]) -> None:
    """Leave out the heaviest lists when the record could be over 64 KiB."""
    if _characters(attributes) * _BYTES_A_CHARACTER <= _MOST_BYTES:
        return
    for key in _HEAVIEST_FIRST:
        if _weight(attributes) <= _MOST_BYTES:
            return
        if attributes.pop(key, None) is not None:
            quality.add(Quality.VALUE_CUT)


def _characters(attributes: dict[str, Any]) -> int:
    lists = ("".join(attributes[key]) for key in _TEXT_LISTS if key in attributes)
    return _SINGLE_TEXTS + sum(map(len, lists))


def _weight(attributes: dict[str, Any]) -> int:
    texts = [item for item in attributes.values() if type(item) is str]
    lists = ("".join(attributes[key]) for key in _TEXT_LISTS if key in attributes)
    return sum(len(text.encode()) for text in (*texts, *lists))
