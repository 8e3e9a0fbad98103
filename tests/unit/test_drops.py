# SPDX-License-Identifier: Apache-2.0
"""Numbers of dropped records in a heartbeat: what is written is read, and nothing else is taken for numbers."""

import json

from hypothesis import given
from hypothesis import strategies as st

from intent_events.store.drops import read_dropped, spelled
from support.histories import ranges_of

REASONS = st.sampled_from(["spool_full", "disk_full", "internal"])


@given(st.dictionaries(REASONS, st.integers(1, 99)), st.dictionaries(REASONS, st.sets(st.integers(1, 99), min_size=1)))
def test_what_is_written_is_read(counts: dict[str, int], numbers: dict[str, set[int]]) -> None:
    """Counts and numbers come back as they were; whoever adds up all that is there gets the counts."""
    ranges = {reason: tuple(ranges_of(each)) for reason, each in numbers.items()}
    told = counts | spelled(ranges)
    assert sum(told.values()) == sum(counts.values())
    assert read_dropped(json.dumps(told)) == (counts, ranges)


@given(st.text(alphabet="a -0123456789"), st.integers(0, 1))
def test_other_names_are_reasons(name: str, n: int) -> None:
    """Whatever a reason is called, nothing fails, and every range that is read has numbers that a record can have."""
    counts, numbers = read_dropped(json.dumps({name: n}))
    assert counts in ({}, {name: n})
    assert counts or not n
    assert all(0 < first <= last < 1 << 63 for ranges in numbers.values() for first, last in ranges)
