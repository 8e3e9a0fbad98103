# SPDX-License-Identifier: Apache-2.0
"""Starts the host of ``apps/host``, tells it what to do, and counts what became of what it handled.

:func:`accounted` makes a row of the fault table of it. A row is a line of JSON on standard output; with
``INTENT_EVENTS_TEST_FAULTS`` it goes to the file of that name too.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.review.ledger_model import Sums
from intent_events.review.reconcile import Spooled, reconcile
from intent_events.review.windows import Window
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.spool import look, totals
from support.postgres import Database, run_apart
from support.processes import APPS
from support.records import HASH_KEY
from support.waiting import until

WORKERS: Final = 4
"""Utterances that a host handles at the same moment, at most: it has so many tasks and threads that speak."""

SAID_BY_MASTER: Final = 10
"""Utterances that a process which forks handles before it does, and again afterwards."""

SAID_BY_WORKER: Final = 40
"""Utterances that each process handles which it forks."""

WAITED_P50_US: Final = 10_000.0
WAITED_P99_US: Final = 250_000.0
"""What being recorded must cost less than in one of two and in 99 of 100 utterances, microseconds, whatever fails.

That is no question of how fast a machine is. A caller that waits until its record is stored waits each time for the
20 ms in which the drain gathers others; while Postgres is away it waits until that is there again, or a statement is
given up, which takes seconds. A write to the spool takes a tenth of a millisecond.
"""
_MANY: Final = 200
"""Utterances from which on the 99th percentile is another one than the first, in which a process makes its recorder."""

_FAULTS: Final = [Path(name).absolute() for name in [os.environ.get("INTENT_EVENTS_TEST_FAULTS")] if name]
_END_S: Final = 60.0


NOWHERE: Final = "postgresql://127.0.0.1:1/nowhere"
"""Address of a host that stores nothing."""


def environment(dsn: str, more: Mapping[str, str]) -> dict[str, str]:
    """Variables of a host that stores its records here; the folder of the spool is the test's own."""
    return {
        **os.environ,
        "PYTHONPATH": f"{APPS}{os.pathsep}{APPS.parents[1]}",
        # Python 3.12 and later warn of every fork of a process with threads, which is what some tests are about.
        "PYTHONWARNINGS": "default,ignore::DeprecationWarning",
        "INTENT_EVENTS_DSN": dsn,
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
        "INTENT_EVENTS_FLUSH_INTERVAL": "20ms",
        "INTENT_EVENTS_HEARTBEAT": "500ms",
        "OTEL_SERVICE_NAME": "host",
        **more,
    }


