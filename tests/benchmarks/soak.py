# SPDX-License-Identifier: Apache-2.0
"""Three minutes of load while Postgres is stopped, killed and started again: what became of each utterance."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, Final

from benchmarks.writer import server
from support.hosts import Host, counted
from support.postgres import Database

RATE: Final = 500
RESTART_EVERY_S: Final = 15.0


def measure(seconds: float) -> dict[str, Any]:
    """Let a host handle :data:`RATE` utterances a second for so long, on a server of its own.

    Args:
        seconds: how long.

    Returns:
        The counts of :class:`support.hosts.Counts`, ``restarts``, and what being recorded cost, as the host reports it:
        ``p50_us`` and ``p99_us``.
    """
    restarts = 0
    with server() as own, TemporaryDirectory() as folder:
        ends = (own.stop_server, own.kill_server, lambda: own.stop_server("immediate"))
        with Host(Path(folder), own.dsn(), {"INTENT_EVENTS_SPOOL_DIR": str(Path(folder) / "spool")}) as host:
            began = monotonic()
            host.talk(RATE)
            while monotonic() - began + RESTART_EVERY_S < seconds:
                sleep(RESTART_EVERY_S)
                ends[restarts % len(ends)]()
                own.start_server()
                restarts += 1
            sleep(max(seconds - (monotonic() - began), 0.0))
            host.hush()
            if not host.flush():
                raise SystemExit(f"not everything was stored: {host.errors}")
            report = host.ask("report")
        counts = counted(Database(own.dsn()), host.log)
    return {
        **counts._asdict(),
        "restarts": restarts,
        "p50_us": report["p50_us"],
        "p99_us": report["p99_us"],
    }
