# SPDX-License-Identifier: Apache-2.0
"""A real SDK in memory: what instrumentation leaves there, as spans and as rows."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from pydantic import SecretStr

from intent_events import semconv
from intent_events.instrument import troubles
from intent_events.instrument.current import make_recorder, set_recorder
from intent_events.rows import IntentEventRow, Rejection, Row, row_of
from intent_events.select import select
from intent_events.semconv import Record
from intent_events.settings import RecordSettings
from intent_events_exporter.convert import view_of

SETTINGS: Final = RecordSettings(hash_key=SecretStr("0123456789abcdef"))
"""Settings of tests: keyed hashes and masked previews."""

TROUBLES: Final[dict[str, float]] = vars(troubles)["_last"]
"""Log lines that are silent for a minute."""

UTTERANCE: Final = "assign Zebedee Quux 4,711 as custodian"
"""What tests say; the name and the number must never get out."""

SAID: Final = ("Zebedee", "zebedee", "Quux", "quux", "4,711")
"""Words that may be nowhere in a span."""


class Traced:
    """A tracer provider of one's own whose spans are kept in memory, with the recorder that uses it."""

    def __init__(
        self,
        *,
        settings: RecordSettings = SETTINGS,
        sampler: Sampler | None = None,
        ids: IdGenerator | None = None,
        limits: SpanLimits | None = None,
        processors: Sequence[SpanProcessor] = (),
    ) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, id_generator=ids, span_limits=limits, shutdown_on_exit=False)
        for processor in (*processors, SimpleSpanProcessor(self.exporter)):
            self.provider.add_span_processor(processor)
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.recorder = make_recorder(settings, tracer_provider=self.provider, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Finished spans, in the order in which they ended."""
        return list(self.exporter.get_finished_spans())

    @property
    def roots(self) -> list[ReadableSpan]:
        """Finished spans that are utterances."""
        return [span for span in self.spans if select(view_of(span)) is Record.UTTERANCE]

    @property
    def nested(self) -> list[ReadableSpan]:
        """Finished spans of nested calls."""
        return [span for span in self.spans if attributes_of(span).get(semconv.ROOT) is False]

    @property
    def root(self) -> ReadableSpan:
        """The one utterance."""
        (span,) = self.roots
        return span

    @property
    def row(self) -> IntentEventRow:
        """Row of the one utterance."""
        row = row_of(view_of(self.root), Record.UTTERANCE)
        assert isinstance(row, IntentEventRow)
        return row

    @property
    def rows(self) -> list[IntentEventRow]:
        """Rows of the utterances."""
        return [row for row in self.records() if isinstance(row, IntentEventRow)]

    def records(self) -> list[Row]:
        """Rows of all records."""
        rows: list[Row] = []
        for span in self.spans:
            record = select(view_of(span))
            if isinstance(record, Record):
                row = row_of(view_of(span), record)
                assert not isinstance(row, Rejection)
                rows.append(row)
        return rows

    def metric(self, name: str) -> float | None:
        """Sum of a counter; None when it was never counted."""
        data = self.reader.get_metrics_data()
        metrics = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        points: list[Any] = [point for metric in metrics for point in metric.data.data_points]
        return sum(point.value for point in points) if points else None

    def close(self) -> None:
        """Check that nothing that was said got out, and stop."""
        for span in self.spans:
            assert not [word for word in SAID if word in everything_of(span)]
        self.provider.shutdown()
        self.meters.shutdown()


@contextmanager
def traced_by(traced: Traced) -> Generator[Traced]:
    """Make the recorder of these the one of this process."""
    TROUBLES.clear()
    set_recorder(traced.recorder)
    try:
        yield traced
    finally:
        set_recorder(None)
        traced.close()


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Attributes of a span."""
    return dict(span.attributes or {})


def everything_of(span: ReadableSpan) -> str:
    """All that a span says: attributes, events, links, status and resource."""
    return json.dumps(json.loads(span.to_json()), ensure_ascii=False)
