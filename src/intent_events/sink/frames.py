# SPDX-License-Identifier: Apache-2.0
"""OTLP messages whose parts stay bytes until somebody wants them, for the protobuf runtime.

On the wire a message within a message is a length and bytes. So the runtime can be told that ``spans`` are ``bytes``:
it then finds where each begins and ends, and decodes none. A span that is a stranger is passed over for that price, and
one that cannot be decoded costs its neighbours nothing. Field numbers are those of opentelemetry-proto 1.x, where
they cannot change any more.
"""

from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.trace.v1 import trace_pb2

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
        11: ("events", ".opentelemetry.proto.trace.v1.Span.Event*"),
        13: ("links", ".opentelemetry.proto.trace.v1.Span.Link*"),
        15: ("status", ".opentelemetry.proto.trace.v1.Status"),
        16: ("flags", "fixed32"),
    },
    "KeyValue": {1: ("key", "string"), 2: ("value", "AnyValue")},
    "AnyValue": {
        1: ("string_value", "string|"),
        2: ("bool_value", "bool|"),
        3: ("int_value", "int64|"),
        4: ("double_value", "double|"),
        5: ("array_value", "ArrayValue|"),
        6: ("kvlist_value", "KeyValueList|"),
        7: ("bytes_value", "bytes|"),
        8: ("string_value_strindex", "int32|"),
    },
    "ArrayValue": {1: ("values", "bytes*")},
    "KeyValueList": {1: ("values", "KeyValue*")},
}
_TYPES: Final = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
}


def _make() -> dict[str, Any]:
    file = FileDescriptorProto(name="intent_events/frames.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (name, spelled) in fields.items():
            kind = spelled.rstrip("*|")
            many = FieldDescriptorProto.LABEL_REPEATED if spelled.endswith("*") else FieldDescriptorProto.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=many)
            if spelled.endswith("|"):  # one of those with a bar is there
                if not described.oneof_decl:
                    described.oneof_decl.add(name="value")
                field.oneof_index = 0
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type = FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = kind if kind.startswith(".") else f".{_PACKAGE}.{kind}"
    file.dependency.append(trace_pb2.DESCRIPTOR.name)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_made: Final = _make()
RequestFrame: Final = _made["Request"]
"""An ``ExportTraceServiceRequest``: resources and spans are bytes."""

SpanFrame: Final = _made["Span"]
"""A ``Span``: attributes are bytes. What no row has of it is decoded too: a span is sound or it is not."""

AttributeFrame: Final = _made["KeyValue"]
"""A ``KeyValue``: the items of an array are bytes."""
