# SPDX-License-Identifier: Apache-2.0
"""Three minutes of load while Postgres is stopped, killed and started again: what became of each utterance."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.writer import server
from support.hosts import Host, counted, talk_through_restarts
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
    with server() as own, TemporaryDirectory() as folder:
        with Host(Path(folder), own.dsn(), {"INTENT_EVENTS_SPOOL_DIR": str(Path(folder) / "spool")}) as host:
            restarts = talk_through_restarts(host, own, RATE, seconds, RESTART_EVERY_S)
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
