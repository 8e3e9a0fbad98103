# SPDX-License-Identifier: Apache-2.0
"""IntentTrace -> span attributes. Pure; the only code that writes ``intent.*``, together with its follow-ups."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast
from uuid import UUID

from intent_events import columns, semconv
from intent_events.columns import Attribute, Candidate
from intent_events.mending import field_of, integer, score, text, value
from intent_events.privacy import TextRecord
from intent_events.semconv import MAX_CANDIDATES, MAX_SPAN_BYTES, SCORES, SOURCES, TOTAL, VERBS, Quality
from intent_events.trace import TRACE_FIELDS, IntentTrace

_FIELDS: Final[tuple[tuple[str, Attribute], ...]] = tuple(
    (name, columns.UTTERANCE[name]) for name in TRACE_FIELDS if name in columns.UTTERANCE
)
_HEAVIEST_FIRST: Final = (
    semconv.CANDIDATES_PRE + SOURCES,
    semconv.CANDIDATES_POST + SOURCES,
    semconv.SEMREG_DENIED_REASONS,
    semconv.MACRO_DENIED_VERBS,
    semconv.MISSING_ARGS,
    semconv.SEMREG_DENIED_VERBS,
)
_BYTES_A_CHARACTER: Final = 4


def attributes_of(trace: IntentTrace, kept: TextRecord | None) -> dict[str, Any]:
    """Attributes of the span of an utterance, without the three that are set last.

    Args:
        trace: what the orchestrator recorded.
        kept: what may be kept of the utterance; None when the handler has no text.

    Returns:
        Attribute values of the types that every SDK accepts: str, bool, int, and lists of str or float.
    """
    quality: set[str] = set()
    attributes: dict[str, Any] = {semconv.RECORD_SCHEMA_VERSION: semconv.SCHEMA_VERSION}
    for name, attribute in _FIELDS:
        raw = getattr(trace, name)
        if raw is None:
            continue
        clean = value(attribute, raw, quality)
        if clean is not None:
            attributes[attribute.key] = str(clean) if type(clean) is UUID else clean
    if kept is not None:
        attributes.update(text_attributes(kept))
    _add_candidates(
        attributes, semconv.CANDIDATES_PRE, trace.verb_candidates_pre, trace.verb_candidates_pre_total, quality
    )
    _add_candidates(
        attributes, semconv.CANDIDATES_POST, trace.verb_candidates_post, trace.verb_candidates_post_total, quality
    )
    _keep_within_bounds(attributes, quality)
    if quality:
        attributes[semconv.QUALITY] = sorted(quality)
    return attributes


def text_attributes(kept: TextRecord) -> dict[str, str]:
    """Attributes of what may be kept of an utterance."""
    attributes = {semconv.UTTERANCE_HASH: kept.hash, semconv.UTTERANCE_TEMPLATE_HASH: kept.template_hash}
    if kept.key_id is not None:
        attributes[semconv.UTTERANCE_HASH_KEY_ID] = kept.key_id
    if kept.preview is not None:
        attributes[semconv.UTTERANCE_PREVIEW] = kept.preview
    return attributes


def _add_candidates(
    attributes: dict[str, Any], prefix: str, candidates: object, total: object, quality: set[str]
) -> None:
    """Parallel arrays: every SDK can send them, and a length limit cannot break them."""
    if candidates is None:
        return
    if not isinstance(candidates, Collection) or isinstance(candidates, (str, bytes, Mapping)):
        quality.add(Quality.VALUE_REFUSED)
        return
    verbs: list[str] = []
    scores: list[float | None] = []
    sources: list[str | None] = []
    for item in candidates:  # pyright: ignore[reportUnknownVariableType] - a foreign list holds anything
        if len(verbs) == MAX_CANDIDATES:
            break
        verb, points, source = _parts(item)  # pyright: ignore[reportUnknownArgumentType] - any object may come
        verbs.append(text(verb, quality) or "?")
        scores.append(score(points))
        sources.append(text(source, quality))
    attributes[prefix + VERBS] = verbs
    length = len(candidates)  # pyright: ignore[reportUnknownArgumentType] - a foreign list holds anything
    attributes[prefix + TOTAL] = max(integer(total, quality) or 0, length)
    if verbs and None not in scores:
        attributes[prefix + SCORES] = scores
    if verbs and None not in sources:
        attributes[prefix + SOURCES] = sources


def _parts(item: object) -> tuple[object, object, object]:
    if isinstance(item, Candidate):
        return item
    if isinstance(item, str):
        return item, None, None
    if isinstance(item, (tuple, list)):
        padded = (*cast("Sequence[object]", item), None, None, None)
        return padded[0], padded[1], padded[2]
    return field_of(item, "verb"), field_of(item, "score"), field_of(item, "source")


def _keep_within_bounds(attributes: dict[str, Any], quality: set[str]) -> None:
    """Leave out the heaviest lists when the record could be over 64 KiB; short lists cannot be, and are not weighed."""
    lists = [cast("list[object]", item) for item in attributes.values() if type(item) is list]
    if sum(map(len, lists)) < _SURELY_WITHIN:
        return
    for key in _HEAVIEST_FIRST:
        if _weight(attributes) <= MAX_SPAN_BYTES:
            return
        if attributes.pop(key, None) is not None:
            quality.add(Quality.VALUE_CUT)


_SURELY_WITHIN: Final = MAX_SPAN_BYTES // (_BYTES_A_CHARACTER * semconv.MAX_STRING) - len(columns.UTTERANCE) // 2
"""List items that fit the bound whatever their characters are, beside the single texts."""


def _weight(attributes: dict[str, Any]) -> int:
    weight = 0
    for item in attributes.values():
        texts = cast("list[object]", item) if type(item) is list else [cast("object", item)]
        weight += sum(len(part.encode()) for part in texts if isinstance(part, str))
    return weight
