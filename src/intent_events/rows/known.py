# SPDX-License-Identifier: Apache-2.0
"""The type that attributes of an utterance fit which need no mending, but for what no type can say.

It is made from the one table of columns, and msgspec reads all of them at once, in a sixth of the time that a look at
each value takes. Whatever does not fit goes the careful way.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Optional

import msgspec

from intent_events import columns, semconv
from intent_events.columns import Attribute, Kind
from intent_events.mending import INT32_MAX, MAX_ITEMS
from intent_events.semconv import CANDIDATES_POST, CANDIDATES_PRE, MAX_STRING, SCORES, SOURCES, TOTAL, VERBS

DEFAULTS: Final[dict[str, Any]] = {
    "schema_version": semconv.SCHEMA_VERSION,
    "synthetic": False,
    "macro_semreg_checked": False,
}
"""What required columns hold when the emitter says nothing."""

_PLAIN: Final = frozenset({str, bool, int, tuple, list})
_Texts = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=MAX_STRING)]], msgspec.Meta(max_length=MAX_ITEMS)
]  # fmt: skip
_LISTED: Final[dict[str, Any]] = {
    "": None,
    VERBS: _Texts,
    SCORES: list[float],
    SOURCES: _Texts,
    TOTAL: Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)],
}


def _type_of(attribute: Attribute) -> Any:
    if attribute.key == semconv.RECORD_SCHEMA_VERSION:
        return Literal[semconv.SCHEMA_VERSION]
    if attribute.kind is Kind.LABEL:
        return Literal[tuple(sorted(attribute.known))]
    return {
        Kind.TEXT: Annotated[str, msgspec.Meta(max_length=attribute.limit)],
        Kind.TEXTS: _Texts,
        Kind.UUID: str,
        Kind.STRICT_UUID: str,
        Kind.INTEGER: Annotated[int, msgspec.Meta(ge=-attribute.limit, le=attribute.limit)],
        Kind.BOOLEAN: bool,
    }[attribute.kind]


def _make() -> type[msgspec.Struct]:
    keys = {name: attribute.key for name, attribute in columns.UTTERANCE.items()}
    fields: list[Any] = []
    for name, attribute in columns.UTTERANCE.items():
        kind = _type_of(attribute)
        if attribute.missing is not None:
            fields.append((name, kind))
        elif name in DEFAULTS:
            fields.append((name, kind, DEFAULTS[name]))
        else:
            fields.append((name, Optional[kind], None))  # noqa: UP045 - a type that is only known at run time
    optional = {
        **{prefix + suffix: kind for prefix in (CANDIDATES_PRE, CANDIDATES_POST) for suffix, kind in _LISTED.items()},
        semconv.EVENT_ID: str,
        semconv.QUALITY: _Texts,
    }
    for key, kind in optional.items():
        name = key.replace(".", "_")
        fields.append((name, Optional[kind], None))  # noqa: UP045 - a type that is only known at run time
        keys[name] = key
    return msgspec.defstruct("Known", fields, rename=keys, kw_only=True)


Known: Final = _make()
"""Type that the attributes of an utterance are read as; what it refuses may need mending.

Its fields are the columns of ``columns.UTTERANCE``; then, before and after policy, what is under the key of the list
itself, verbs, scores, sources and total; then the key, and the quality flags.
"""


def known_in(attributes: Mapping[str, Any]) -> msgspec.Struct | None:
    """The attributes of an utterance as :data:`Known`; None when they do not fit."""
    if not _PLAIN.issuperset(map(type, attributes.values())):  # a type derived from str may do anything when it is read
        return None
    try:
        return msgspec.convert(attributes, Known)
    except Exception:  # noqa: BLE001 - a value that does not fit, or an object of foreign code that raises when it is read
        return None
