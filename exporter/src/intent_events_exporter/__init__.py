# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry span exporter that writes intent spans to Postgres as rows of ``agent.intent_events``."""

from intent_events_exporter.exporter import IntentEventsSpanExporter

__all__ = ["IntentEventsSpanExporter"]
