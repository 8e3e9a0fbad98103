# SPDX-License-Identifier: Apache-2.0
"""What the exporter and the processor say of themselves, as OpenTelemetry metrics."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from opentelemetry.metrics import Meter, Observation

from intent_events.store.write import Written
from intent_events_exporter.spool import Waiting

if TYPE_CHECKING:
    from intent_events_exporter.drain import Drain
    from intent_events_exporter.flush import Tally


class Dropped(StrEnum):
    """Why records were given up."""

    NO_DSN = "no_dsn"
    """No address of Postgres is set, or it cannot be used."""

    UNAVAILABLE = "unavailable"
    """Postgres did not take them within the time that an export may block."""

    SHUTDOWN = "shutdown"
    """They came after the exporter had been shut down."""

    UNREADABLE = "unreadable"
    """They were in the spool, in a form that this version cannot read."""

    INTERNAL = "internal"
    """A failure of ours that nobody expected."""


class ExporterMetrics:
    """Counts every record that the exporter receives: each is stored, a duplicate, dead, or dropped with a reason."""

    def __init__(self, meter: Meter) -> None:
        """Count with this meter."""
        self._records = meter.create_counter(
            "intent_events.exporter.records",
            unit="{record}",
            description="Records received by the exporter, by what became of them and, if dropped, why.",
        )
        self._duration = meter.create_histogram(
            "intent_events.exporter.duration",
            unit="s",
            description="Time that one export blocked its thread.",
        )

    def written(self, written: Written) -> None:
        """Count what a batch became."""
        for delivery, n in (("stored", written.stored), ("duplicate", written.duplicates), ("dead", written.dead)):
            if n:
                self._records.add(n, {"intent.delivery": delivery})

    def dropped(self, n: int, reason: Dropped) -> None:
        """Count records that were given up."""
        if n:
            self._records.add(n, {"intent.delivery": "dropped", "error.type": reason.value})

    def took(self, duration_s: float) -> None:
        """Note how long an export took, seconds."""
        self._duration.record(duration_s)


Counts = Callable[[], tuple[int, dict[str, int]]]
"""Gives how many records were received, and how many of them were dropped, by reason."""


class ProcessorMetrics:
    """Shows what the processor, its spool and its drain count anyway: the caller's thread pays nothing for it."""

    def __init__(self, meter: Meter, waiting: Callable[[], Waiting], counts: Counts) -> None:
        """Show these with this meter.

        Args:
            meter: makes the instruments.
            waiting: what waits in the spool.
            counts: what the processor counted.
        """
        self._meter = meter
        self._waiting = waiting
        self._counts = counts
        self._duration = meter.create_histogram(
            "intent_events.drain.duration", unit="s", description="Time that one flush to Postgres took."
        )

    def flushed(self, duration_s: float) -> None:
        """Note how long a flush took, seconds."""
        self._duration.record(duration_s)

    def observe(self, drain: "Drain") -> None:
        """Show this drain too."""
        meter, waiting = self._meter, self._waiting
        meter.create_observable_counter(
            "intent_events.processor.records",
            [lambda _: self._received()],
            unit="{record}",
            description="Records that ended in this process, by what became of them and, if dropped, why.",
        )
        meter.create_observable_counter(
            "intent_events.drain.records",
            [lambda _: _delivered(drain.tally)],
            unit="{record}",
            description="Records taken from the spool, those of dead processes included, by what became of them.",
        )
        meter.create_observable_counter(
            "intent_events.drain.retries",
            [lambda _: [Observation(drain.retries)]],
            unit="{try}",
            description="Tries to store that failed.",
        )
        meter.create_observable_gauge(
            "intent_events.drain.circuit",
            [lambda _: [Observation(int(drain.circuit))]],
            description="Way to Postgres: 0 closed, 1 half open, 2 open.",
        )
        meter.create_observable_gauge(
            "intent_events.spool.records",
            [lambda _: [Observation(waiting().records)]],
            unit="{record}",
            description="Records that wait in the spool.",
        )
        meter.create_observable_gauge(
            "intent_events.spool.size",
            [lambda _: [Observation(waiting().bytes)]],
            unit="By",
            description="Bytes that wait in the spool.",
        )
        meter.create_observable_gauge(
            "intent_events.spool.age",
            [lambda _: [Observation(waiting().oldest_age_s or 0.0)]],
            unit="s",
            description="Age of the oldest record that waits.",
        )
        meter.create_observable_counter(
            "intent_events.spool.torn",
            [lambda _: [Observation(drain.tally.torn)]],
            unit="{stretch}",
            description="Damaged stretches of the spool that were set aside.",
        )

    def _received(self) -> Iterable[Observation]:
        received, dropped = self._counts()
        yield Observation(received - sum(dropped.values()), {"intent.delivery": "spooled"})
        for reason, n in dropped.items():
            yield Observation(n, {"intent.delivery": "dropped", "error.type": reason})


def _delivered(tally: "Tally") -> Iterable[Observation]:
    yield Observation(tally.stored, {"intent.delivery": "stored"})
    yield Observation(tally.duplicates, {"intent.delivery": "duplicate"})
    yield Observation(tally.dead, {"intent.delivery": "dead"})
    if tally.unreadable:
        yield Observation(tally.unreadable, {"intent.delivery": "dropped", "error.type": Dropped.UNREADABLE.value})
