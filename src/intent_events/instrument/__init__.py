# SPDX-License-Identifier: Apache-2.0
"""Records utterances: an instrumentor for untouched orchestrators, and an API for those that record by themselves."""

from intent_events.instrument.api import record_utterance, recording
from intent_events.instrument.current import current_trace
from intent_events.instrument.follow_ups import record_outcome, record_reply
from intent_events.instrument.instrumentor import IntentEventsInstrumentor
from intent_events.instrument.mapping import HandlerMapping, load_mapping
from intent_events.instrument.stages import stage

__all__ = [
    "HandlerMapping",
    "IntentEventsInstrumentor",
    "current_trace",
    "load_mapping",
    "record_outcome",
    "record_reply",
    "record_utterance",
    "recording",
    "stage",
]
