# SPDX-License-Identifier: Apache-2.0
"""Hostile input to a real sink: each gets the right answer, the process lives, and honest senders are served."""

import gzip
import json
import math
import os
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import grpc
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from intent_events import semconv
from intent_events.identity import MAX_MS, event_id_of
from intent_events.rows import ChatEventRow, IntentEventRow, row_of
from intent_events.semconv import Record
from intent_events.spans import SpanView
from support.otlp import framed, json_request, json_span, request, span_message, varint
from support.postgres import Database, Server
from support.records import START_NS, span_view, utterance
from support.sinks import JSON, PROTOBUF, RunningSink, exporting, gzipped, sink
from support.stored import stored_rows, tampering
from support.waiting import until

MOST: Final = 64 << 20
OK: Final = grpc.StatusCode.OK
_numbers = iter(range(1_000_000, 2_000_000, 1000))


@pytest.fixture(scope="module")
def database(postgres_server: Server, _template: str) -> Iterator[Database]:
    """A database of this module."""
    with postgres_server.database(_template) as database:
        yield database


@pytest.fixture(scope="module")
def running(database: Database) -> Iterator[RunningSink]:
    """One sink, which has to survive all of it."""
    with sink(database.dsn, ARRIVAL_TIMEOUT="2s") as running:
        yield running
        assert running.memory_mb() < 400
        code, log = running.stop()
        assert code == 0
        # gRPC itself says one line of a compression that is not allowed; of ours there is none.
        assert [line for line in log.splitlines() if "is disabled" not in line] == []


@pytest.fixture(autouse=True)
def _serves_honest_senders(database: Database, running: RunningSink) -> Iterator[None]:
    """After whatever a test did, the same process answers an honest sender and stores what they send."""
    yield
    number = next(_numbers)
    assert running.process.poll() is None
    assert running.export(request([span_view(number)])).code is OK
    assert running.post(request([span_view(number + 1)])).code == 200
    found = {row.event_id for row in stored_rows(database)}
    assert {utterance(number).event_id, utterance(number + 1).event_id} <= found


@pytest.fixture(autouse=True)
def _empty(database: Database) -> None:
    database.execute_now(tampering("TRUNCATE agent.intent_events, agent.dead_letters"))


NONSENSE: Final = {
    "any bytes": bytes((7 * place * place + 3) % 256 for place in range(5000)),
    "truncated": request([span_view(n) for n in range(20)])[:-7],
    "another message": json.dumps({"resourceSpans": []}).encode(),
    "half of a length": b"\x0a\xff\xff\xff\xff",
    "a group without end": b"\x0b" * 200,
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_what_is_no_request(database: Database, running: RunningSink, body: bytes) -> None:
    """It is refused for good, by the status of the specification, and nothing of it is stored."""
    answer = running.export(body)
    assert (answer.code, answer.retry_s) == (grpc.StatusCode.INVALID_ARGUMENT, None)
    for sent, encoding in ((body, ""), (gzipped(body), "gzip")):
        refused = running.post(sent, encoding=encoding)
        assert (refused.code, refused.status.code) == (400, 3)
        assert "retry-after" not in refused.headers
    assert stored_rows(database) == []


def test_broken_compression(running: RunningSink) -> None:
    """A body that is no gzip, or ends within it, or has something behind it, is refused for good."""
    whole = gzipped(request([span_view(0)]))
    for body in (b"nonsense", b"", whole[:-9], whole + b"rest", b"\x1f\x8b" + b"\xff" * 50):
        assert running.post(body, encoding="gzip").code == 400
    for body in (whole[:-9], b"\x1f\x8b" + b"\xff" * 50):
        assert running.export(body).code is grpc.StatusCode.INVALID_ARGUMENT
    two = gzip.compress(request([span_view(0)])) + gzip.compress(request([span_view(1)]))
    assert running.post(two, encoding="gzip").code == 200  # several members are one body


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "", "application/protobuf", "*/*"])
def test_wrong_content_types(running: RunningSink, media_type: str) -> None:
    """A content type that is not one of the two is refused for good."""
    assert running.post(b"", media_type=media_type).code == 415


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "x"])
def test_wrong_compressions(running: RunningSink, encoding: str) -> None:
    """So is a compression other than gzip."""
    assert running.post(b"", encoding=encoding).code == 415


