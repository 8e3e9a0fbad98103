# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""The telemetry of the host: an SDK, instrumented as its operator would, with metrics that can be asked."""

import os
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider

import intent_events_exporter.processor
from host.desk import TARGETS
from intent_events import IntentEventsInstrumentor

_TEN_YEARS_MS: Final = 10 * 365 * 86_400_000


class Reader(MetricReader):
    """Keeps what it reads, however far a test lets the clock step meanwhile, by which the SDK bounds the reading."""

    def __init__(self) -> None:
        super().__init__()
        self._data: MetricsData | None = None

    def read(self) -> MetricsData | None:
        """What the metrics say now."""
        self.collect(timeout_millis=_TEN_YEARS_MS)
        return self._data

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> None:
        del timeout_millis
        self._data = metrics_data

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        """Nothing is left to do."""


class Telemetry:
    """An SDK with our processor; once a process."""

    def __init__(self) -> None:
        if patience_s := os.environ.get("HOST_STATEMENT_S"):
            # The time that a statement may take is no setting, and half a minute is long for a test.
            intent_events_exporter.processor._STATEMENT_S = float(patience_s)
        self._reader = Reader()
        self._provider = TracerProvider()
        if os.environ.get("HOST_UNRECORDED"):
            return
        IntentEventsInstrumentor().instrument(
            targets=TARGETS,
            tracer_provider=self._provider,
            meter_provider=MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False),
        )

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is stored; whether that is so."""
        return self._provider.force_flush(int(timeout_s * 1000))

    def counted(self) -> dict[str, int]:
        """What the processor and its drain counted, by metric and what became of it."""
        return counts_of(self._reader.read())


def counts_of(data: MetricsData | None) -> dict[str, int]:
    """What metrics count, by metric and what became of it."""
    counts: dict[str, int] = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    if isinstance(point, NumberDataPoint):
                        labels = [str(value) for _, value in sorted((point.attributes or {}).items())]
                        counts[":".join([metric.name.removeprefix("intent_events."), *labels])] = int(point.value)
    return counts
