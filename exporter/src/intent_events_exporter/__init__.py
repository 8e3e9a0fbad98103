# SPDX-License-Identifier: Apache-2.0
"""Delivers intent spans to Postgres as rows of ``agent.intent_events``: the durable door, and the best-effort one."""

from intent_events_exporter.exporter import IntentEventsSpanExporter
from intent_events_exporter.processor import IntentEventsSpanProcessor
from intent_events_exporter.sampler import IntentSampler

__all__ = ["IntentEventsSpanExporter", "IntentEventsSpanProcessor", "IntentSampler"]
