# SPDX-License-Identifier: Apache-2.0
"""Rows, spans and processors for the tests of delivery."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from opentelemetry.metrics import MeterProvider as ApiMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from intent_events import semconv
from intent_events.instrument.current import make_recorder, set_recorder
from intent_events.rows import IntentEventRow, Rejection, Row, row_of
from intent_events.semconv import Record
from intent_events.settings import RecordSettings
from intent_events.spans import SpanView
from intent_events_exporter import IntentEventsSpanExporter

START_NS: Final = 1_790_000_000_000_000_000
"""When the first record of a test begins, nanoseconds since 1970."""

HASH_KEY: Final = "a key of the tests alone"
"""Key of the fingerprints, so that no recorder has to make one and say so."""


def span_view(number: int, attributes: Mapping[str, Any] | None = None) -> SpanView:
    """A finished root span; the number makes its ids and its time, so that equal numbers are the same record."""
    return SpanView(
        trace_id=number + 1,
        span_id=number + 1,
        start_ns=START_NS + number * 1_000_000,
        end_ns=START_NS + number * 1_000_000 + 5_000_000,
        attributes={semconv.ROOT: True, semconv.OUTCOME: "matched", **(attributes or {})},
        sampled=True,
        service_name="tests",
    )


def utterance(number: int, **columns: Any) -> IntentEventRow:
    """A row of ``agent.intent_events``; equal numbers are the same record."""
    row = row_of(span_view(number), Record.UTTERANCE)
    assert isinstance(row, IntentEventRow)
    return row._replace(**columns)


def follow_up(number: int, record: Record) -> Row:
    """A row of ``agent.chat_events`` or ``agent.intent_outcomes``."""
    row = row_of(span_view(number, {semconv.EVENT_ID: str(uuid4())}), record)
    assert not isinstance(row, Rejection)
    return row


def utterances(since: int, until: int) -> list[Row]:
    """Rows of the numbers from ``since`` up to ``until``, without it."""
    return [utterance(number) for number in range(since, until)]


def rejection(number: int) -> Rejection:
    """A record that can become no row: its time is beyond the year 9999."""
    rejected = row_of(span_view(number)._replace(start_ns=300_000_000_000_000_000_000 + number), Record.UTTERANCE)
    assert isinstance(rejected, Rejection)
    return rejected


class Watched(SpanExporter):
    """An exporter that keeps what another one answered, and lets no exception of it pass unseen.

    Attributes:
        results: answers of ``export``, in order.
        errors: what it raised into the SDK, in order.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.results: list[SpanExportResult] = []
        self.errors: list[Exception] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and keep the answer."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self.errors.append(error)
            raise
        self.results.append(result)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter that is watched."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Shut the exporter that is watched down."""
        self._exporter.shutdown()


class Door:
    """A real SDK with our exporter behind its batch processor.

    Attributes:
        provider: the SDK's tracer provider.
        exporter: our exporter, watched.
    """

    def __init__(self, dsn: str | None, timeout_s: float) -> None:
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider(metric_readers=[self._reader])
        self.provider = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False)
        self.exporter = Watched(
            IntentEventsSpanExporter(dsn=dsn, timeout_s=timeout_s, meter_provider=self.meter_provider)
        )
        # An hour: what is exported is exported by flush() or by shutdown, never by the clock.
        self.provider.add_span_processor(BatchSpanProcessor(self.exporter, schedule_delay_millis=3_600_000))

    @property
    def results(self) -> list[SpanExportResult]:
        """Answers of the exporter so far."""
        return self.exporter.results

    def flush(self) -> None:
        """Export what is queued; returns when the exporter has answered."""
        self.provider.force_flush()

    def close(self) -> None:
        """Export what is queued and shut everything down."""
        self.provider.shutdown()
        self.meter_provider.shutdown()
        assert not self.exporter.errors, f"the exporter raised into the SDK: {self.exporter.errors}"

    def counted(self) -> dict[str, int]:
        """Records by what became of them: ``stored``, ``duplicate``, ``dead``, ``dropped:<reason>``."""
        counts: dict[str, int] = {}
        for name, point in self._points():
            if name == "intent_events.exporter.records":
                attributes = point.attributes or {}
                reason = attributes.get("error.type")
                label = str(attributes["intent.delivery"]) + (f":{reason}" if reason else "")
                counts[label] = counts.get(label, 0) + int(point.value)
        return counts

    def _points(self) -> Generator[tuple[str, NumberDataPoint]]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        if isinstance(point, NumberDataPoint):
                            yield metric.name, point


@contextmanager
def door(dsn: str | None, timeout_s: float = 10.0) -> Generator[Door]:
    """A door to this database, with a recorder of this process that records through it."""
    opened = Door(dsn, timeout_s)
    record_through(opened.provider, opened.meter_provider)
    try:
        yield opened
    finally:
        set_recorder(None)
        opened.close()


def record_through(provider: TracerProvider, meter_provider: ApiMeterProvider | None = None) -> None:
    """Let the recorder of this process make its spans with this provider, until ``set_recorder(None)``."""
    settings = RecordSettings.model_validate({"hash_key": HASH_KEY})
    set_recorder(make_recorder(settings, tracer_provider=provider, meter_provider=meter_provider))