def test_gzip_by_grpc_is_the_only_one(running: RunningSink) -> None:
    """GRPC knows another compression, which the sink does not."""
    answer = running.export(request([span_view(0)]), compression=grpc.Compression.Deflate)
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED


def test_other_paths_and_methods(running: RunningSink) -> None:
    """What is not there is not there, and nothing of it is an error of the server."""
    assert running.post(b"", path="/v1/metrics").code == 404
    assert running.post(b"", method="GET").code == 405
    assert running.post(b"", media_type="application/json; charset=utf-8").code == 400  # no JSON
    assert running.post(b"{}", media_type="Application/JSON; charset=utf-8").code == 200
    with running.channel() as channel:
        unknown = cast("Any", channel).unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"", timeout=30)
    failed: Any = caught.value
    assert failed.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [MOST + 1, MOST + (1 << 20)])
def test_bodies_that_are_too_large(running: RunningSink, size: int) -> None:
    """A message of 65 MB is refused for good over both transports, and its sender reads the answer."""
    body = bytes(size)
    answer = running.export(body)
    assert (answer.code, answer.retry_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    refused = running.post(body)
    assert (refused.code, refused.status.code) == (413, 8)


def test_a_gzip_bomb(running: RunningSink) -> None:
    """A megabyte that becomes a gigabyte is refused before it has, over both transports."""
    bomb = gzip.compress(bytes(1 << 30), 9)
    before = running.memory_mb()
    assert running.post(bomb, encoding="gzip").code == 413
    assert running.export(bomb).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert running.memory_mb() - before < 200


def attribute(key: str, value: bytes) -> bytes:
    """An attribute as a field of a span, with a value of any bytes."""
    item = b"\x0a" + varint(len(key)) + key.encode() + b"\x12" + varint(len(value)) + value
    return b"\x4a" + varint(len(item)) + item


def deep(levels: int) -> bytes:
    """A value nested so deeply."""
    data = AnyValue(string_value="x").SerializeToString()
    for _ in range(levels):
        inner = b"\x0a" + varint(len(data)) + data
        data = b"\x2a" + varint(len(inner)) + inner
    return data


BAD: Final = {"invalid UTF-8": b"\x0a\x02\xff\xfe", "nested 1,000 deep": deep(1000), "cut short": b"\x0a\x7fxx"}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_one_span_of_500(database: Database, running: RunningSink, value: bytes) -> None:
    """One that cannot be decoded is a dead letter with its bytes; 499 are stored, and the sender is told the count."""
    spans = [span_message(span_view(number)).SerializeToString() for number in range(500)]
    spans[7] += attribute("intent.scope", value)
    for _ in range(2):  # sent again, nothing is doubled
        answer = running.export(framed(*spans))
        assert (answer.code, answer.response.partial_success.rejected_spans) == (OK, 1)
        assert "dead_letters" in answer.response.partial_success.error_message
    partial = running.post(framed(*spans)).response.partial_success
    assert partial.rejected_spans == 1
    assert len(stored_rows(database)) == 499
    letters = database.fetch_now("SELECT door, reason, service_name, payload, ts FROM agent.dead_letters")
    assert [tuple(letter) for letter in letters] == [("sink", "undecodable", "tests", spans[7], None)]


def test_a_partial_success_in_json(database: Database, running: RunningSink) -> None:
    """In JSON the count is a text, as its 64-bit numbers are."""
    spans = [json_span(span_view(0)), json_span(span_view(1)) | {"traceId": "xyz"}]
    answer = running.post(json.dumps(json_request(spans)).encode(), media_type=JSON)
    assert answer.code == 200
    assert json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1"
    assert len(stored_rows(database)) == 1


def test_many_attributes(database: Database, running: RunningSink) -> None:
    """Of 100,000 attributes those of the contract are kept."""
    view = span_view(0, {f"noise.{number}": number for number in range(100_000)} | {semconv.SCOPE: "book"})
    assert running.export(request([view])).code is OK
    assert [row.scope for row in stored_rows(database) if isinstance(row, IntentEventRow)] == ["book"]


def test_duplicate_keys(database: Database, running: RunningSink) -> None:
    """The last one counts."""
    span = span_message(span_view(0))
    span.attributes.extend(KeyValue(key=semconv.SCOPE, value=AnyValue(string_value=f"book-{n}")) for n in range(9))
    assert running.export(framed(span.SerializeToString())).code is OK
    assert [row.scope for row in stored_rows(database) if isinstance(row, IntentEventRow)] == ["book-8"]


def _row(view: SpanView) -> Any:
    return row_of(view, Record.UTTERANCE)


YEAR: Final = 31_557_600_000_000_000
STRANGE: Final = {
    "zero times": span_view(0)._replace(start_ns=0, end_ns=0),
    "1970": span_view(0)._replace(start_ns=5, end_ns=10**9),
    "2500": span_view(0)._replace(start_ns=530 * YEAR, end_ns=530 * YEAR + 5),
    "ended before it began": span_view(0)._replace(end_ns=START_NS - 10**9),
    "NaN": span_view(0, {semconv.CANDIDATES_PRE + ".verbs": ["a"], semconv.CANDIDATES_PRE + ".scores": [math.nan]}),
    "infinity": span_view(
        0, {semconv.CANDIDATES_PRE + ".verbs": ["a"], semconv.CANDIDATES_PRE + ".scores": [math.inf]}
    ),
    "NUL": span_view(0, {semconv.SCOPE: "a\x00b", semconv.MISSING_ARGS: ["\x00"], semconv.ACTOR_ID: "\x00"}),
    "NUL in a name": span_view(0)._replace(service_name="a\x00b"),
    "10 MB of text": span_view(0, {semconv.SCOPE: "x" * (10 << 20), semconv.UTTERANCE_PREVIEW: "y" * 1000}),
    "a key that is none": span_view(0, {semconv.EVENT_ID: "x" * 100}),
    "no ids but a key": span_view(0, {semconv.EVENT_ID: str(utterance(0).event_id)})._replace(trace_id=0, span_id=0),
}


@pytest.mark.parametrize("view", STRANGE.values(), ids=STRANGE)
def test_strange_values_are_mended(database: Database, running: RunningSink, view: SpanView) -> None:
    """What can be mended is mended and flagged, and the row is that of the other door."""
    in_json = json.dumps(json_request([json_span(view)], view.service_name)).encode()
    for body, media_type in ((request([view]), PROTOBUF), (in_json, JSON)):
        answer = running.post(body, media_type=media_type)
        assert (answer.code, answer.body) == (200, b"{}" if media_type == JSON else b"")
        assert stored_rows(database) == [_row(view)]
        database.execute_now(tampering("TRUNCATE agent.intent_events"))


def test_negative_times(database: Database, running: RunningSink) -> None:
    """In JSON a time may be negative: the row is of the first moment of 1970."""
    span = json_span(span_view(0)) | {"startTimeUnixNano": "-5", "endTimeUnixNano": -3}
    assert running.post(json.dumps(json_request([span])).encode(), media_type=JSON).code == 200
    assert stored_rows(database) == [_row(span_view(0)._replace(start_ns=-5, end_ns=-3))]


@pytest.mark.parametrize("name", ["ids of wrong length", "no ids"])
def test_what_can_be_no_row(database: Database, running: RunningSink, name: str) -> None:
    """It is kept as a dead letter, for a reason."""
    message = span_message(span_view(0))
    message.trace_id, message.span_id = (b"", b"") if name == "no ids" else (b"\1" * 9, b"\1" * 3)
    answer = running.export(framed(message.SerializeToString()))
    assert (answer.code, answer.response.partial_success.rejected_spans) == (OK, 1)
    assert [row["reason"] for row in database.fetch_now("SELECT reason FROM agent.dead_letters")] == ["ids_invalid"]


def test_times_beyond_all_rows(database: Database, running: RunningSink) -> None:
    """A key beyond the year 9999 is a dead letter; a time that was negative reads as the last that 64 bits hold."""
    far = span_view(0, {semconv.EVENT_ID: str(event_id_of(1, 1, MAX_MS * 1_000_000))})
    answer = running.export(request([far, span_view(1)._replace(start_ns=(1 << 64) - 5, end_ns=(1 << 64) - 1)]))
    assert (answer.code, answer.response.partial_success.rejected_spans) == (OK, 1)
    assert [row["reason"] for row in database.fetch_now("SELECT reason FROM agent.dead_letters")] == [
        "time_out_of_range"
    ]
    assert [row.ts.year for row in stored_rows(database)] == [2554]


def test_other_records_and_unknown_ones(database: Database, running: RunningSink) -> None:
    """Replies go to their table; a record of an unknown kind is passed over."""
    reply = span_view(0, {semconv.RECORD: "reply", semconv.EVENT_ID: str(utterance(1).event_id)})
    unknown = span_view(1, {semconv.RECORD: "dream"})
    assert running.export(request([reply, unknown])).code is OK
    assert stored_rows(database, ChatEventRow) == [row_of(reply, Record.REPLY)]
    assert stored_rows(database) == []
    database.execute_now(tampering("TRUNCATE agent.chat_events"))


def _open(port: int, said: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(said)
    return connection


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
SLOW: Final = {
    "says nothing": b"",
    "half of a head": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Ty",
    "half of a body": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
    b"Content-Length: 1000\r\n\r\n\x0a",
    "chunks without end": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\n\x0a\r\n",
}


@pytest.mark.parametrize("said", SLOW.values(), ids=SLOW)
def test_slow_senders_are_cut_off(running: RunningSink, said: bytes) -> None:
    """Whoever does not go on within the time is told to come back, or is cut off, and held nothing up meanwhile."""
    connections = [_open(running.http_port, said) for _ in range(20)]
    assert running.post(request([span_view(0)])).code == 200
    for connection in connections:
        answer = connection.recv(4096)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 503")
        connection.close()
    until(lambda: running.metric("intent_events_sink_in_flight_bytes") == 0, "nothing is held")


def test_two_thousand_connections(running: RunningSink) -> None:
    """Half of them over HTTP and half over gRPC, all idle or slow; an honest sender is answered all the same."""
    connections = [_open(running.http_port, said) for said in SLOW.values() for _ in range(250)]
    connections += [_open(running.grpc_port, PREFACE) for _ in range(1000)]
    try:
        assert running.post(request([span_view(0)])).code == 200
        assert running.export(request([span_view(1)])).code is OK
        assert running.get("/readyz").code == 200
    finally:
        for connection in connections:
            connection.close()


def test_senders_that_hang_up(running: RunningSink) -> None:
    """A sender that is gone before it is answered leaves nothing behind."""
    body = request([span_view(number) for number in range(300)])
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
    for cut in (len(body) // 2, len(body)):
        for _ in range(10):
            _open(running.http_port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:cut]).close()
    with running.channel() as channel:
        call = exporting(channel)
        for _ in range(10):
            call.future(body).cancel()
    until(lambda: running.metric("intent_events_sink_in_flight_bytes") == 0, "nothing is held")


def test_nonsense_instead_of_a_protocol(running: RunningSink) -> None:
    """Bytes that are neither HTTP nor HTTP/2 end their own connection."""
    for port in (running.http_port, running.grpc_port):
        with _open(port, os.urandom(2000) + b"\r\n\r\n") as connection:
            connection.settimeout(30)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:  # cut off before all of it was read
                pass