class Host:
    """A host as a process of its own, from the beginning to the end of a ``with`` block, which kills it.

    Args:
        folder: where it writes its log, for several of them to share, and what it says on its standard error.
        dsn: address of Postgres.
        env: variables beside those of :func:`environment`.
        under: command that runs it.

    Attributes:
        log: what it handled.
        pid: of its process.
    """

    def __init__(self, folder: Path, dsn: str, env: Mapping[str, str] | None = None, under: Sequence[str] = ()) -> None:
        self.log = folder / "host.log"
        self._said = folder / "host.err"
        with self._said.open("ab") as errors:
            self._process = subprocess.Popen(
                [*under, sys.executable, "-m", "host", str(self.log)],
                env=environment(dsn, env or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.pid = 0

    def __enter__(self) -> Self:
        self.pid = self._answer()["ready"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def say(self, n: int, scope: str = "book") -> None:
        """Let it handle so many utterances, and wait until it has."""
        self.ask(f"say {n} {scope}")

    def talk(self, rate: float = 0) -> None:
        """Let it handle so many utterances a second, until :meth:`hush`; 0 is as fast as it goes."""
        self.ask(f"talk {rate}")

    def hush(self) -> None:
        """End what :meth:`talk` began."""
        self.ask("hush")

    def watch(self) -> None:
        """Let it note from now on how late its event loop is."""
        self.ask("watch")

    def flush(self, timeout_s: float = 60.0) -> bool:
        """Let it wait until everything is stored; whether that is so."""
        return bool(self.ask(f"flush {timeout_s}")["flushed"])

    def report(self) -> dict[str, Any]:
        """What it measured and counted."""
        return self.ask("report")

    def ask(self, command: str) -> dict[str, Any]:
        """Give it a command; its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self, how: str) -> int:
        """Let it end in this way; what it ended with."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"end {how}\n")
        self._process.stdin.flush()
        return self._process.wait(_END_S)

    def signal(self, number: int) -> int:
        """Send it a signal, and wait for its end; what it ended with."""
        os.kill(self.pid, number)
        return self._process.wait(_END_S)

    def kill(self) -> None:
        """Kill it, if it lives, and close everything."""
        self._process.kill()
        self._process.wait(_END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    @property
    def errors(self) -> str:
        """What it said on its standard error."""
        return self._said.read_text()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the host has ended: {self.errors}"
        answer: dict[str, Any] = json.loads(line)
        return answer


def talk_through_restarts(host: Host, server: EmbeddedPostgres, rate: float, seconds: float, every_s: float) -> int:
    """Let a host speak while its Postgres is stopped, killed and stopped at once in turns, and started again.

    Args:
        host: begins to speak, and is silent at the end.
        server: its own.
        rate: utterances a second.
        seconds: how long that takes, about.
        every_s: seconds between two restarts.

    Returns:
        How often it was restarted.
    """
    ends = (server.stop_server, server.kill_server, lambda: server.stop_server("immediate"))
    restarts = 0
    began = monotonic()
    host.talk(rate)
    while monotonic() - began + every_s < seconds:
        sleep(every_s)
        ends[restarts % len(ends)]()
        server.start_server()
        restarts += 1
    sleep(max(seconds - (monotonic() - began), 0.0))
    host.hush()
    return restarts


@contextmanager
def started_family(
    mode: str, folder: Path, dsn: str, by_worker: int = SAID_BY_WORKER
) -> Generator[subprocess.Popen[str]]:
    """Start ``host.family`` in this mode; killed, if it still lives, at the end of the block.

    Args:
        mode: as that module says.
        folder: where it writes its log, ``host.log``, and what it says on its standard error, ``host.err``.
        dsn: address of Postgres.
        by_worker: utterances that each of its workers handles.
    """
    said = str(SAID_BY_MASTER), str(by_worker)
    with (
        (folder / "host.err").open("ab") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "host.family", mode, str(folder / "host.log"), *said],
            env=environment(dsn, {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


class Told(NamedTuple):
    """What a process counted of its records and of others that it took over, as far as it could say before it died.

    Attributes:
        duplicate: found stored already.
        dropped: given up, by reason.
    """

    duplicate: int
    dropped: Counter[str]


class Notes(NamedTuple):
    """What is known of utterances from those who handled them.

    Attributes:
        durable: event ids, and whether the record of each was durable when its handler had returned.
        costs_ns: what being recorded cost the callers, nanoseconds.
        told: what processes said beside their heartbeats, by the emitter's id or the name of another door.
    """

    durable: Mapping[str, bool]
    costs_ns: Sequence[int]
    told: Mapping[str, Told] = {}


class Counts(NamedTuple):
    """What became of utterances, as those who handled them and the database have it.

    Attributes:
        emitted: handled utterances, each once.
        stored: those of them that are rows.
        duplicate: how often a record was found stored already, and not stored again.
        dropped: those that were said not to be durable.
        dead: those that are dead letters.
        lost: those that were said to be durable and are neither rows nor dead letters.
        doubled: rows beyond one for the same utterance, or for the same number of the same process.
        beyond: rows of utterances that nobody noted: their handler had not returned when the host died.
    """

    emitted: int
    stored: int
    duplicate: int
    dropped: int
    dead: int
    lost: int
    doubled: int
    beyond: int


def all_stored(n: int, duplicate: int = 0) -> Counts:
    """Counts of ``n`` utterances of which each is one row."""
    return Counts(emitted=n, stored=n, duplicate=duplicate, dropped=0, dead=0, lost=0, doubled=0, beyond=0)


def noted(log: Path) -> Notes:
    """What a log says, which ``host.log`` has written."""
    durable: dict[str, bool] = {}
    costs_ns: list[int] = []
    told: dict[str, Told] = {}
    for line in log.read_text().splitlines():
        kind, who, what = line.split(maxsplit=2)
        if kind == "told":
            told[who] = told_by(json.loads(what))
        else:
            persisted, cost_ns = what.split()
            durable[who] = persisted == "1"
            if cost_ns != "-":
                costs_ns.append(int(cost_ns))
    return Notes(durable, costs_ns, told)


def told_by(metrics: Mapping[str, int]) -> Told:
    """What metrics say, by their names and labels as ``host.telemetry`` puts them together."""
    parts = [(name.split(":"), n) for name, n in metrics.items()]
    return Told(
        duplicate=sum(n for (_, *labels), n in parts if labels == ["duplicate"]),
        dropped=Counter({labels[0]: n for (_, *labels), n in parts if labels[1:] == ["dropped"]}),
    )


def handled(log: Path) -> Mapping[str, bool]:
    """Event ids of the utterances that were handled, and whether each was durable when its handler had returned."""
    return noted(log).durable


def counted(database: Database, notes: Notes | Path) -> Counts:
    """Count what became of utterances.

    Args:
        database: holds rows of these alone.
        notes: what is known of them, or the log that says so.
    """
    notes = noted(notes) if isinstance(notes, Path) else notes
    rows = database.fetch_now("SELECT event_id::text, emitter_id, emitter_seq FROM agent.intent_events")
    letters = database.fetch_now("SELECT dead_letter_id::text AS event_id FROM agent.dead_letters")
    stored, dead = ({row["event_id"] for row in found} for found in (rows, letters))
    numbers = [(row["emitter_id"], row["emitter_seq"]) for row in rows if row["emitter_seq"] is not None]
    said = notes.durable.keys()
    durable = {event_id for event_id, persisted in notes.durable.items() if persisted}
    return Counts(
        emitted=len(said),
        stored=len(stored & said),
        duplicate=_told(database, notes).duplicate,
        dropped=len(said) - len(durable),
        dead=len(dead & said),
        lost=len(durable - stored - dead),
        doubled=max(len(rows) - len(stored), len(numbers) - len(set(numbers))),
        beyond=len(stored - said),
    )


def _told(database: Database, notes: Notes) -> Told:
    """What all processes together counted: each as it said itself, or as its last heartbeat has it if that is later."""
    beats = database.fetch_now(
        "SELECT DISTINCT ON (emitter_id) emitter_id::text AS who, duplicates, dropped::text AS dropped"
        " FROM agent.emitters ORDER BY emitter_id, beat DESC"
    )
    told = dict(notes.told)
    for beat in beats:
        said = told.get(beat["who"], Told(0, Counter()))
        # Counts only ever grow, so that the larger one is the later one.
        told[beat["who"]] = Told(
            duplicate=max(said.duplicate, beat["duplicates"]),
            dropped=said.dropped | Counter(json.loads(beat["dropped"])),
        )
    return Told(
        duplicate=sum(each.duplicate for each in told.values()),
        dropped=sum((each.dropped for each in told.values()), Counter[str]()),
    )


def accounted(database: Database, notes: Notes | Path) -> Counts:
    """Count what became of utterances, make a row of the fault table of it, and see what must hold in each row.

    That is: each record that is not durable was counted as dropped, with the reason; and no caller waited.

    Args:
        database: holds rows of these alone.
        notes: what is known of them, or the log that says so.
    """
    notes = noted(notes) if isinstance(notes, Path) else notes
    counts, dropped = counted(database, notes), _told(database, notes).dropped
    cut_us = quantiles((cost_ns / 1e3 for cost_ns in notes.costs_ns), n=100, method="inclusive")
    row = {
        "test": os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)"),
        **counts._asdict(),
        "dropped_by": dropped,
        "p50_us": round(cut_us[49], 1),
        "p99_us": round(cut_us[98], 1),
    }
    line = json.dumps(row) + "\n"
    sys.stdout.write(line)
    for path in _FAULTS:
        with path.open("a") as faults:
            faults.write(line)
    assert dropped.total() == counts.dropped, (
        f"{counts.dropped} records are not durable, and so many dropped: {dropped}"
    )
    assert cut_us[49] < WAITED_P50_US, f"callers waited: {line}"
    assert cut_us[98] < WAITED_P99_US or counts.emitted < _MANY, f"callers waited: {line}"
    return counts


def reconciled(database: Database) -> Sums:
    """What the loss ledger says of all hosts together, when nothing waits any more."""
    now = datetime.now(UTC)
    window = Window(since=now - timedelta(days=1), until=now + timedelta(minutes=1))
    return run_apart(reconcile(database.dsn, window, Spooled)).total


def left_for_anybody(segment: Path) -> None:
    """Let any process store what is in a folder, as it may what an earlier version left."""
    segment.with_name("database").unlink(missing_ok=True)


def drained_by_another(dsn: str, spool: Path, timeout_s: float = 60.0) -> None:
    """Store what hosts that are gone have left, with a processor of this process, which is another one."""
    settings = DeliverySettings.model_validate({"dsn": dsn, "spool_dir": spool, "flush_interval": 0.02})
    processor = IntentEventsSpanProcessor(settings=settings)
    try:
        until(lambda: not totals(spool).bytes, "another process has drained the spool", timeout_s=timeout_s)
    finally:
        processor.shutdown()
    assert not list(look(spool))
