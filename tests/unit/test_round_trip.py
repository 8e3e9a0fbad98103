# SPDX-License-Identifier: Apache-2.0
"""Every trace comes back as its row, through a span of the real SDK, the quick way and the careful way."""

import math
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import columns, semconv
from intent_events.columns import Kind
from intent_events.identity import derived_uuid, event_id_of
from intent_events.instrument.attributes import attributes_of
from intent_events.mending import text
from intent_events.privacy import TextRecord
from intent_events.rows import CandidateItem, IntentEventRow, Rejection, completed, payload_of, row_of, values_in
from intent_events.semconv import MAX_CANDIDATES, Quality, Record
from intent_events.spans import SpanView
from intent_events.store.copy_format import Sealed, seal
from intent_events.store.python_seal import sealed_in_python
from intent_events.store.quick_seal import seal_payloads
from intent_events.store.seal import sealed_of
from intent_events.trace import TRACE_FIELDS, IntentTrace
from unit.odd_values import WIRE
from unit.spans_of import CANDIDATE_ATTRIBUTES, KEYS, START_NS, view
from unit.traced import Traced, traced_by
from unit.traced import attributes_of as attributes_of_span
from unit.traces_of import CLEAN, KEPT, PLAIN, STRANGE, WHOLE, check_bounds, items_of, traces


def by_the_real_sdk(trace: IntentTrace) -> IntentEventRow:
    """Row of a trace after its way through a span of the real SDK."""
    with traced_by(Traced()) as traced:
        opened = traced.recorder.begin("assign it", {})
        for name in TRACE_FIELDS:
            setattr(opened.trace, name, getattr(trace, name))
        opened.end()
        attributes = attributes_of_span(traced.root)
        check_bounds({key: value for key, value in attributes.items() if not key.startswith("intent.emitter")})
        return traced.row


UUIDS: Final = {name for name in TRACE_FIELDS if name in columns.UTTERANCE and name.endswith("_id")}


def expected(name: str, value: Any) -> Any:
    """What a column holds of a field that needs no mending."""
    missing = {"actor_id", "entrypoint", "semreg_mode", "outcome"}
    if value is None:
        return "unknown" if name in missing else False if name in {"synthetic", "macro_semreg_checked"} else None
    if name.startswith("verb_candidates"):
        return [CandidateItem(*item) for item in value][:MAX_CANDIDATES]
    kind = columns.UTTERANCE[name].kind
    if kind in {Kind.UUID, Kind.STRICT_UUID}:
        return UUID(str(value))
    return text(value, set()) if kind is Kind.LABEL else value


@given(traces(CLEAN))
def test_a_trace_comes_back_as_its_row(trace: IntentTrace) -> None:
    """Through a span of the real SDK, every column holds what the field of its name held."""
    row = by_the_real_sdk(trace)
    flags = set(row.quality or ())
    for name in TRACE_FIELDS:
        value = getattr(trace, name)
        if name == "entity_spans":
            continue  # what is known of the text is no record of its own
        if name.endswith("_total"):
            items = getattr(trace, name.removesuffix("_total"))
            assert getattr(row, name) == (None if items is None else len(items))
        elif name == "session_id" and value is None:
            assert row.session_id == derived_uuid(semconv.SESSION_ID, row.trace_id)
        elif not (
            Quality.VALUE_CUT in flags and isinstance(value, list)
        ):  # what is over 64 KiB is left out and flagged
            assert getattr(row, name) == expected(name, value), name
    assert "event_id_derived" not in flags


@given(STRANGE)
def test_a_strange_trace_comes_back_as_a_row(trace: IntentTrace) -> None:
    """Whatever a trace holds, there is one row of it, and it says what had to be mended."""
    row = by_the_real_sdk(trace)
    assert row.utterance_preview == "assign it"
    assert set(row.quality or ()) <= set(Quality)


