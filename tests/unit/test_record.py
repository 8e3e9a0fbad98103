# SPDX-License-Identifier: Apache-2.0
"""The record form: a span that was spooled has the row of the span itself."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import semconv
from intent_events.columns import KEYS
from intent_events.identity import event_id_of
from intent_events.rows import ORDER, IntentEventRow, Rejection, row_of
from intent_events.select import select
from intent_events.semconv import Quality, Record
from intent_events.spans import SpanView
from intent_events.store.copy_format import seal
from intent_events.store.seal import sealed_of
from intent_events_exporter.record import ORDERS, NewerError, decode, encode, row_in, sealed_in
from unit.first_forms import ORDERED, ORDERED_ROW
from unit.odd_values import TOLD
from unit.spans_of import START_NS, STRANGE_SPANS, view
from unit.test_round_trip import WIRE_ATTRIBUTES, quickly_sealed, recorded
from unit.traces_of import KEPT, WHOLE

RECORDS = st.sampled_from(Record)


MENDED = {Quality.VALUE_MENDED, Quality.VALUE_REFUSED}


def fits(attributes: dict[str, Any]) -> bool:
    """Whether msgpack can hold the attributes as they are."""
    try:
        msgspec.msgpack.encode(attributes)
    except (OverflowError, UnicodeEncodeError, TypeError):  # a number beyond 64 bits, a lone surrogate, a foreign type
        return False
    return True


@given(WIRE_ATTRIBUTES.filter(fits), RECORDS)
def test_a_spooled_span_has_the_row_of_the_span(attributes: dict[str, Any], record: Record) -> None:
    """Through the record form, every span that an SDK can send gives the row that it gives directly."""
    span = view(attributes)
    payload, row = encode(span, record), row_of(span, record)
    assert row_in(payload) == row
    assert sealed_in([payload]) == sealed_of([(span, record)]) == [row if isinstance(row, Rejection) else seal(row)]


@given(STRANGE_SPANS, RECORDS)
def test_any_span_can_be_spooled(span: SpanView, record: Record) -> None:
    """Whatever its attributes and numbers are, a span has a payload, and that a row or rejection of the same span."""
    row, direct = row_in(encode(span, record)), row_of(span, record)
    assert type(row) is type(direct)
    if isinstance(row, Rejection) or isinstance(direct, Rejection):
        assert row[:-1] == direct[:-1]
    else:
        assert (row.event_id, row.ts, row.span_id) == (direct.event_id, direct.ts, direct.span_id)
        assert set(row.quality or ()) | MENDED >= set(direct.quality or ())


@given(WIRE_ATTRIBUTES.filter(fits))
def test_a_span_comes_back(attributes: dict[str, Any]) -> None:
    """Ids, times and what selection reads are those of the span."""
    span = view({semconv.ROOT: True, **attributes})
    again = decode(encode(span, Record.UTTERANCE))
    assert again._replace(attributes={}) == span._replace(attributes={})
    assert select(again) is Record.UTTERANCE
    assert set(again.attributes) == {key for key, value in span.attributes.items() if value is not None} & KEYS


def test_what_is_not_of_the_contract_is_left_out() -> None:
    """An attribute that the host's own code sets on the span is not spooled: it could be the utterance."""
    payload = encode(view({semconv.ROOT: True, "user.text": TOLD, "intent.mine": TOLD}), Record.UTTERANCE)
    assert TOLD.encode() not in payload
    assert decode(payload).attributes == {semconv.ROOT: True}


def test_nearly_every_record_is_read_at_once() -> None:
    """A whole trace of a sound orchestrator needs no mending, so the quick way takes it."""
    span = view(recorded(WHOLE, KEPT, {semconv.EVENT_ID: str(event_id_of(1, 2, START_NS))}))
    assert None not in quickly_sealed(span)


@given(st.lists(st.tuples(WIRE_ATTRIBUTES.filter(fits), RECORDS), max_size=9))
def test_records_that_are_read_together_are_read_alike(given_: list[tuple[dict[str, Any], Record]]) -> None:
    """However many records are sealed together, and whichever of them need mending, each has the row it has alone."""
    spans = [(view(attributes), record) for attributes, record in given_]
    payloads = [encode(span, record) for span, record in spans]
    assert sealed_in(payloads) == [sealed_in([payload])[0] for payload in payloads] == sealed_of(spans)


def test_what_cannot_be_read_costs_its_neighbours_nothing() -> None:
    """Bytes that are no payload stand between records that are read."""
    payload = encode(view(recorded(WHOLE, KEPT, {})), Record.UTTERANCE)
    sealed = sealed_in([payload, b"\xff", b"\x91\x01", payload])
    assert sealed[0] == sealed[3] is not None
    assert sealed[1:3] == [None, None]


