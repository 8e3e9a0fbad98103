# SPDX-License-Identifier: Apache-2.0
"""What OTLP messages say, text by text, each with the place where it stands in words for people."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Hide = Callable[[str], str]
"""Gives a name as it may be shown."""

_NAMES: Final = {
    "spans": "span",
    "events": "event",
    "links": "link",
    "metrics": "metric",
    "exemplars": "exemplar",
    "log_records": "log record",
    "status": "status",
    "resource": "resource",
    "body": "body",
}
_SCOPES: Final = {"scope_spans": "tracer", "scope_metrics": "meter", "scope_logs": "logger"}
_ATTRIBUTES: Final = frozenset({"attributes", "filtered_attributes", "values"})
_TEXT: Final = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})
_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
_WORDLESS: Final = frozenset({"string_value", "bytes_value", "int_value"})


def texts_of(message: Message, hide: Hide) -> Iterator[tuple[str, str]]:
    """Every text of a message, with where it stands: ``attribute "a" of span "b" of tracer "c"``.

    Args:
        message: an export request, or a part of one.
        hide: gives a name as it may be shown; names can hold what is looked for.
    """
    yield from _walk(message, (), hide)


def _walk(message: Any, where: tuple[str, ...], hide: Hide) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        name = field.name
        if field.message_type is not None:
            for item in _items(value):
                yield from _walk(item, (*_named(name, item, hide), *where), hide)
        elif name in _IDS:
            continue
        elif field.type in _TEXT or name == "int_value":
            label = () if name in _WORDLESS else (name.replace("_", " "),)
            for item in _items(value):
                text = item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
                yield " of ".join((*label, *where)), text


def _items(value: Any) -> Iterable[Any]:
    return [value] if isinstance(value, Message | str | bytes | int) else value


def _named(field: str, item: Any, hide: Hide) -> tuple[str, ...]:
    """What a part of a message is called; nothing when its name would tell nothing."""
    if field in _ATTRIBUTES and hasattr(item, "key"):
        return (f'attribute "{hide(item.key)}"',)
    if field in _SCOPES:
        return (f'{_SCOPES[field]} "{hide(item.scope.name)}"',)
    if field not in _NAMES:
        return ()
    name = getattr(item, "name", "")
    return (f'{_NAMES[field]} "{hide(name)}"' if name else _NAMES[field],)
