# SPDX-License-Identifier: Apache-2.0
"""Requests of any bytes: ``make fuzz`` runs it for ten minutes under atheris, in an environment of its own.

Nothing but the refusals that the sink knows may come out of it, within bounds of memory; a span that the protobuf
runtime reads is read alike, and so is one that it does not.
"""

import asyncio
import sys
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

atheris: Any = import_module("atheris")  # of this target's own environment

with atheris.instrument_imports(include=["intent_events.sink", "intent_events.rows", "intent_events.store"]):
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from intent_events.columns import KEYS
    from intent_events.sink import protobuf
    from intent_events.sink.access import Sender
    from intent_events.sink.answers import RefusedError
    from intent_events.sink.budget import Budget
    from intent_events.sink.compression import gunzip
    from intent_events.sink.protobuf import UndecodableError
    from intent_events.sink.records import JSON, PROTOBUF, Format, records_in
    from support.otlp import any_value, framed, varint
    from support.otlp_reference import check_span

MOST: Final = 1 << 20
_DEEPEST: Final = 3
_NAMES: Final = sorted(KEYS)
_loop: Final = asyncio.new_event_loop()


def _records(data: bytes, form: Format) -> None:
    try:
        records = _loop.run_until_complete(records_in(data, form, Sender()))
    except UndecodableError:
        return
    assert records.passed_over >= 0
    assert records.forbidden == 0


def _protobuf(data: bytes) -> None:
    _records(data, PROTOBUF)
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except DecodeError:  # what the sink makes of it was looked at above
        return
    spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    assert protobuf.frames_in(data).total == len(spans)


def _value(given: Any, depth: int = 0) -> object:
    makers: list[Callable[[], object]] = [
        lambda: given.ConsumeUnicode(given.ConsumeIntInRange(0, 40)).encode("utf-8", "replace").decode(),
        given.ConsumeBool,
        lambda: given.ConsumeIntInRange(-(1 << 63), (1 << 63) - 1),
        given.ConsumeFloat,
        lambda: given.ConsumeBytes(given.ConsumeIntInRange(0, 20)),
        lambda: [given.ConsumeFloat() for _ in range(given.ConsumeIntInRange(0, 25))],
        lambda: [_value(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 25))],
        lambda: {name: _value(given, depth + 1) for name in ("verb", "score")[: given.ConsumeIntInRange(0, 2)]},
    ]
    chosen: int = given.ConsumeIntInRange(0, 7 if depth < _DEEPEST else 4)
    return makers[chosen]()


def _span(given: Any) -> bytes:
    """A span that is nearly sound."""
    pieces = [
        b"\x0a\x10" + given.ConsumeBytes(16).ljust(16, b"\1"),
        b"\x12\x08" + given.ConsumeBytes(8).ljust(8, b"\1"),
    ]
    for _ in range(given.ConsumeIntInRange(0, 12)):
        key = given.PickValueInList(_NAMES).encode()
        value = any_value(_value(given)).SerializeToString()
        item = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
        pieces.append(b"\x4a" + varint(len(item)) + item)
    whole = bytearray(b"".join(pieces))
    for _ in range(given.ConsumeIntInRange(0, 3)):
        if whole:
            whole[given.ConsumeIntInRange(0, len(whole) - 1)] = given.ConsumeIntInRange(0, 255)
    return bytes(whole) + given.ConsumeBytes(given.ConsumeIntInRange(0, 30))


def _gzip(data: bytes) -> None:
    with Budget(MOST * 4, patience_s=1).lease() as lease:
        try:
            body = _loop.run_until_complete(gunzip(data, MOST, lease))
        except RefusedError:
            return
    assert len(body) <= MOST
    assert body == zlib.decompressobj(31).decompress(data)[: len(body)] or data.count(b"\x1f\x8b") > 1


def one_input(data: bytes) -> None:
    """Look at one input."""
    given: Any = atheris.FuzzedDataProvider(data)
    way = given.ConsumeIntInRange(0, 4)
    rest = given.ConsumeBytes(len(data))
    if way == 0:
        _protobuf(rest)
    elif way == 1:
        check_span(rest, "fuzz")
        _protobuf(framed(rest, rest))
    elif way == 2:
        _records(rest, JSON)
    elif way == 3:
        _gzip(rest)
    else:
        span = _span(atheris.FuzzedDataProvider(rest))
        check_span(span, "fuzz")
        _protobuf(framed(span))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
