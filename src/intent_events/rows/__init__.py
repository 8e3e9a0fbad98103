# SPDX-License-Identifier: Apache-2.0
"""SpanView -> row or named rejection. Pure and total: any span gives one or the other, and nothing raises."""

from intent_events.rows.completed import REQUIRED, completed
from intent_events.rows.known import KNOWN, ORDER, Ended, payload_of, payload_with, values_in
from intent_events.rows.mapping import key_of, row_of
from intent_events.rows.shapes import (
    CandidateItem,
    ChatEventRow,
    IntentEventRow,
    IntentOutcomeRow,
    Rejection,
    RejectReason,
    Row,
)

__all__ = [
    "KNOWN",
    "ORDER",
    "REQUIRED",
    "CandidateItem",
    "ChatEventRow",
    "Ended",
    "IntentEventRow",
    "IntentOutcomeRow",
    "RejectReason",
    "Rejection",
    "Row",
    "completed",
    "key_of",
    "payload_of",
    "payload_with",
    "row_of",
    "values_in",
]
