# SPDX-License-Identifier: Apache-2.0
"""Attaches the exporter to the SDK when the instrumentor starts, so that no code of the host's is needed."""

from collections.abc import Callable

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import TracerProvider, get_tracer_provider

from intent_events import semconv
from intent_events.instrument.troubles import trouble
from intent_events.settings import DeliverySettings
from intent_events_exporter.exporter import IntentEventsSpanExporter


class RecordsOnly(SpanProcessor):
    """Passes the spans that say they are records to a batch processor, so that no others fill its queue."""

    def __init__(self, batch: SpanProcessor) -> None:
        """Pass records to this processor."""
        self._batch = batch
        self._active = True

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span when it says that it is a record."""
        attributes = span.attributes or {}
        if self._active and (semconv.ROOT in attributes or semconv.RECORD in attributes):
            self._batch.on_end(span)

    def shutdown(self) -> None:
        """Export what is queued and stop; the SDK cannot take a processor out again, so it stays without effect."""
        if self._active:
            self._active = False
            self._batch.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is queued."""
        return not self._active or self._batch.force_flush(timeout_millis)


def attach(tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> Callable[[], None]:
    """Deliver the records of a tracer provider to ``INTENT_EVENTS_DSN``; nothing when that is not set.

    Nothing either when ``OTEL_TRACES_EXPORTER`` names ``intent_events``: the SDK has made the exporter then.

    Args:
        tracer_provider: the SDK's; None takes the global one.
        meter_provider: makes the metrics; None takes the global one.

    Returns:
        What undoes it.

    Raises:
        SettingsError: a variable cannot be used.
    """
    settings = DeliverySettings.from_environment()
    if settings.read_dsn() is None or "intent_events" in settings.traces_exporters:
        return _nothing
    provider = tracer_provider or get_tracer_provider()
    if not isinstance(provider, SdkTracerProvider):
        trouble(
            "intent-events: there is no SDK tracer provider yet, so nothing is delivered: "
            "set one up before instrument(), or run under opentelemetry-instrument"
        )
        return _nothing
    processor = RecordsOnly(BatchSpanProcessor(IntentEventsSpanExporter(meter_provider=meter_provider)))
    provider.add_span_processor(processor)
    return processor.shutdown


def _nothing() -> None:
    """Undo nothing."""
