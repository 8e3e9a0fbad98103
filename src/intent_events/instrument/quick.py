# SPDX-License-Identifier: Apache-2.0
"""The quick way from IntentTrace to attributes, for traces that need no mending: nearly all of them.

In C where that could be built, which takes a tenth of the time; else in Python, where all values of a kind are looked
at together instead of one by one, which takes half of it. The careful way gives the same attributes; a property test
compares them.
"""

from collections.abc import Callable
from math import isfinite
from operator import attrgetter, itemgetter
from re import compile as pattern
from typing import Any, Final, cast
from uuid import UUID

from intent_events import columns, semconv
from intent_events.columns import Candidate, Kind
from intent_events.mending import MAX_ITEMS
from intent_events.native import plain_attributes
from intent_events.semconv import MAX_CANDIDATES, MAX_SPAN_BYTES, MAX_STRING, SCORES, SOURCES, TOTAL, VERBS
from intent_events.trace import TRACE_FIELDS, IntentTrace

_NAMES: Final = tuple(name for name in TRACE_FIELDS if name in columns.UTTERANCE)
_KEYS: Final = tuple(columns.UTTERANCE[name].key for name in _NAMES)
_LISTS_OF_CANDIDATES: Final = (
    *("verb_candidates_pre", "verb_candidates_post", "verb_candidates_pre_total", "verb_candidates_post_total"),
)
_values_of: Final = attrgetter(*_NAMES, *_LISTS_OF_CANDIDATES)


_Pick = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def _at(*kinds: Kind) -> tuple[int, ...]:
    return tuple(at for at, name in enumerate(_NAMES) if columns.UTTERANCE[name].kind in kinds)


def _picker(*places: int) -> _Pick:
    return itemgetter(*places)  # pyright: ignore[reportUnknownVariableType] - of more than one place it gives a tuple


_texts_in: Final = _picker(*_at(Kind.TEXT))
_lists_in: Final = _picker(*_at(Kind.TEXTS))
_flags_in: Final = _picker(*_at(Kind.BOOLEAN))
_LABELS: Final = tuple((at, _KEYS[at], columns.UTTERANCE[_NAMES[at]].known) for at in _at(Kind.LABEL))
_UUIDS: Final = tuple((at, _KEYS[at]) for at in _at(Kind.UUID, Kind.STRICT_UUID))
_WORDS: Final = tuple((at, pattern(columns.UTTERANCE[_NAMES[at]].shape).fullmatch) for at in _at(Kind.WORD))
_is_canonical: Final = pattern("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_PRE, _POST = (
    (prefix + VERBS, prefix + SCORES, prefix + SOURCES, prefix + TOTAL)
    for prefix in (semconv.CANDIDATES_PRE, semconv.CANDIDATES_POST)
)
_STR: Final = frozenset({str})
_FLAGS: Final = frozenset({bool, type(None)})
_CANDIDATE: Final = frozenset({Candidate})
_FLOAT: Final = frozenset({float})


_Field = tuple[bytes, str, Any]


def _field(name: str) -> _Field:
    """How :mod:`intent_events.native` reads the value of a field: its kind, its key, and what else the kind needs."""
    attribute = columns.UTTERANCE[name]
    kind, more = {
        Kind.TEXT: (b"t", None),
        Kind.WORD: (b"s", pattern(attribute.shape).fullmatch),
        Kind.UUID: (b"u", UUID),
        Kind.STRICT_UUID: (b"u", UUID),
        Kind.LABEL: (b"l", attribute.known),
        Kind.BOOLEAN: (b"b", None),
        Kind.TEXTS: (b"j", None),
    }[attribute.kind]
    return kind, attribute.key, more


_NO_TOTAL: Final[_Field] = (b"n", "", None)
_FIELDS: Final[tuple[_Field, ...]] = (
    *map(_field, _NAMES),
    (b"c", "", (Candidate, *_PRE)),
    (b"c", "", (Candidate, *_POST)),
    *(_NO_TOTAL, _NO_TOTAL),
)
_MOST_BYTES: Final = MAX_SPAN_BYTES // 2
_BOUNDS: Final = (MAX_STRING, MAX_ITEMS, MAX_CANDIDATES, _MOST_BYTES)


