# SPDX-License-Identifier: Apache-2.0
"""The form of an utterance on the quick way: what its span has, then its values, of types that need no mending.

The types are made from the one table of columns, and msgspec reads all values of a span at once by them, in a sixth of
the time that a look at each takes. Whatever does not fit goes the careful way.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Optional

import msgspec

from intent_events import columns, semconv
from intent_events.columns import Attribute, Kind
from intent_events.mending import INT32_MAX, MAX_ITEMS
from intent_events.semconv import CANDIDATES_POST, CANDIDATES_PRE, MAX_STRING, SCORES, SOURCES, TOTAL, VERBS


class Ended(NamedTuple):
    """What a row has of the span itself.

    Attributes:
        trace_id: 16 bytes.
        span_id: 8 bytes.
        start_ns: start, nanoseconds since 1970.
        end_ns: end, nanoseconds since 1970.
        sampled: whether the trace goes to the backend.
        service_name: ``service.name`` of the resource.
        dropped_attributes: attributes that the SDK dropped.
    """

    trace_id: bytes
    span_id: bytes
    start_ns: int
    end_ns: int
    sampled: bool | None
    service_name: str | None
    dropped_attributes: int


_PLAIN: Final = frozenset({str, bool, int, float, tuple, list, type(None)})
_Texts = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=MAX_STRING)], ...], msgspec.Meta(max_length=MAX_ITEMS)
]  # fmt: skip
_LISTED: Final[dict[str, Any]] = {
    "": None,
    VERBS: _Texts,
    SCORES: tuple[float, ...],
    SOURCES: _Texts,
    TOTAL: Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)],
}


def _type_of(attribute: Attribute, *, any_label: bool) -> Any:
    if attribute.key == semconv.RECORD_SCHEMA_VERSION:
        return Literal[semconv.SCHEMA_VERSION]
    if attribute.kind is Kind.LABEL and not any_label:
        return Literal[tuple(sorted(attribute.known))]
    return {
        Kind.TEXT: Annotated[str, msgspec.Meta(max_length=attribute.limit)],
        Kind.WORD: Annotated[str, msgspec.Meta(max_length=attribute.limit, pattern=rf"^(?:{attribute.shape})\Z")],
        Kind.TEXTS: _Texts,
        Kind.LABEL: Annotated[str, msgspec.Meta(max_length=MAX_STRING)],
        Kind.UUID: str,
        Kind.STRICT_UUID: str,
        Kind.INTEGER: Annotated[int, msgspec.Meta(ge=-attribute.limit, le=attribute.limit)],
        Kind.BOOLEAN: bool,
    }[attribute.kind]


def _types(*, any_label: bool) -> dict[str, Any]:
    types: dict[str, Any] = {semconv.EVENT_ID: Optional[str]}  # noqa: UP045 - as the others
    for attribute in columns.UTTERANCE.values():
        types[attribute.key] = Optional[_type_of(attribute, any_label=any_label)]  # noqa: UP045 - only known at run time
    for prefix in (CANDIDATES_PRE, CANDIDATES_POST):
        for suffix, kind in _LISTED.items():
            types[prefix + suffix] = Optional[kind]  # noqa: UP045 - only known at run time
    types[semconv.QUALITY] = Optional[_Texts]  # noqa: UP045 - as the others
    return types


KNOWN: Final = _types(any_label=False)
"""Type of the value under each key: the event id; what ``columns.UTTERANCE`` has, in its order; then, before and after
policy, what is under the key of the list itself, verbs, scores, sources and total; then the quality flags. None stands
for a value that is absent."""

OPEN: Final = _types(any_label=True)
"""The same, where a label may be one that this version does not know."""


# In a structure, since msgspec works out any other type anew at each call.
_Known: Any = msgspec.defstruct("Known", [("values", tuple[tuple(KNOWN.values())])])  # pyright: ignore[reportInvalidTypeArguments] - made at run time
_Open: Any = msgspec.defstruct("Open", [("values", tuple[tuple(OPEN.values())])])  # pyright: ignore[reportInvalidTypeArguments] - as well


def known_in(attributes: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The values of a span in the order of :data:`KNOWN`; None when they need more."""
    return _converted(attributes, _Known)


def open_in(attributes: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The same by the types of :data:`OPEN`; None when they need the careful way."""
    return _converted(attributes, _Open)


def _converted(attributes: Mapping[str, Any], form: Any) -> tuple[Any, ...] | None:
    try:
        values = list(map(attributes.get, KNOWN))
        if not _PLAIN.issuperset(map(type, values)):  # a type derived from str may do anything when it is read
            return None
        return msgspec.convert({"values": values}, form).values
    except Exception:  # noqa: BLE001 - a value that does not fit, or an object of foreign code that raises when it is read
        return None