def recorded(trace: IntentTrace, kept: TextRecord | None, more: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a trace as they are on a span, some of them changed."""
    attributes = {**attributes_of(trace, kept), **more}
    return {key: tuple(items_of(value)) if isinstance(value, list) else value for key, value in attributes.items()}


WIRE_ATTRIBUTES: Final = st.one_of(
    st.builds(
        recorded,
        st.one_of(traces(PLAIN), traces(CLEAN)),
        st.sampled_from([KEPT, None]),
        CANDIDATE_ATTRIBUTES,
    ),
    st.builds(recorded, traces(CLEAN), st.just(KEPT), st.just(dict[str, Any]())),
)


KEY: Final = {semconv.EVENT_ID: str(event_id_of(1, 2, START_NS))}
"""The key that an emitter gives a span of :func:`view`."""


def quickly_sealed(span: SpanView) -> list[Sealed | None]:
    """Sealed row of a span by each of the quick ways; None when it is not taken."""
    payload = payload_of(span)
    if payload is None:
        return []
    values = values_in(payload)
    in_python = [] if values is None else sealed_in_python([completed(values)])
    return [*seal_payloads([payload]), *in_python]


def check_both_ways(attributes: dict[str, Any], **fields: Any) -> None:
    """Check that the quick ways to a sealed row, where they are taken, and the careful one give the same bytes."""
    span = view(attributes, **fields)
    row = row_of(span, Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    for sealed in quickly_sealed(span):
        assert sealed is None or sealed == seal(row)


@given(WIRE_ATTRIBUTES)
def test_the_quick_way_to_a_row_is_the_careful_way(attributes: dict[str, Any]) -> None:
    """A record that is read the quick way has the row that the careful way gives it."""
    check_both_ways(attributes | KEY)


CHANGES: Final = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), WIRE), min_size=1, max_size=2)
"""Some attributes that are absent or odd."""


@given(st.one_of(traces(PLAIN), st.just(WHOLE)), CHANGES)
def test_the_quick_way_leaves_what_is_odd_to_the_careful_way(trace: IntentTrace, changes: dict[str, Any]) -> None:
    """The same holds when an attribute is absent or is anything."""
    attributes = recorded(trace, KEPT, KEY | changes)
    check_both_ways(attributes)


FOREIGN: Final = (
    *((key, None) for key in (semconv.EVENT_ID, semconv.SESSION_ID, semconv.ACTOR_ID, semconv.ENTRYPOINT)),
    *((key, None) for key in (semconv.UTTERANCE_HASH, semconv.SEMREG_MODE, semconv.OUTCOME, semconv.SELECTION_SOURCE)),
    *((key, "of-their-own") for key in (semconv.SESSION_ID, semconv.SUBJECT_ID, semconv.RUN_SHEET_ENTRY_ID)),
    *((key, "of_their_own") for key in (semconv.ENTRYPOINT, semconv.SEMREG_MODE, semconv.OUTCOME)),
    *((semconv.SESSION_ID, given) for given in ("F" * 8 + "-FFFF-7FFF-8FFF-" + "F" * 12, "f" * 32, "1" * 36)),
    (semconv.SELECTION_SOURCE, ""),
)
"""What whole services send or leave out."""


@pytest.mark.parametrize(("key", "given"), FOREIGN)
def test_what_a_service_sends_in_its_own_way_is_quick_too(
    key: str, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids and labels of another form, and what is missing, do not make records slow; the rows stay the same."""
    spans = [view(recorded(WHOLE, KEPT, KEY | more)) for more in ({key: given}, {}, {key: given})]
    rows = [row_of(span, Record.UTTERANCE) for span in spans]
    expected = [seal(row) for row in rows if not isinstance(row, Rejection)]
    monkeypatch.delattr("intent_events.store.seal.sealed_with_care")
    assert sealed_of([(span, Record.UTTERANCE) for span in spans]) == expected
    monkeypatch.setattr("intent_events.store.quick_seal.pack_rows", None)
    assert sealed_of([(span, Record.UTTERANCE) for span in spans]) == expected


ODD: Final[tuple[Any, ...]] = (
    *(None, "", "?", "x" * 36, "x" * 100, "x" * 300, "a\x00b", "é", 7, 1 << 40, -(1 << 70), 0.5, True),
    *((), ("a",), ("a",) * 200, (1,), (0.5,), (0.5, 0.5), ("a", "b"), (math.nan,), (math.inf,)),
)


@pytest.mark.parametrize("service", [None, "", "é", "x" * 256, "x" * 257, "é" * 300, "a\x00b", "\ud800"])
def test_any_name_of_a_service(service: str | None) -> None:
    """The emitter says it; however long it is, it gives the same row either way."""
    check_both_ways(recorded(WHOLE, KEPT, KEY), service_name=service)


@pytest.mark.parametrize("key", KEYS)
def test_every_odd_attribute_is_read_carefully(key: str) -> None:
    """Each attribute, absent or of another type, gives the same row either way."""
    for value in ODD:
        check_both_ways(recorded(WHOLE, KEPT, KEY | {key: value}))
