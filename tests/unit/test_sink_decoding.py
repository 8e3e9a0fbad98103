# SPDX-License-Identifier: Apache-2.0
"""Spans as the sink reads them: like the exporter, like the protobuf runtime, in protobuf as in JSON."""

import asyncio
import json
import math
from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from intent_events import semconv
from intent_events.rows import RejectReason
from intent_events.select import select
from intent_events.semconv import CANDIDATES_PRE, Record
from intent_events.sink import json_request, protobuf
from intent_events.sink.access import Sender
from intent_events.sink.protobuf import Framed, UndecodableError
from intent_events.sink.records import JSON, LONGEST_PAYLOAD, PROTOBUF, Format, Records, records_in
from intent_events.spans import SpanView
from intent_events.store.seal import sealed_of
from support.otlp import any_value, framed, json_span, request, span_message, varint
from support.otlp import json_request as json_body
from support.otlp_reference import check_span, our_view, plain
from support.records import span_view
from unit.odd_values import WIRE
from unit.spans_of import KEYS, view
from unit.test_round_trip import WIRE_ATTRIBUTES

ANYBODY: Final = Sender()


def on_the_wire(value: Any) -> bool:
    """Whether protobuf can hold a value: SDKs mend the rest before they send it."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return all(on_the_wire(key) and on_the_wire(item) for key, item in items)
    if isinstance(value, (list, tuple)):
        return all(map(on_the_wire, cast("list[Any]", value)))
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


SENDABLE: Final = WIRE_ATTRIBUTES.map(
    lambda attributes: {key: value for key, value in attributes.items() if on_the_wire(value)}
)
"""Attributes as an emitter can send them."""


def read(body: bytes, form: Format, sender: Sender = ANYBODY) -> Records:
    """What the sink makes of a request."""
    return asyncio.run(records_in(body, form, sender))


def through_the_exporter(views: list[SpanView]) -> list[Any]:
    """What the exporter makes of the same spans."""
    pairs = [(each, record) for each in views if isinstance(record := select(each), Record)]
    return sealed_of(pairs)


@given(SENDABLE, st.sampled_from([True, None]), st.integers(0, 3), st.one_of(st.none(), st.just("shop")))
def test_a_span_has_the_same_row_through_both_doors(
    attributes: dict[str, Any],
    sampled: bool | None,  # noqa: FBT001 - as a span has it
    dropped: int,
    service: str | None,
) -> None:
    """Any span that can be sent becomes the row through the sink that it becomes through the exporter."""
    span = view(attributes, sampled=sampled, dropped_attributes=dropped, service_name=service)
    expected = through_the_exporter([span])
    in_protobuf = read(request([span]), PROTOBUF)
    in_json = read(json.dumps(json_body([json_span(span)], service)).encode(), JSON)
    assert [*in_protobuf.rows, *in_protobuf.rejections] == expected
    assert [*in_json.rows, *in_json.rejections] == expected


@given(st.dictionaries(st.sampled_from(KEYS), WIRE.filter(on_the_wire), max_size=12))
def test_any_values_are_read_alike_in_both_encodings(attributes: dict[str, Any]) -> None:
    """Whatever the values are, protobuf, JSON and the runtime by itself give the same span."""
    span = view(attributes)
    data = span_message(span).SerializeToString()
    check_span(data, "orchestrator")
    as_json = json_request.view_in(Framed(json.dumps(json_span(span)).encode(), "orchestrator"))
    assert plain(our_view(data, "orchestrator")) == plain(as_json)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_the_runtime_reads_them(data: bytes) -> None:
    """Bytes are a span for the sink when they are one for the runtime, and the same one."""
    check_span(data, None)


@given(st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]))
def test_any_bytes_are_a_request_or_none(data: bytes, form: Format) -> None:
    """Whatever comes, it is read or refused in one way."""
    try:
        records = read(data, form)
    except UndecodableError:
        return
    assert not records.rows


@given(st.data())
def test_a_damaged_span_is_read_as_the_runtime_reads_it(data: st.DataObject) -> None:
    """A span of the contract with some bytes changed is the same for both, or for neither."""
    span = bytearray(span_message(span_view(1, {semconv.EMITTER_SEQ: 300, semconv.SCOPE: "book"})).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        span[data.draw(st.integers(0, len(span) - 1))] = data.draw(st.integers(0, 255))
    check_span(bytes(span), None)


def attribute(key: str, value: AnyValue) -> bytes:
    """An attribute of a span, as a field of it."""
    item = KeyValue(key=key, value=value).SerializeToString()
    return b"\x4a" + varint(len(item)) + item


def test_the_last_of_duplicate_keys_wins() -> None:
    """Emitters that do not look send a key twice; they mean the last one."""
    once = span_message(span_view(1)).SerializeToString()
    again = once + attribute(semconv.OUTCOME, AnyValue(string_value="no_match"))
    found = our_view(again, None)
    assert found is not None
    assert found.attributes[semconv.OUTCOME] == "no_match"
    check_span(again, None)
    twice = json_span(span_view(1))
    twice["attributes"].append({"key": semconv.OUTCOME, "value": {"stringValue": "no_match"}})
    assert json_request.view_in(Framed(json.dumps(twice).encode(), None)).attributes[semconv.OUTCOME] == "no_match"


NUMBERS: Final[tuple[Any, ...]] = (0, 1, 127, 128, 300, 1 << 14, (1 << 21) - 1, 1 << 50, 1 << 56, (1 << 63) - 1, -1)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_every_length(number: int) -> None:
    """Numbers are read alike, however many bytes they take."""
    check_span(span_message(span_view(1, {semconv.EMITTER_SEQ: number})).SerializeToString(), None)
    found = our_view(span_message(span_view(1, {semconv.EMITTER_SEQ: number})).SerializeToString(), None)
    assert found is not None
    assert found.attributes[semconv.EMITTER_SEQ] == number


@pytest.mark.parametrize("n", [0, 1, 10, 11, 12, 20, 21, 30])
def test_score_lists_of_every_length(n: int) -> None:
    """Lists of scores are read alike, however many there are, with zero, NaN and infinity among them."""
    for scores in ([float(place) for place in range(n)], [math.nan] * n, [-math.inf, 0.0][:n], [1, *range(n)]):
        attributes = {CANDIDATES_PRE + semconv.SCORES: scores}
        data = span_message(span_view(1, attributes)).SerializeToString()
        check_span(data, None)
        found = our_view(data, None)
        assert found is not None
        assert repr(list(found.attributes[CANDIDATES_PRE + semconv.SCORES])) == repr(scores)


@pytest.mark.parametrize("length", [0, 1, 63, 100, 121, 122, 123, 124, 125, 126, 127, 128, 300, 20_000])
def test_texts_of_every_length(length: int) -> None:
    """Texts are read alike, however long, in ASCII and beyond, for the first and the second time."""
    for text in ("x" * length, "é" * length):
        data = span_message(span_view(1, {semconv.SCOPE: text, semconv.EVENT_ID: text})).SerializeToString()
        check_span(data, None)
        found = our_view(data, None)
        assert found is not None
        assert found.attributes[semconv.SCOPE] == found.attributes[semconv.EVENT_ID] == text


def test_more_pieces_than_are_kept() -> None:
    """What is remembered of earlier spans is bounded, and forgetting changes nothing."""
    for number in range(9000):
        data = attribute(semconv.SCOPE, AnyValue(string_value=f"book-{number}"))
        items = attribute(semconv.MISSING_ARGS, any_value([f"arg-{number}"]))
        found = our_view(data + items, None)
        assert found is not None
        assert found.attributes == {semconv.SCOPE: f"book-{number}", semconv.MISSING_ARGS: [f"arg-{number}"]}
        (only,) = protobuf.frames_in(
            framed(span_message(span_view(1)).SerializeToString(), service_name=f"s-{number}")
        )[1]
        assert only.service_name == f"s-{number}"


IDS: Final = (b"", b"\1", b"\1" * 7, b"\1" * 9, b"\1" * 15, b"\1" * 17, b"\1" * 32)


@pytest.mark.parametrize("identifier", IDS, ids=len)
def test_ids_of_wrong_length_are_none(identifier: bytes) -> None:
    """An id of another length than it must have is no id, in both encodings."""
    message = span_message(span_view(1))
    message.trace_id = message.span_id = identifier
    found = our_view(message.SerializeToString(), None)
    assert found is not None
    assert (found.trace_id, found.span_id) == (0, 0)
    spelled = json_span(span_view(1)) | {"traceId": identifier.hex(), "spanId": identifier.hex()}
    read_json = json_request.view_in(Framed(json.dumps(spelled).encode(), None))
    assert (read_json.trace_id, read_json.span_id) == (0, 0)


def test_one_undecodable_span_costs_nobody_else() -> None:
    """Of 500 spans one that cannot be decoded is kept with its bytes; the others are rows."""
    spans = [span_message(span_view(number)).SerializeToString() for number in range(500)]
    bad = spans[250] + attribute(semconv.SCOPE, AnyValue(string_value="xxxx")).replace(b"xxxx", b"x\xff\xfex")
    records = read(framed(*spans[:250], bad, *spans[251:]), PROTOBUF)
    assert (records.spans, len(records.rows), records.passed_over) == (500, 499, 0)
    (letter,) = records.rejections
    assert (letter.reason, letter.payload, letter.service_name) == (RejectReason.UNDECODABLE, bad, "tests")


@pytest.mark.parametrize(
    "piece",
    [
        Span(events=[Span.Event(name="xxxx")]),
        Span(links=[Span.Link(trace_state="xxxx")]),
        Span(status=Status(message="xxxx")),
        Span(name="xxxx"),
        Span(trace_state="xxxx"),
        Span(attributes=[KeyValue(key="foreign", value=AnyValue(string_value="xxxx"))]),
        Span(attributes=[KeyValue(key="xxxx", value=AnyValue(int_value=1))]),
        Span(attributes=[KeyValue(key="foreign", value=any_value(["xxxx"]))]),
    ],
    ids=str,
)
def test_a_span_is_decodable_or_it_is_not(piece: Span) -> None:
    """Wherever in a span a text is no UTF-8, the span is kept as a dead letter."""
    whole = span_message(span_view(1)).SerializeToString() + piece.SerializeToString()
    assert our_view(whole, None) is not None
    check_span(whole.replace(b"xxxx", b"\xff\xff\xff\xff"), None)
    assert our_view(whole.replace(b"xxxx", b"\xff\xff\xff\xff"), None) is None


def test_a_long_undecodable_span_keeps_its_beginning() -> None:
    """A dead letter keeps as much of a span as may be kept."""
    bad = span_message(span_view(1)).SerializeToString() + b"\x2a" + varint(LONGEST_PAYLOAD) + b"\xff" * LONGEST_PAYLOAD
    (letter,) = read(framed(bad), PROTOBUF).rejections
    assert letter.payload == bad[:LONGEST_PAYLOAD]


def nested(depth: int) -> bytes:
    """A value that is a list in a list, and so on."""
    data = AnyValue(string_value="x").SerializeToString()
    for _ in range(depth):
        inner = b"\x0a" + varint(len(data)) + data
        data = b"\x2a" + varint(len(inner)) + inner
    item = b"\x0a\x0cintent.scope\x12" + varint(len(data)) + data
    return b"\x4a" + varint(len(item)) + item


@pytest.mark.parametrize("depth", [40, 1000, 50_000])
def test_nesting_is_bounded(depth: int) -> None:
    """Forty levels are read; a thousand make the span a dead letter, and the process is none the worse."""
    span = span_message(span_view(1)).SerializeToString() + nested(depth)
    records = read(framed(span, span_message(span_view(2)).SerializeToString()), PROTOBUF)
    assert (len(records.rows), len(records.rejections)) == ((2, 0) if depth == 40 else (1, 1))


@pytest.mark.parametrize("depth", [40, 100_000])
def test_nesting_of_json_is_bounded(depth: int) -> None:
    """The same in JSON; what is nested beyond all reading is no request."""
    value = '{"arrayValue":{"values":[' * depth + "{}" + "]}}" * depth
    span = json.dumps(json_span(span_view(1)))
    item = f'{{"key":"intent.scope","value":{value}}}'
    body = json.dumps(json_body([])).replace('"spans": []', f'"spans": [{span.replace("[", "[" + item + ",", 1)}]')
    if depth == 40:
        assert len(read(body.encode(), JSON).rows) == 1
    else:
        with pytest.raises(UndecodableError):
            read(body.encode(), JSON)


ODD_JSON: Final[dict[str, Any]] = {
    "an id that is no hex": {"traceId": "xyz"},
    "a time that is no number": {"startTimeUnixNano": "soon"},
    "a time that is a fraction": {"startTimeUnixNano": 1.5},
    "attributes that are no list": {"attributes": 7},
    "an attribute that is none": {"attributes": [7]},
    "a value that is none": {"attributes": [{"key": "intent.scope", "value": 7}]},
    "a text that is a number": {"attributes": [{"key": "intent.scope", "value": {"stringValue": 7}}]},
    "a flag that is a text": {"attributes": [{"key": "intent.root", "value": {"boolValue": "true"}}]},
    "a number that is a flag": {"attributes": [{"key": "intent.root", "value": {"intValue": True}}]},
    "a number beyond 64 bits": {"attributes": [{"key": "intent.root", "value": {"intValue": str(1 << 65)}}]},
    "a double that is a flag": {"attributes": [{"key": "intent.root", "value": {"doubleValue": False}}]},
    "bytes that are no base64": {"attributes": [{"key": "intent.root", "value": {"bytesValue": "%"}}]},
}


@pytest.mark.parametrize("odd", ODD_JSON.values(), ids=ODD_JSON)
def test_json_that_is_no_span_is_kept_as_a_dead_letter(odd: dict[str, Any]) -> None:
    """A span in JSON with a value of another type costs its neighbours nothing."""
    body = json.dumps(json_body([json_span(span_view(1)) | {"intent.root": 1} | odd, json_span(span_view(2))]))
    records = read(body.encode(), JSON)
    assert (len(records.rows), len(records.rejections)) == (1, 1)


JSON_FORMS: Final[dict[str, Any]] = {
    "numbers for texts": {"startTimeUnixNano": span_view(1).start_ns, "endTimeUnixNano": span_view(1).end_ns},
    "unknown fields": {"deprecated": {"x": [1, 2]}, "kind": 1, "traceState": ""},
    "nulls": {"flags": 1, "droppedAttributesCount": None, "events": None, "links": None},
    "upper case ids": {"traceId": format(2, "032X"), "spanId": format(2, "016X")},
}


@pytest.mark.parametrize("form", JSON_FORMS.values(), ids=JSON_FORMS)
def test_forms_of_json_that_the_specification_allows(form: dict[str, Any]) -> None:
    """64-bit numbers may be numbers or texts, unknown fields are passed over, absent ones are absent."""
    spans = [json_span(span_view(1)) | form]
    assert read(json.dumps(json_body(spans)).encode(), JSON).rows == through_the_exporter([span_view(1)])


def test_keys_that_are_spelled_with_escapes() -> None:
    """A key of the contract may be spelled in any way that JSON has."""
    body = json.dumps(json_body([json_span(span_view(1))])).replace("intent.", "\\u0069ntent.")
    assert read(body.encode(), JSON).rows == through_the_exporter([span_view(1)])


@pytest.mark.parametrize("body", ["{}", '{"resourceSpans":null}', '{"resourceSpans":[{"scopeSpans":[{}]},{}]}'])
def test_an_empty_request_in_json(body: str) -> None:
    """A request without spans is one all the same."""
    assert read(body.encode(), JSON).spans == 0


def test_an_empty_request() -> None:
    """The same in protobuf."""
    assert read(b"", PROTOBUF).spans == 0


def test_a_resource_that_cannot_be_read_costs_its_name_alone() -> None:
    """Spans are no worse for the resource that they come with."""
    body = framed(span_message(span_view(1)).SerializeToString(), service_name="xxxx").replace(b"xxxx", b"\xff\xfexx")
    assert read(body, PROTOBUF).rows == through_the_exporter([span_view(1)._replace(service_name=None)])
    spelled = json_body([json_span(span_view(1))])
    spelled["resourceSpans"][0]["resource"] = {"attributes": 7}
    assert read(json.dumps(spelled).encode(), JSON).rows == through_the_exporter(
        [span_view(1)._replace(service_name=None)]
    )


def test_a_resource_in_two_parts_is_one() -> None:
    """A message that is given twice is merged, as the format has it."""
    message = ExportTraceServiceRequest.FromString(request([span_view(1)]))
    named = message.resource_spans[0].resource.SerializeToString()
    message.resource_spans[0].ClearField("resource")
    inner = message.resource_spans[0].SerializeToString()
    inner = b"\x0a\x00" + inner + b"\x0a" + varint(len(named)) + named
    assert read(b"\x0a" + varint(len(inner)) + inner, PROTOBUF).rows == through_the_exporter([span_view(1)])


def test_strangers_are_passed_over_undecoded() -> None:
    """A span without a key of ours is passed over, even one that could not be decoded."""
    stranger = Span(name="GET /", trace_id=b"\1" * 16, span_id=b"\1" * 8).SerializeToString() + b"\x2a\x02\xff\xff"
    child = span_message(span_view(1)._replace(attributes={semconv.STAGE: "discover", semconv.ROOT: False}))
    records = read(framed(stranger, child.SerializeToString()), PROTOBUF)
    assert (records.spans, records.passed_over) == (2, 2)


@pytest.mark.parametrize(
    ("sender", "rows", "forbidden"),
    [
        (Sender(), 4, 0),
        (Sender(services=frozenset({"tests"})), 4, 0),
        (Sender(services=frozenset({"other"})), 0, 5),
        (Sender(scopes=frozenset({"book-1"})), 2, 3),
        (Sender(frozenset({"tests"}), frozenset({"book-2"})), 1, 4),
    ],
)
def test_what_a_sender_may_not_send(sender: Sender, rows: int, forbidden: int) -> None:
    """Records of other services and scopes, and what cannot be decoded for one of one scope, are not kept."""
    scopes = ("book-1", "book-1", "book-2", None)
    views = [span_view(n, {semconv.SCOPE: scope} if scope else {}) for n, scope in enumerate(scopes)]
    spans = [span_message(each).SerializeToString() for each in views]
    records = read(framed(*spans, spans[0] + b"\x2a\x02\xff\xff"), PROTOBUF, sender)
    assert (len(records.rows), records.forbidden) == (rows, forbidden)
    assert len(records.rejections) == 5 - rows - forbidden
