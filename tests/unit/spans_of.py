# SPDX-License-Identifier: Apache-2.0
"""Spans as a decoder meets them: those of the contract, and those of emitters that keep to nothing."""

from typing import Any, Final

from hypothesis import strategies as st

from intent_events import columns, semconv
from intent_events.semconv import CANDIDATES_POST, CANDIDATES_PRE, SCORES, SOURCES, TOTAL, VERBS
from intent_events.spans import SpanView
from unit.odd_values import ANYTHING, WIRE

KEYS: Final = sorted(
    {attribute.key for table in (columns.UTTERANCE, columns.REPLY, columns.OUTCOME) for attribute in table.values()}
    | {semconv.RECORD, semconv.ROOT, semconv.EVENT_ID, semconv.QUALITY, CANDIDATES_PRE, CANDIDATES_POST}
    | {prefix + suffix for prefix in (CANDIDATES_PRE, CANDIDATES_POST) for suffix in (VERBS, SCORES, SOURCES, TOTAL)}
)
"""Every key that is read."""

START_NS: Final = 1_750_000_000_123_456_789
"""When the spans of tests start."""


def view(attributes: dict[str, Any] | None = None, **fields: Any) -> SpanView:
    """A finished span with these attributes."""
    whole: dict[str, Any] = {
        "trace_id": 0x5B8EFFF798038103D269B633813FC60C,
        "span_id": 0xEEE19B7EC3C1B174,
        "start_ns": START_NS,
        "end_ns": START_NS + 2_500_000,
        "attributes": attributes or {},
        "sampled": True,
        "service_name": "orchestrator",
    }
    return SpanView(**(whole | fields))


_TIMES = st.one_of(
    st.integers(0, 2_000_000_000 * 10**9), st.integers(), st.sampled_from([0, 253_402_300_800 * 10**9, (1 << 64) - 1])
)
_SPANS = {
    "trace_id": st.one_of(st.just(0), st.integers(0, (1 << 128) - 1)),
    "span_id": st.one_of(st.just(0), st.integers(0, (1 << 64) - 1)),
    "start_ns": _TIMES,
    "end_ns": _TIMES,
    "sampled": st.sampled_from([True, False, None]),
    "service_name": st.one_of(st.none(), st.text(max_size=300)),
    "dropped_attributes": st.integers(0, 3),
}
STRANGE_SPANS: Final = st.builds(
    SpanView, attributes=st.dictionaries(st.sampled_from(KEYS), st.one_of(ANYTHING, WIRE), max_size=12), **_SPANS
)
"""Spans with keys of the contract and values of any type."""

_LISTS = st.one_of(WIRE, st.lists(st.one_of(st.text(max_size=5), st.floats()), max_size=25).map(tuple))
CANDIDATE_ATTRIBUTES: Final = st.dictionaries(
    st.sampled_from([key for key in KEYS if key.startswith("intent.candidates")]), _LISTS, max_size=8
)
"""Candidate lists in any state of disorder."""
