# SPDX-License-Identifier: Apache-2.0
"""The span processor: the durable door. What has ended is in the spool when ``span.end()`` returns."""

import os
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID
from weakref import WeakMethod

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from intent_events import mending
from intent_events.delivery import drop, dropped, persist
from intent_events.errors import SettingsError
from intent_events.instrument.recorder import EMITTER
from intent_events.instrument.troubles import trouble
from intent_events.instrument.undelivered import note_door
from intent_events.rows import key_of
from intent_events.select import select
from intent_events.semconv import EMITTER_ID, EMITTER_SEQ, EVENT_ID, RECORD, ROOT, Record
from intent_events.settings import DeliverySettings
from intent_events.spans import SpanView
from intent_events.store.connect import check, named_place_of
from intent_events.store.heartbeats import Heartbeat
from intent_events.store.write import Writer
from intent_events.version import __version__
from intent_events_exporter.convert import attributes_of, view_of
from intent_events_exporter.drain import Drain
from intent_events_exporter.metrics import Dropped, ProcessorMetrics
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Fsync, Spool, SpoolError, UnsyncedError, Waiting
from intent_events_exporter.spool.folder import owners_in

_STATEMENT_S: Final = 30.0
_LATE: Final = (
    "intent-events: records end after the shutdown of the SDK or uninstrument(): they wait in the spool for another "
    "process, or for `intent-events drain`"
)


