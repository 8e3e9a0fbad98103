# SPDX-License-Identifier: Apache-2.0
"""What the sink says of itself, as OpenTelemetry metrics."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import Meter, Observation

from intent_events.sink.answers import Taken, Why
from intent_events.sink.records import Records
from intent_events.store.write import Written

if TYPE_CHECKING:
    from intent_events.sink.budget import Budget

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class SinkMetrics:
    """Counts every request and every span that the sink receives, by what became of it."""

    def __init__(self, meter: Meter) -> None:
        """Count with this meter."""
        self._meter = meter
        self._requests = meter.create_counter(
            "intent_events.sink.requests",
            unit="{request}",
            description="Requests by transport and by why they were refused, if they were.",
        )
        self._spans = meter.create_counter(
            "intent_events.sink.spans",
            unit="{span}",
            description="Spans received, by what became of them.",
        )
        self._duration = meter.create_histogram(
            "intent_events.sink.duration",
            unit="s",
            description="Time from a request to its answer.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._commits = meter.create_histogram(
            "intent_events.sink.commit.duration",
            unit="s",
            description="Time that one transaction took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def taken(self, transport: str, records: Records, taken: Taken, duration_s: float) -> None:
        """Count a request that was stored."""
        self._requests.add(1, {"intent.transport": transport})
        if records.passed_over:
            self._spans.add(records.passed_over, {"intent.delivery": "passed_over"})
        if taken.forbidden:
            self._spans.add(taken.forbidden, {"intent.delivery": "forbidden"})
        self._duration.record(duration_s, {"intent.transport": transport})

    def refused(self, transport: str, why: Why) -> None:
        """Count a request that was refused; what it held was not looked at, or comes again."""
        self._requests.add(1, {"intent.transport": transport, "error.type": why.value.label})

    def committed(self, written: Written, duration_s: float) -> None:
        """Count what a transaction stored."""
        for delivery, n in (("stored", written.stored), ("duplicate", written.duplicates), ("dead", written.dead)):
            if n:
                self._spans.add(n, {"intent.delivery": delivery})
        self._commits.record(duration_s)

    def observe(self, budget: "Budget", waiting: Callable[[], int], able: Callable[[], bool]) -> None:
        """Show what is held at the moment.

        Args:
            budget: bytes of requests.
            waiting: records that wait for a connection.
            able: whether Postgres takes records.
        """
        self._meter.create_observable_gauge(
            "intent_events.sink.in_flight",
            [lambda _: [Observation(budget.held)]],
            unit="By",
            description="Bytes of requests that are held.",
        )
        self._meter.create_observable_gauge(
            "intent_events.sink.in_flight.limit",
            [lambda _: [Observation(budget.most)]],
            unit="By",
            description="Bytes of requests that may be held.",
        )
        self._meter.create_observable_gauge(
            "intent_events.sink.waiting",
            [lambda _: [Observation(waiting())]],
            unit="{record}",
            description="Records that wait for a connection to Postgres.",
        )
        self._meter.create_observable_gauge(
            "intent_events.sink.ready",
            [lambda _: [Observation(int(able()))]],
            description="Whether Postgres takes records: 1 or 0.",
        )
