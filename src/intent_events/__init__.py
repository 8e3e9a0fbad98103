# SPDX-License-Identifier: Apache-2.0
"""Records every utterance of an orchestrator as one OpenTelemetry span and one row in Postgres."""

from intent_events.columns import Candidate
from intent_events.instrument import (
    HandlerMapping,
    IntentEventsInstrumentor,
    current_trace,
    load_mapping,
    record_outcome,
    record_reply,
    record_utterance,
    recording,
    stage,
)
from intent_events.semconv import Outcome, OutcomeKind
from intent_events.trace import IntentTrace
from intent_events.version import __version__

__all__ = [
    "Candidate",
    "HandlerMapping",
    "IntentEventsInstrumentor",
    "IntentTrace",
    "Outcome",
    "OutcomeKind",
    "__version__",
    "current_trace",
    "load_mapping",
    "record_outcome",
    "record_reply",
    "record_utterance",
    "recording",
    "stage",
]