class IntentEventsSpanProcessor(SpanProcessor):
    """Keeps every record that ends in a spool on disk, from which a thread of its own stores it in Postgres.

    Sampled or not, a record is kept: put an :class:`IntentSampler` on the tracer that makes the spans, or those that
    are not sampled never reach a processor. ``IntentEventsInstrumentor`` does all of that by itself.
    """

    def __init__(
        self,
        dsn: str | None = None,
        spool_dir: str | Path | None = None,
        *,
        settings: DeliverySettings | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Make a processor; nothing is opened or connected before the first record, and nothing here raises.

        Args:
            dsn: address of Postgres; default ``INTENT_EVENTS_DSN`` or ``INTENT_EVENTS_DSN_FILE``. Without one records
                wait in the spool.
            spool_dir: folder of the spool; default ``INTENT_EVENTS_SPOOL_DIR``.
            settings: all the rest; default the environment.
            meter_provider: makes the metrics; default the global one.
        """
        note_door()
        self._settings = settings = settings or settings_or_defaults()
        self._dsn = dsn
        self._dropped: Counter[str] = Counter()
        self._received = 0
        self._service_name: str | None = None
        self._stopped = self._retired = False
        self._left_over = False
        folder = settings.spool_folder() if spool_dir is None else Path(spool_dir)
        with suppress(OSError):  # the folder that the process is in is gone: append() says so of one within
            folder = folder.absolute()  # or it would be another one after a chdir()
        self._folder = folder
        self._database = self._place()
        self._spool = self._make_spool()
        self._metrics = ProcessorMetrics(
            get_meter("intent_events_exporter", __version__, meter_provider),
            self._waiting,
            self._counts,
        )
        self._drain = Drain(
            self._spool,
            self._open_writers,
            gather_s=settings.flush_interval,
            heartbeat_s=settings.heartbeat,
            heartbeat=self._heartbeat,
            flushed=self._metrics.flushed,
        )
        self._metrics.observe(self._drain)
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())
        with suppress(OSError):  # the folder is not ours to read, as append() will say
            if any(owners_in(folder)):
                self._drain.wake()  # what an earlier process left must not wait for the first record of this one

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a record is what has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span when it is a record. Never raises, and waits for nothing but one write."""
        if not self._retired:
            self.take(span)

    def take(self, span: ReadableSpan) -> bool:
        """Keep a finished span of the SDK when it is a record, also one that the SDK has not handed over.

        Args:
            span: the span.

        Returns:
            Whether it is a record and durable now. Never raises.
        """
        try:
            attributes = attributes_of(span)
            return (ROOT in attributes or RECORD in attributes) and self.accept(view_of(span, attributes))
        except Exception as error:  # noqa: BLE001 - a span of another make may fail in any way when it is read
            trouble("intent-events: a span could not be read and is passed over", error)
            return False

    def accept(self, span: SpanView) -> bool:
        """Keep a finished span when it is a record.

        Args:
            span: the span.

        Returns:
            Whether it is a record and durable now. Never raises.
        """
        record = select(span)
        if not isinstance(record, Record):
            return False
        self._received += 1
        if self._stopped:
            trouble(_LATE)
        try:
            durable = self._keep(encode(span, record))
        except SpoolError as error:  # the disk is full or refuses, or the spool has reached its size
            return self._drop(span, record, error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the SDK, which would pass it on
            return self._drop(span, record, Dropped.INTERNAL, f"it could not be kept ({type(error).__name__})")
        self._service_name = span.service_name
        if durable and record is Record.UTTERANCE:
            event_id = span.attributes.get(EVENT_ID)
            if isinstance(event_id, str):
                persist(event_id)
        self._drain.wake()
        return durable

    def shutdown(self) -> None:
        """Store what waits, within ``INTENT_EVENTS_SHUTDOWN_TIMEOUT``; the rest stays in the spool.

        So does what ends later, such as streams that the interpreter finalises: another process stores it.
        """
        if self._stopped:
            return
        self._stopped = True
        try:
            self._drain.stop(self._settings.shutdown_timeout)
            closing, self._spool = self._spool, self._make_spool()
            self._left_over = closing.waiting_bytes() > 0
            closing.close()
        except Exception as error:  # noqa: BLE001 - whatever fails here must not keep the host from ending
            trouble("intent-events: the processor could not be shut down in order", error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until everything is stored; whether that is so, or it is retired."""
        if self._retired:  # the SDK asks no processor behind one that says no
            return True
        if self._stopped:
            return not (self._left_over or self._spool.waiting_bytes())
        return self._drain.flush(timeout_millis / 1000)

    def retire(self) -> None:
        """Shut down and take nothing more from the SDK, which cannot let a processor go; another may follow it.

        What had begun before is handed over by whoever recorded it, and waits in the spool.
        """
        self._retired = True
        self.shutdown()

    @property
    def settings(self) -> DeliverySettings:
        """What this processor was made with."""
        return self._settings

    def _make_spool(self) -> Spool:
        settings = self._settings
        spool = Spool(self._folder, max_bytes=settings.spool_max_bytes, fsync=Fsync(settings.spool_fsync))
        spool.database = self._database
        return spool

    def _keep(self, payload: bytes) -> bool:
        """Append a record to the spool; whether it is as durable as the settings ask for.

        Raises:
            SpoolError: it is not kept.
        """
        spool = self._spool
        try:
            spool.append(payload)
        except UnsyncedError as error:  # the disk fails after it took the record, which is stored unless power goes too
            trouble(f"intent-events: a record is kept, but would not survive a loss of power: {error}")
            return False
        except SpoolError:  # the disk refuses; or it was shut down in this moment, and another takes its place
            if spool is self._spool:
                raise
            return self._keep(payload)
        return True

    def _place(self) -> str | None:
        """The database that rows go to, in words; None as long as there is no usable address."""
        try:
            dsn = self._dsn or self._settings.read_dsn()
            return None if dsn is None else named_place_of(dsn)
        except SettingsError:  # the file that it should be in cannot be read, as is said when rows are to be stored
            return None

    def _drop(self, span: SpanView, record: Record, reason: str, why: str) -> bool:
        self._dropped[str(reason)] += 1
        number = mending.integer(span.attributes.get(EMITTER_SEQ), set())
        if number is not None and span.attributes.get(EMITTER_ID) == EMITTER.emitter_id:
            drop(key_of(span, record, set()).int, str(reason), number)
        self._drain.wake()  # nothing waits, but a heartbeat must tell of it
        trouble(f"intent-events: a record is dropped: {why}")
        return False

    def _open_writers(self) -> Sequence[Writer]:
        """A writer for each connection; none as long as there is no usable address."""
        try:
            dsn = self._dsn or self._settings.read_dsn()
            if dsn is None:
                trouble("intent-events: INTENT_EVENTS_DSN is not set. Records wait in the spool until it is")
                return ()
            check(dsn)
            self._database = self._spool.database = named_place_of(dsn)
        except SettingsError as error:  # the address, or the file that it should be in, cannot be used
            trouble(f"intent-events: {error}. Records wait in the spool")
            return ()
        return [Writer(dsn, door="processor", timeout_s=_STATEMENT_S) for _ in range(self._settings.connections)]

    def _waiting(self) -> Waiting:
        return self._spool.waiting()

    def _counts(self) -> tuple[int, dict[str, int]]:
        return self._received, dict(self._dropped)

    def _heartbeat(self) -> Heartbeat:
        tally = self._drain.tally
        gone = dropped()
        if self._drain.unreadable:
            gone.counts[Dropped.UNREADABLE.value] = self._drain.unreadable
        return Heartbeat(
            emitter_id=UUID(EMITTER.emitter_id),
            beat=0,
            at=datetime.now(UTC),
            started_at=datetime.fromtimestamp(EMITTER.started_ns / 1e9, UTC),
            service_name=self._service_name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            emitted=EMITTER.emitted,
            stored=tally.stored,
            duplicates=tally.duplicates,
            dead=tally.dead,
            dropped=gone.counts,
            spooled=self._spool.waiting().records,
            dropped_numbers=gone.numbers,
        )

    def _forget(self) -> None:
        """A forked child has emitted and dropped nothing yet."""
        self._dropped = Counter()
        self._received = 0


def settings_or_defaults() -> DeliverySettings:
    """Settings from the environment; for a variable that cannot be used the default, and one log line."""
    settings, problem = DeliverySettings.usable_from_environment()
    if problem:
        trouble(f"intent-events: {problem}. Using the defaults for these")
    return settings
