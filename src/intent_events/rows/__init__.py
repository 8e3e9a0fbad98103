# SPDX-License-Identifier: Apache-2.0
"""SpanView -> row or named rejection. Pure and total: any span gives one or the other, and nothing raises."""

from intent_events.rows.known import DEFAULTS, KNOWN, known_in
from intent_events.rows.mapping import row_of
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
    "DEFAULTS",
    "KNOWN",
    "CandidateItem",
    "ChatEventRow",
    "IntentEventRow",
    "IntentOutcomeRow",
    "RejectReason",
    "Rejection",
    "Row",
    "known_in",
    "row_of",
]