def quick_attributes_of(trace: IntentTrace) -> dict[str, Any] | None:
    """Attributes of a trace, or None when any of its values may need mending.

    Args:
        trace: what the orchestrator recorded.
    """
    try:
        if plain_attributes is None:
            return attributes_in_python(trace)
        attributes = plain_attributes(_FIELDS, _BOUNDS, _values_of(trace))
    except Exception:  # noqa: BLE001 - a UUID that was never made, or a trace of foreign code that raises when it is read
        return None
    if attributes is not None:
        attributes[semconv.RECORD_SCHEMA_VERSION] = semconv.SCHEMA_VERSION
    return attributes


def attributes_in_python(trace: IntentTrace) -> dict[str, Any] | None:
    """The same as :func:`quick_attributes_of`, without C."""
    values = _values_of(trace)
    pre, post, pre_total, post_total = values[-4:]
    if pre_total is not None or post_total is not None or not _FLAGS.issuperset(map(type, _flags_in(values))):
        return None
    attributes = {key: value for key, value in zip(_KEYS, values, strict=False) if value is not None}
    attributes[semconv.RECORD_SCHEMA_VERSION] = semconv.SCHEMA_VERSION
    texts = [text for text in _texts_in(values) if text is not None]
    fine = (
        _spell_labels(attributes, values)
        and _spell_uuids(attributes, values)
        and _are_words(values)
        and _take_lists(values, texts)
        and (pre is None or _add_candidates(attributes, _PRE, pre, texts))
        and (post is None or _add_candidates(attributes, _POST, post, texts))
        and _need_no_mending(texts)
    )
    return attributes if fine else None


def _spell_labels(attributes: dict[str, Any], values: tuple[Any, ...]) -> bool:
    """Make members of an enumeration plain texts; False when a label is none of ours."""
    for at, key, known in _LABELS:
        raw = values[at]
        if raw is not None:
            if type(raw) is not str:
                if not issubclass(type(raw), str):
                    return False
                attributes[key] = raw = str.__str__(raw)
            if raw not in known:
                return False
    return True


def _spell_uuids(attributes: dict[str, Any], values: tuple[Any, ...]) -> bool:
    for at, key in _UUIDS:
        raw = values[at]
        if raw is not None:
            if type(raw) is UUID:
                attributes[key] = str(raw)
            elif type(raw) is not str or not _is_canonical(raw):
                return False
    return True


def _are_words(values: tuple[Any, ...]) -> bool:
    """Whether words have their shapes, which are of ASCII and short."""
    for at, has_shape in _WORDS:
        raw = values[at]
        if raw is not None and (type(raw) is not str or not has_shape(raw)):
            return False
    return True


def _take_lists(values: tuple[Any, ...], texts: list[Any]) -> bool:
    for raw in _lists_in(values):
        if raw is not None:
            if type(raw) is not list or len(cast("list[object]", raw)) > MAX_ITEMS:
                return False
            texts += raw
    return True


def _add_candidates(attributes: dict[str, Any], keys: tuple[str, str, str, str], raw: object, texts: list[Any]) -> bool:
    """Add the parallel arrays of a list of candidates; False when it may need mending."""
    if type(raw) is not list or not raw:
        return False
    items = cast("list[Candidate]", raw)
    if not _CANDIDATE.issuperset(map(type, items)):
        return False
    verbs, scores, sources = zip(*items[:MAX_CANDIDATES], strict=True)
    if not (_FLOAT.issuperset(map(type, scores)) and isfinite(sum(scores))):
        return False
    verbs_key, scores_key, sources_key, total_key = keys
    attributes[verbs_key] = verbs
    attributes[scores_key] = scores
    attributes[total_key] = len(items)
    texts += verbs
    if None not in sources:
        attributes[sources_key] = sources
        texts += sources
    elif sources.count(None) != len(sources):
        return False
    return True


def _need_no_mending(texts: list[Any]) -> bool:
    """One look at all texts: ASCII without NUL, none too long, and together far within the bound of a span."""
    if not _STR.issuperset(map(type, texts)):
        return False
    joined = "".join(texts)
    if not joined.isascii() or "\x00" in joined or len(joined) > _MOST_BYTES:
        return False
    return len(joined) <= MAX_STRING or max(map(len, texts)) <= MAX_STRING
