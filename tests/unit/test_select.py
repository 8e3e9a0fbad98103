# SPDX-License-Identifier: Apache-2.0
"""Which spans are records, and why the others are not."""

from typing import Any

import pytest
from hypothesis import given

from intent_events.select import Skipped, select
from intent_events.semconv import RECORD, ROOT, Record
from intent_events.spans import SpanView
from unit.odd_values import Colour, HostileText
from unit.spans_of import STRANGE_SPANS, view


@given(STRANGE_SPANS)
def test_select_is_total(span: SpanView) -> None:
    """Any span is a record of one kind, or is none for a named reason."""
    assert isinstance(select(span), (Record, Skipped))


@pytest.mark.parametrize(
    ("attributes", "answer"),
    [
        ({}, Skipped.STRANGER),
        ({"http.route": "/"}, Skipped.STRANGER),
        ({"intent.stage": "discover"}, Skipped.STRANGER),
        ({ROOT: True}, Record.UTTERANCE),
        ({ROOT: True, RECORD: "utterance"}, Record.UTTERANCE),
        ({ROOT: True, RECORD: Record.UTTERANCE}, Record.UTTERANCE),
        ({ROOT: False}, Skipped.NESTED),
        ({ROOT: False, RECORD: "utterance"}, Skipped.NESTED),
        ({RECORD: "utterance"}, Skipped.NESTED),
        ({ROOT: 1}, Skipped.NESTED),
        ({ROOT: "true"}, Skipped.NESTED),
        ({RECORD: "reply"}, Record.REPLY),
        ({RECORD: "outcome"}, Record.OUTCOME),
        ({RECORD: "reply", ROOT: False}, Record.REPLY),
        ({RECORD: "verdict"}, Skipped.RECORD_UNKNOWN),
        ({RECORD: "verdict", ROOT: True}, Skipped.RECORD_UNKNOWN),
        ({RECORD: Colour.RED}, Skipped.RECORD_UNKNOWN),
        ({RECORD: ["reply"]}, Skipped.RECORD_UNKNOWN),
        ({RECORD: 1}, Skipped.RECORD_UNKNOWN),
        pytest.param({RECORD: HostileText("reply")}, Record.REPLY, id="hostile text"),
    ],
)
def test_select(attributes: dict[str, Any], answer: Record | Skipped) -> None:
    """An utterance is what says that it is a root, whatever its parent is; replies and outcomes name themselves."""
    assert select(view(attributes)) is answer
