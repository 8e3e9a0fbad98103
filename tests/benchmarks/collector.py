# SPDX-License-Identifier: Apache-2.0
"""What a Collector and a sink cost: ``python -m benchmarks.collector``, for ``docs/how-to/size-a-collector.md``.

The emitter in Rust records as fast as it goes: once while the sink is away, whereupon the sink works the queue off, and
once with everything in place. All of it runs on one machine, so the emitter, the Collector, the sink and Postgres share
its processors: processor time is what carries over to other machines, rather than what passed on the clock.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, NamedTuple

from intent_events.demo.postgres import EmbeddedPostgres
from support.collector import Collector
from support.emitter import emission
from support.postgres import Database, private_server
from support.sink_on_ports import Sink
from support.stored import tampering
from support.waiting import until

UTTERANCES: Final = 30_000
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_LONG_S: Final = 300.0


class Cost(NamedTuple):
    """What happened between two moments.

    Attributes:
        clock_s: seconds on the clock.
        collector_s: seconds of processor time that the Collector took.
        sink_s: the same of the sink.
    """

    clock_s: float
    collector_s: float
    sink_s: float

    def line(self, what: str) -> str:
        """A row of the table."""
        sink = "-" if not self.sink_s else f"{self.sink_s / UTTERANCES * 1e6:.0f}"
        collector = f"{self.collector_s / UTTERANCES * 1e6:.0f}"
        return f"| {what} | {UTTERANCES / self.clock_s:,.0f} | {collector} | {sink} |"


class _Meter:
    def __init__(self, collector: Collector, sink: Sink | None = None) -> None:
        self._pids = (collector.pid, 0 if sink is None else sink.pid)
        self._began = perf_counter()
        self._before = [_processor_s(pid) for pid in self._pids]

    def read(self) -> Cost:
        clock_s = perf_counter() - self._began
        return Cost(clock_s, *(_processor_s(pid) - was for pid, was in zip(self._pids, self._before, strict=True)))


def _processor_s(pid: int) -> float:
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def measure(server: EmbeddedPostgres, folder: Path) -> list[str]:
    """Run it; lines of the page."""
    database = Database(server.dsn())

    def stored() -> int:
        return database.fetchval_now("SELECT count(*) FROM agent.intent_events")

    sink = Sink(folder, server.dsn(user="writer"))
    with Collector(folder, {"INTENT_SINK_ENDPOINT": sink.endpoint}) as collector:
        meter = _Meter(collector)
        with emission(folder, collector.endpoint, UTTERANCES) as emitted:
            emitted.end()
        taken, queued = meter.read(), collector.queued()
        on_disk = sum(file.stat().st_size for file in (folder / "intent-queue").iterdir())
        with sink:
            meter = _Meter(collector, sink)
            until(lambda: stored() >= UTTERANCES, "the queue is worked off", timeout_s=_LONG_S)
            drained = meter.read()
            database.execute_now(tampering("TRUNCATE agent.intent_events"))
            meter = _Meter(collector, sink)
            with emission(folder, collector.endpoint, UTTERANCES) as emitted:
                emitted.end()
            until(lambda: stored() >= UTTERANCES, "everything is stored", timeout_s=_LONG_S)
            straight = meter.read()
            memory = f"{_memory_mb(collector.pid):.0f} MB and {_memory_mb(sink.pid):.0f} MB"
    return [
        "| | utterances a second | Collector, us an utterance | sink, us an utterance |",
        "| --- | ---: | ---: | ---: |",
        taken.line("taken to disk, sink away"),
        drained.line("queue worked off"),
        straight.line("all the way"),
        "",
        f"Bytes an utterance in the queue: {queued / UTTERANCES:.0f}; on disk: {on_disk / UTTERANCES:.0f}.",
        f"Most memory of the Collector and of the sink: {memory}.",
    ]


def main() -> None:
    """Measure, and print."""
    with TemporaryDirectory() as folder, private_server() as server:
        sys.stdout.write("\n".join(measure(server, Path(folder))) + "\n")


if __name__ == "__main__":
    main()
