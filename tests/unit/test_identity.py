# SPDX-License-Identifier: Apache-2.0
"""Keys are pure functions of the span: the same everywhere, ordered by time, and different for different spans."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.identity import MAX_MS, derived_uuid, event_id_of, is_uuid7, milliseconds_in, parse_uuid
from intent_events.trace import new_event_id
from unit.odd_values import ANYTHING, Unbound

TRACE_IDS = st.integers(0, (1 << 128) - 1)
SPAN_IDS = st.integers(0, (1 << 64) - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
MOMENTS = st.integers(0, (LAST - EPOCH) // timedelta(microseconds=1)).map(lambda microseconds: microseconds * 1000)
"""Starts of spans from 1970 to 9999, nanoseconds."""


@given(TRACE_IDS, SPAN_IDS, MOMENTS)
def test_an_event_id_is_a_uuid7_of_the_start(trace_id: int, span_id: int, start_ns: int) -> None:
    """It has the version and variant of RFC 9562, and its milliseconds are those of the start."""
    event_id = event_id_of(trace_id, span_id, start_ns)
    assert is_uuid7(event_id)
    assert (event_id.version, event_id.variant) == (7, "specified in RFC 4122")
    assert milliseconds_in(event_id) == start_ns // 1_000_000
    assert event_id == event_id_of(trace_id, span_id, start_ns)


@given(st.integers(), st.integers(), st.integers())
def test_event_id_of_is_total(trace_id: int, span_id: int, start_ns: int) -> None:
    """Ids and times of any size give a UUIDv7; times are clamped to what it can hold."""
    event_id = event_id_of(trace_id, span_id, start_ns)
    assert is_uuid7(event_id)
    assert milliseconds_in(event_id) == min(max(start_ns // 1_000_000, 0), MAX_MS)


@given(st.sets(st.tuples(TRACE_IDS, SPAN_IDS), min_size=2, max_size=30), MOMENTS)
def test_different_spans_have_different_keys(ids: set[tuple[int, int]], start_ns: int) -> None:
    """Spans that differ in an id differ in their key, even when they start in the same nanosecond."""
    assert len({event_id_of(*pair, start_ns) for pair in ids}) == len(ids)


def test_neighbouring_ids_have_different_keys() -> None:
    """Ids that differ in one bit, and ids that change places, do not meet."""
    pairs = [(1 << bit, 1) for bit in range(128)] + [(1, 1 << bit) for bit in range(1, 64)]
    assert len({event_id_of(*pair, 0) for pair in pairs}) == len(pairs)


@given(TRACE_IDS, SPAN_IDS, MOMENTS, MOMENTS)
def test_keys_are_ordered_by_time(trace_id: int, span_id: int, one: int, other: int) -> None:
    """A span that starts a millisecond later has the greater key, as bytes and as text."""
    earlier, later = sorted((one, other))
    keys = event_id_of(trace_id, span_id, earlier), event_id_of(span_id, span_id, later + 1_000_000)
    assert keys[0] < keys[1]
    assert str(keys[0]) < str(keys[1])


def test_the_key_of_a_known_span() -> None:
    """The rule of the contract, spelled out once: other doors and languages derive exactly this."""
    event_id = event_id_of(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1_718_000_000_123_456_789)
    assert event_id == UUID("019000c7-9c7b-712a-8659-cf8489cbf25a")


def test_a_key_without_a_span_is_a_uuid7() -> None:
    """Records without a span of their own get a key of now, each another."""
    keys = {new_event_id() for _ in range(100)}
    assert len(keys) == 100
    assert all(map(is_uuid7, keys))


@pytest.mark.parametrize("version", [1, 3, 4, 5, 6, 8])
def test_other_versions_are_no_uuid7(version: int) -> None:
    """Only version 7 of the RFC's variant counts."""
    uuid7 = event_id_of(1, 1, 0)
    assert not is_uuid7(UUID(int=uuid7.int & ~(0xF << 76) | version << 76))
    assert not is_uuid7(UUID(int=uuid7.int & ~(0b11 << 62)))


@given(ANYTHING)
def test_parse_uuid_is_total(value: Any) -> None:
    """Anything is a UUID or None."""
    assert parse_uuid(value) is None or type(parse_uuid(value)) is UUID


@given(st.uuids())
def test_parse_uuid_undoes_its_spellings(uuid: UUID) -> None:
    """Every spelling that Python's UUID takes is read, the longest too."""
    assert {parse_uuid(text) for text in (str(uuid), uuid.hex, uuid.urn, f"urn:uuid:{{{uuid}}}")} == {uuid}


def test_parse_uuid_of_what_is_none() -> None:
    """Other types, other texts and proxies bound to nothing are no UUID."""
    for value in (None, 5, b"0" * 16, "", "x" * 32, "0" * 100_000, Unbound()):
        assert parse_uuid(value) is None


@given(st.text(), st.text())
def test_derived_ids_meet_only_when_equal(one: str, other: str) -> None:
    """Equal foreign ids of a kind give one UUIDv5, others and other kinds give others."""
    assert (derived_uuid("session.id", one) == derived_uuid("session.id", other)) is (one == other)
    assert derived_uuid("session.id", one) != derived_uuid("intent.subject.id", one)
    assert derived_uuid("session.id", one).version == 5
