# SPDX-License-Identifier: Apache-2.0
"""Starts the host of ``apps/host``, tells it what to do, and counts what became of what it handled."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

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

_END_S: Final = 60.0


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
        """What it measured and counted; also among the output of the test, which ``pytest -rP`` shows."""
        report = self.ask("report")
        sys.stdout.write(json.dumps(report) + "\n")
        return report

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


@contextmanager
def started_family(mode: str, folder: Path, dsn: str) -> Generator[subprocess.Popen[str]]:
    """Start ``host.family`` in this mode; killed, if it still lives, at the end of the block.

    Args:
        mode: as that module says.
        folder: where it writes its log, ``host.log``, and what it says on its standard error, ``host.err``.
        dsn: address of Postgres.
    """
    said = str(SAID_BY_MASTER), str(SAID_BY_WORKER)
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


class Counts(NamedTuple):
    """What became of the utterances that hosts handled, as their log and the database have it.

    Attributes:
        emitted: handled utterances, each once.
        stored: those of them that are rows.
        lost: those that were said to be durable and are no rows.
        doubled: rows beyond one for the same utterance.
        dropped: those that were said not to be durable.
        beyond: rows of utterances that are not in the log: their handler had not returned when the host died.
    """

    emitted: int
    stored: int
    lost: int
    doubled: int
    dropped: int
    beyond: int


def handled(log: Path) -> dict[str, bool]:
    """Event ids of the utterances that were handled, and whether each was durable when its handler had returned."""
    lines = (line.split() for line in log.read_text().splitlines())
    return {event_id: persisted == "1" for event_id, persisted in lines}


def counted(database: Database, log: Path) -> Counts:
    """Count what became of everything in a log. The database must hold rows of its hosts alone."""
    said = handled(log)
    rows = [str(row["event_id"]) for row in database.fetch_now("SELECT event_id FROM agent.intent_events")]
    stored = set(rows)
    durable = {event_id for event_id, persisted in said.items() if persisted}
    return Counts(
        emitted=len(said),
        stored=len(stored & said.keys()),
        lost=len(durable - stored),
        doubled=len(rows) - len(stored),
        dropped=len(said) - len(durable),
        beyond=len(stored - said.keys()),
    )


def reconciled(database: Database) -> Sums:
    """What the loss ledger says of all hosts together, when nothing waits any more."""
    now = datetime.now(UTC)
    window = Window(since=now - timedelta(days=1), until=now + timedelta(minutes=1))
    return run_apart(reconcile(database.dsn, window, Spooled)).total


def all_stored(n: int) -> Counts:
    """Counts of ``n`` utterances of which each is one row."""
    return Counts(emitted=n, stored=n, lost=0, doubled=0, dropped=0, beyond=0)


def drained_by_another(dsn: str, spool: Path, timeout_s: float = 60.0) -> None:
    """Store what hosts that are gone have left, with a processor of this process, which is another one."""
    settings = DeliverySettings.model_validate({"dsn": dsn, "spool_dir": spool, "flush_interval": 0.02})
    processor = IntentEventsSpanProcessor(settings=settings)
    try:
        until(lambda: not totals(spool).bytes, "another process has drained the spool", timeout_s=timeout_s)
    finally:
        processor.shutdown()
    assert not list(look(spool))
