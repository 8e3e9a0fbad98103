# SPDX-License-Identifier: Apache-2.0
"""The span exporter: the best-effort door to Postgres.

It stands behind the SDK's batch processor, which drops spans when its queue is full, never sees unsampled ones and
loses what is queued when the process is killed. What reaches ``export`` is stored, or counted with the reason.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import uniform
from time import monotonic
from typing import Final, NamedTuple

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from intent_events.delivery import settle, settle_keys
from intent_events.errors import PermanentError, RetryableError, SettingsError
from intent_events.identity import parse_uuid
from intent_events.instrument.troubles import trouble
from intent_events.instrument.undelivered import note_door
from intent_events.rows import Rejection
from intent_events.select import select
from intent_events.semconv import EVENT_ID, Record
from intent_events.settings import DeliverySettings
from intent_events.spans import SpanView
from intent_events.store.connect import check
from intent_events.store.copy_format import Sealed
from intent_events.store.seal import sealed_of
from intent_events.store.write import BATCH_ROWS, Writer
from intent_events.version import __version__
from intent_events_exporter.convert import view_of
from intent_events_exporter.loop import LoopThread
from intent_events_exporter.metrics import Dropped, ExporterMetrics

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_MAPPED_AT_ONCE: Final = 32
_inherited: Final[list[object]] = []
"""Writers of a parent process, kept because their connections are not ours to give up."""


@dataclass(slots=True)
class _Job:
    """Records of one export that are not stored yet, and why they would be dropped.

    Attributes:
        records: what is not stored yet.
        dropped: why, if that stays so.
        said: whether a log line says why.
        unreadable: records that could not even be mapped, of batches that are stored.
    """

    records: list[tuple[SpanView, Record]] = field(default_factory=list[tuple[SpanView, Record]])
    dropped: Dropped = Dropped.UNAVAILABLE
    said: bool = False
    unreadable: int = 0


class _Batch(NamedTuple):
    rows: list[Sealed]
    rejections: list[Rejection]
    unreadable: int


class IntentEventsSpanExporter(SpanExporter):
    """Writes intent spans to Postgres and passes over all others.

    ``OTEL_TRACES_EXPORTER=otlp,intent_events`` makes one by environment alone. ``export`` never raises, blocks for a
    bounded time, and returns SUCCESS only when every record is committed. Do not put it behind a
    ``SimpleSpanProcessor``: that would make the host's own thread wait for Postgres.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        timeout_s: float | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Make an exporter; nothing is connected before the first record.

        Args:
            dsn: address of Postgres; default ``INTENT_EVENTS_DSN`` or ``INTENT_EVENTS_DSN_FILE``.
            timeout_s: seconds that one export may block, retries included; default ``INTENT_EVENTS_EXPORT_TIMEOUT``.
            meter_provider: makes the metrics; default the global one.
        """
        note_door()
        self._metrics = ExporterMetrics(get_meter("intent_events_exporter", __version__, meter_provider))
        self._dsn, self._timeout_s, self._problem = _settings(dsn, timeout_s)
        if self._problem:
            trouble(self._problem)
        self._thread = LoopThread("intent-events-exporter")
        self._writer: Writer | None = None
        self._writer_pid = 0
        self._stopped = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store the records among these spans.

        Args:
            spans: finished spans of any kind.

        Returns:
            SUCCESS when every record among them is committed, now or by an earlier export; FAILURE otherwise.
        """
        began = monotonic()
        job = _Job()
        try:
            job.records = _records_among(spans)
            if job.records:
                self._deliver(job)
        except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the SDK, which would pass it on
            job.dropped = Dropped.INTERNAL
            trouble("intent-events: an export failed; its records are dropped", error)
        finally:
            self._metrics.took(monotonic() - began)
        self._metrics.dropped(job.unreadable, Dropped.INTERNAL)
        if not job.records:
            return SpanExportResult.FAILURE if job.unreadable else SpanExportResult.SUCCESS
        self._metrics.dropped(len(job.records), job.dropped)
        # The others bear the id of the utterance that they follow, whose own record may be on its way still.
        utterances = (view for view, record in job.records if record is Record.UTTERANCE)
        event_ids = (parse_uuid(view.attributes.get(EVENT_ID)) for view in utterances)
        settle((event_id for event_id in event_ids if event_id is not None), committed=False)
        return SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the signature is the SDK's
        """Nothing is kept between exports, so there is never anything to flush."""
        return True

    def shutdown(self) -> None:
        """Close the connection; later exports fail. Bounded in time."""
        if self._stopped:
            return
        self._stopped = True
        writer = self._writer if self._writer_pid == os.getpid() else None
        try:
            if writer is not None:
                self._thread.run(writer.close, self._timeout_s)
        except Exception as error:  # noqa: BLE001 - the connection is given up whatever closing it does
            trouble("intent-events: the connection could not be closed", error)
        finally:
            self._thread.stop(self._timeout_s)

    def _deliver(self, job: _Job) -> None:
        if self._stopped:
            job.dropped = Dropped.SHUTDOWN
            return
        if self._dsn is None:
            job.dropped = Dropped.NO_DSN
            trouble(self._problem)
            return
        writer = self._writer_here(self._dsn)
        try:
            self._thread.run(lambda: self._write_all(writer, job), self._timeout_s)
        except TimeoutError as error:  # Postgres took longer than an export may block
            if not job.said:
                trouble("intent-events: Postgres did not answer in time; see INTENT_EVENTS_EXPORT_TIMEOUT", error)

    def _writer_here(self, dsn: str) -> Writer:
        """The writer of this process: a connection does not survive a fork."""
        if self._writer is None or self._writer_pid != os.getpid():
            _inherited.append(self._writer)
            self._writer = Writer(dsn, door="exporter", timeout_s=self._timeout_s)
            self._writer_pid = os.getpid()
        return self._writer

    async def _write_all(self, writer: Writer, job: _Job) -> None:
        """Write batch by batch until nothing is left or the time is up; a batch leaves the job once it is committed.

        The next batch is mapped while Postgres works on this one: it is the server that takes the time.
        """
        batch = await _map(job.records[:BATCH_ROWS])
        while job.records:
            async with asyncio.TaskGroup() as together:
                writing = together.create_task(self._store(writer, batch, job))
                batch = await _map(job.records[BATCH_ROWS : 2 * BATCH_ROWS])
            if not writing.result():
                return

    async def _store(self, writer: Writer, batch: _Batch, job: _Job) -> bool:
        """Store the first batch of a job, however often it takes; False when Postgres will never take it."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                written = await writer.write(batch.rows, batch.rejections)
            except RetryableError as error:  # Postgres is away, not migrated, or refuses this role
                job.said = True
                trouble(f"intent-events: {error}")
                await asyncio.sleep(uniform(pause_s / 2, pause_s))  # noqa: S311 - jitter, no secret
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            except PermanentError as error:  # not even a dead letter is taken
                trouble(f"intent-events: {error}")
                return False
            except SettingsError as error:  # an address that looks like one, but that the driver cannot read
                job.dropped = Dropped.NO_DSN
                trouble(f"intent-events: {error}. Records are dropped until that is mended")
                return False
            # No waiting between the commit and this: cancelled here, the records would count as dropped too.
            del job.records[:BATCH_ROWS]
            job.unreadable += batch.unreadable
            self._metrics.written(written)
            settle_keys(written.refused, committed=False, refused=True)
            settle_keys((row.key for row in batch.rows if row.key not in written.refused), committed=True)
            return True


def _records_among(spans: Sequence[ReadableSpan]) -> list[tuple[SpanView, Record]]:
    records: list[tuple[SpanView, Record]] = []
    for span in spans:
        try:
            view = view_of(span)
            record = select(view)
        except Exception as error:  # noqa: BLE001 - a span of another make may fail in any way; it is no record then
            trouble("intent-events: a span could not be read and is passed over", error)
            continue
        if isinstance(record, Record):
            records.append((view, record))
    return records


async def _map(records: Sequence[tuple[SpanView, Record]]) -> _Batch:
    """Map records to rows, a few at a time, so that whoever talks to Postgres on this loop is not held up."""
    rows: list[Sealed] = []
    rejections: list[Rejection] = []
    for start in range(0, len(records), _MAPPED_AT_ONCE):
        for row in sealed_of(records[start : start + _MAPPED_AT_ONCE]):
            if isinstance(row, Rejection):
                rejections.append(row)
            elif row is not None:
                rows.append(row)
        await asyncio.sleep(0)
    return _Batch(rows, rejections, len(records) - len(rows) - len(rejections))


def _settings(dsn: str | None, timeout_s: float | None) -> tuple[str | None, float, str]:
    """Where to write, how long that may take, and what is the matter when records cannot be written at all."""
    try:
        settings = DeliverySettings.from_environment()
        dsn = dsn or settings.read_dsn()
        if dsn is not None:
            check(dsn)
    except SettingsError as error:  # a variable, the file that it names or the address is of the wrong form
        problem = f"intent-events: {error}. Records are dropped until that is mended"
        return None, DeliverySettings().export_timeout, problem
    problem = "" if dsn else "intent-events: INTENT_EVENTS_DSN is not set. Records are dropped until it is"
    return dsn, settings.export_timeout if timeout_s is None else timeout_s, problem