def test_what_a_newer_version_has_spooled_is_told_from_what_nobody_can_read() -> None:
    """An order or a kind of record that this version does not know is nothing to be given up."""
    _, *ended = msgspec.msgpack.decode(ORDERED)
    newer = msgspec.msgpack.encode([ORDER + 1, *ended])
    kind = msgspec.msgpack.encode(["verdict", *ended[:7], {}])
    for payload in (newer, kind):
        with pytest.raises(NewerError):
            sealed_in([ORDERED, payload])


def test_the_order_of_keys_never_changes() -> None:
    """What was spooled by an order is read by it: a key that comes or goes makes another, with a number of its own."""
    assert set(ORDERS) == {1}
    assert list(ORDERS[1]) == FIRST_ORDER.split()


FIRST_ORDER = """
intent.event_id
intent.schema_version
intent.emitter.id
intent.emitter.seq
error.type
intent.synthetic
intent.prompt.version
intent.utterance.hash_key_id
session.id
intent.parent_event_id
intent.actor.id
intent.entrypoint
intent.utterance.hash
intent.utterance.template_hash
intent.utterance.preview
intent.scope
intent.subject.type
intent.subject.id
intent.semreg.mode
intent.semreg.denied_verbs
intent.semreg.denied_reasons
intent.semreg.snapshot_id
intent.verb.chosen
intent.verb.forced
intent.selection.source
intent.outcome
intent.missing_args
intent.dsl.hash
intent.run_sheet.entry_id
intent.macro.semreg_checked
intent.macro.denied_verbs
intent.boost.version
intent.registry.version
intent.candidates.pre
intent.candidates.pre.verbs
intent.candidates.pre.scores
intent.candidates.pre.sources
intent.candidates.pre.total
intent.candidates.post
intent.candidates.post.verbs
intent.candidates.post.scores
intent.candidates.post.sources
intent.candidates.post.total
intent.quality
"""


def test_the_first_order_stays_readable() -> None:
    """A payload that was spooled in the order with number 1 has for ever the row that it had then, by both ways."""
    assert row_in(ORDERED) == ORDERED_ROW
    assert sealed_in([ORDERED]) == [seal(ORDERED_ROW)]


def test_an_order_is_written_as_it_always_was() -> None:
    """What says that it is of order 1 has the bytes of order 1: whoever changes them takes the next number."""
    order, trace_id, span_id, start_ns, end_ns, sampled, service_name, dropped, *values = msgspec.msgpack.decode(
        ORDERED
    )
    attributes: dict[str, Any] = dict(zip(FIRST_ORDER.split(), values, strict=True))
    ids = int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big")
    span = SpanView(*ids, start_ns, end_ns, attributes, sampled, service_name, dropped)
    assert (ORDER, order, encode(span, Record.UTTERANCE)) == (1, 1, ORDERED)


def test_another_order_is_read_by_its_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in another order, with one that this version does not know and without one that it does, give the row."""
    _, *ended = msgspec.msgpack.decode(ORDERED)
    head, values = ended[:7], dict(zip(ORDERS[1], ended[7:], strict=True))
    keys = ("intent.of.another.version", *(key for key in ORDERS[1][::-1] if key != semconv.SCOPE))
    monkeypatch.setitem(ORDERS, 2, keys)
    other = msgspec.msgpack.encode([2, *head, *({**values, keys[0]: "anything"}[key] for key in keys)])
    row = ORDERED_ROW._replace(scope=None)
    assert row_in(other) == row
    assert row_in(ORDERED) == ORDERED_ROW
    assert sealed_in([other, ORDERED, other]) == [seal(row), seal(ORDERED_ROW), seal(row)]


@pytest.mark.parametrize("value", ["a\ud800b", 1 << 70, -(1 << 70)], ids=repr)
def test_values_that_the_form_cannot_hold(value: Any) -> None:
    """They are mended as the row would have them, and the flag says so."""
    for key in (semconv.SCOPE, semconv.EMITTER_SEQ):
        span = view(recorded(WHOLE, KEPT, {key: value}))
        row, direct = row_in(encode(span, Record.UTTERANCE)), row_of(span, Record.UTTERANCE)
        assert isinstance(row, IntentEventRow)
        assert isinstance(direct, IntentEventRow)
        assert row._replace(quality=None) == direct._replace(quality=None), key
        assert set(row.quality or ()) - MENDED == set(direct.quality or ()) - MENDED, key
        assert Quality.VALUE_MENDED in (row.quality or ()), key


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x93\x01\x02\x03", b"\xff" * 40])
def test_what_is_no_payload_is_refused(payload: bytes) -> None:
    """Bytes that are no payload raise one error, whatever they are."""
    for read in (decode, row_in):
        with pytest.raises(msgspec.DecodeError):
            read(payload)
    assert sealed_in([payload]) == [None]
