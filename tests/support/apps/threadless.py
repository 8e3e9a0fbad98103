# SPDX-License-Identifier: Apache-2.0
"""Handles one utterance and ends, in a process that can start no thread, as Python 3.12 and later when they end."""

import threading
from contextlib import suppress

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from intent_events import record_utterance
from intent_events_exporter import IntentEventsSpanExporter


@record_utterance
def handle(utterance: str) -> int:
    """Handle one utterance."""
    return len(utterance)


def main() -> None:
    """Handle one utterance; its row is written when the interpreter ends."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(IntentEventsSpanExporter(timeout_s=30.0)))
    trace.set_tracer_provider(provider)
    threading.stack_size(1 << 46)  # more than there is room for: the system refuses every thread from here on
    with suppress(RuntimeError):
        threading.Thread(target=print, args=("a thread could be started after all",)).start()
    handle("one")


if __name__ == "__main__":
    main()
