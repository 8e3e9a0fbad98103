# SPDX-License-Identifier: Apache-2.0
"""Records that wait while Postgres is away: what they cost in memory, and how long it takes to store them afterwards.

While they are stored, the event loop of the host goes on recording: 500 new ones a second. Its thread comes first and
Postgres last, and the garbage collector passes over the modules of the host, as where stalls are measured.

Runs in a process of its own (``python -m benchmarks.backlog DSN N``), so that its memory is that of a host.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Final, NamedTuple

import asyncpg

from benchmarks.workload import finished_spans
from intent_events.identity import event_id_of
from intent_events.semconv import EMITTER_SEQ, EVENT_ID
from intent_events.settings import DeliverySettings
from intent_events.spans import SpanView
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.convert import view_of
from support.priority import first

TICK_S: Final = 0.001
TICKS_A_RECORD: Final = 2
FIRST_NEW: Final = 1 << 24
IDLE_S: Final = 5.0


class Backlog(NamedTuple):
    """What N waiting records cost.

    Attributes:
        waiting: how many.
        waiting_mb: memory that the process has more than idle while they wait, MB.
        peak_mb: the same at its most, until all are stored.
        stored_s: seconds from the first try after the return of Postgres until all are stored; by itself the drain
            tries at the latest after 30.
        came: new records meanwhile.
        rows: rows that are there then.
        late_ms: how late an event loop of the host was with its tick meanwhile, 99.9th percentile, ms.
        worst_ms: the same at the most.
        idle_late_ms: the same before, while nothing of ours ran: what the machine does by itself.
    """

    waiting: int
    waiting_mb: float
    peak_mb: float
    stored_s: float
    came: int
    rows: int
    late_ms: float
    worst_ms: float
    idle_late_ms: float


def measure(dsn: str, waiting: int) -> Backlog:
    """Measure with this many records, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.backlog", dsn, str(waiting)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Backlog(**json.loads(done.stdout))


def views(n: int) -> Iterator[SpanView]:
    """Records like those of the workload, each with a key of its own, in order of time."""
    view = view_of(finished_spans(1)[0])
    for number in range(n):
        yield numbered(view, number)


def numbered(view: SpanView, number: int) -> SpanView:
    """The record of this number: like the first, 200 us later than the one before."""
    start_ns = view.start_ns + number * 200_000
    key = str(event_id_of(view.trace_id, number + 1, start_ns))
    attributes = {**view.attributes, EVENT_ID: key, EMITTER_SEQ: number + 1}
    return view._replace(span_id=number + 1, start_ns=start_ns, end_ns=start_ns + 900_000, attributes=attributes)


class _Loop(Thread):
    """An event loop of the host that wants to run every millisecond, and notes how late it is.

    Attributes:
        came: records that it has made.
    """

    def __init__(self, record: Callable[[SpanView], bool] | None = None, template: SpanView | None = None) -> None:
        super().__init__(daemon=True)
        self._done = Event()
        self._late_s = array("f")
        self._record = record
        self._template = template
        self.came = 0

    def run(self) -> None:
        """Tick until done; who gets a core of the machine, of which Postgres wants one, is not what is measured."""
        first()
        asyncio.run(self._tick())

    async def _tick(self) -> None:
        while not self._done.is_set():
            due = perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            self._late_s.append(perf_counter() - due)
            if self._record is not None and self._template is not None and len(self._late_s) % TICKS_A_RECORD == 0:
                self.came += 1
                if not self._record(numbered(self._template, FIRST_NEW + self.came)):
                    raise SystemExit("a new record was not kept: see the log")

    def stop(self) -> tuple[float, float]:
        """End, and say how late it was, 99.9th percentile and at the most, ms."""
        self._done.set()
        self.join()
        return round(quantiles(self._late_s, n=1000)[998] * 1e3, 1), round(max(self._late_s) * 1e3, 1)


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def _run(dsn: str, n: int) -> Backlog:
    settings = DeliverySettings(spool_max_bytes=8 << 30, flush_interval=0.005)
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        spool = Path(folder) / "spool"
        address = Path(folder) / "dsn"
        processor = IntentEventsSpanProcessor(dsn, spool, settings=settings)
        for view in views(1):
            processor.accept(view._replace(span_id=(1 << 63) + 1))
        processor.force_flush()
        idle = _memory_mb("VmRSS")
        processor.shutdown()
        waiting = IntentEventsSpanProcessor(None, spool, settings=settings.model_copy(update={"dsn_file": address}))
        for view in views(n):
            if not waiting.accept(view):
                raise SystemExit("a record was not kept: see the log")
        more = _memory_mb("VmRSS") - idle
        gc.collect()
        gc.freeze()
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
        alone = _Loop()
        alone.start()
        sleep(IDLE_S)
        idle_late_ms, _ = alone.stop()
        host = _Loop(waiting.accept, next(views(1)))
        host.start()
        address.write_text(dsn, "utf-8")
        began = perf_counter()
        if not waiting.force_flush(3_600_000):
            raise SystemExit("not everything was stored: see the log")
        took = perf_counter() - began
        late_ms, worst_ms = host.stop()
        if not waiting.force_flush(60_000):
            raise SystemExit("not everything new was stored: see the log")
        peak = _memory_mb("VmHWM") - idle
        waiting.shutdown()
    rows = asyncio.run(_rows(dsn))
    return Backlog(n, round(more, 1), round(peak, 1), round(took, 2), host.came, rows, late_ms, worst_ms, idle_late_ms)


async def _rows(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT count(*) FROM agent.intent_events")
    finally:
        await connection.close()


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], int(sys.argv[2]))._asdict()))  # noqa: T201 - the answer to the benchmark
