# SPDX-License-Identifier: Apache-2.0
"""What the exporter says of itself, as OpenTelemetry metrics."""

from enum import StrEnum

from opentelemetry.metrics import Meter

from intent_events.store.write import Written


class Dropped(StrEnum):
    """Why records were given up."""

    NO_DSN = "no_dsn"
    """No address of Postgres is set, or it cannot be used."""

    UNAVAILABLE = "unavailable"
    """Postgres did not take them within the time that an export may block."""

    SHUTDOWN = "shutdown"
    """They came after the exporter had been shut down."""

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
