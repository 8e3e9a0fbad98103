# SPDX-License-Identifier: Apache-2.0
"""OTLP messages whose parts stay bytes until somebody wants them, for the protobuf runtime.

On the wire a message within a message is a length and bytes. So the runtime can be told that ``spans`` are ``bytes``:
it then finds where each begins and ends, and decodes none. A span that is a stranger is passed over for that price, and
one that cannot be decoded costs its neighbours nothing. Field numbers are those of opentelemetry-proto 1.x, where
they cannot change any more.
"""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "intent_events.frames"
_MESSAGES: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "Request": {1: ("resource_spans", "ResourceSpans*")},
    "ResourceSpans": {1: ("resource", "bytes*"), 2: ("scope_spans", "ScopeSpans*")},
    "ScopeSpans": {2: ("spans", "bytes*")},
    "Span": {
        1: ("trace_id", "bytes"),
        2: ("span_id", "bytes"),
        3: ("trace_state", "string"),
        5: ("name", "string"),
        7: ("start_time_unix_nano", "fixed64"),
        8: ("end_time_unix_nano", "fixed64"),
        9: ("attributes", "bytes*"),
        10: ("dropped_attributes_count", "uint32"),
        11: ("events", "bytes*"),
        13: ("links", "bytes*"),
        15: ("status", "bytes*"),
        16: ("flags", "fixed32"),
    },
}
_TYPES: Final = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "string": FieldDescriptorProto.TYPE_STRING,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
}


def _make() -> dict[str, Any]:
    file = FileDescriptorProto(name="intent_events/frames.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (name, spelled) in fields.items():
            kind = spelled.rstrip("*")
            many = FieldDescriptorProto.LABEL_REPEATED if spelled.endswith("*") else FieldDescriptorProto.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=many)
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportUnknownMemberType] - untyped in the runtime
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_made: Final = _make()
RequestFrame: Final = _made["Request"]
"""An ``ExportTraceServiceRequest``: resources and spans are bytes."""

SpanFrame: Final = _made["Span"]
"""A ``Span``: attributes, events, links and status are bytes."""
