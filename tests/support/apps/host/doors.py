# SPDX-License-Identifier: Apache-2.0
"""The same spans in any process: each goes through the processor and through the exporter of one SDK."""

from itertools import count
from time import perf_counter_ns
from typing import Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator

from host.log import Log
from host.telemetry import Reader, counts_of
from intent_events import semconv
from intent_events.identity import event_id_of
from intent_events_exporter import IntentEventsSpanExporter, IntentEventsSpanProcessor

_EMITTER: Final = "00000000-0000-4000-8000-00000000000d"
_START_NS: Final = 1_790_000_000_000_000_000
_MS: Final = 1_000_000
_SOON_MS: Final = 20
_BATCH: Final = 50


class _Counting(IdGenerator):
    """The same ids in every process."""

    def __init__(self) -> None:
        self._traces, self._spans = count(1), count(1)

    def generate_trace_id(self) -> int:
        return next(self._traces)

    def generate_span_id(self) -> int:
        return next(self._spans)


class Doors:
    """An SDK with both doors."""

    def __init__(self) -> None:
        self._reader = Reader()
        meters = MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False)
        self._provider = TracerProvider(id_generator=_Counting(), shutdown_on_exit=False)
        self._provider.add_span_processor(IntentEventsSpanProcessor(meter_provider=meters))
        # Small batches at short intervals, so that both doors store while spans still end.
        batches = BatchSpanProcessor(
            IntentEventsSpanExporter(meter_provider=meters),
            schedule_delay_millis=_SOON_MS,
            max_export_batch_size=_BATCH,
        )
        self._provider.add_span_processor(batches)

    def hand_in(self, n: int, log: Log) -> dict[str, int]:
        """End the first ``n`` of these spans, wait until both doors are done, and give what they counted."""
        tracer = self._provider.get_tracer("doors")
        costs_ns: list[tuple[int, int, int]] = []
        for number in range(1, n + 1):
            begins = _START_NS + number * _MS
            # The number of a record is part of it: whoever copies a record copies it.
            attributes = {
                semconv.ROOT: True,
                semconv.OUTCOME: "matched",
                semconv.EMITTER_ID: _EMITTER,
                semconv.EMITTER_SEQ: number,
            }
            span = tracer.start_span("utterance", attributes=attributes, start_time=begins)
            context = span.get_span_context()
            began = perf_counter_ns()
            span.end(begins + _MS)
            costs_ns.append((context.trace_id, context.span_id, perf_counter_ns() - began))
        self._provider.force_flush()
        self._provider.shutdown()
        counts = counts_of(self._reader.read())
        kept = counts["processor.records:spooled"] == n
        for number, (trace_id, span_id, cost_ns) in enumerate(costs_ns, 1):
            log.said(event_id_of(trace_id, span_id, _START_NS + number * _MS), durable=kept, cost_ns=cost_ns)
        return counts
