# SPDX-License-Identifier: Apache-2.0
"""How late the event loop of a host is while Postgres, the network or the spool fails, and when nothing is recorded.

The host is that of the fault table: two tasks and two threads that say 500 things a second together. Something of its
loop is due every millisecond. Who gets a core of this machine is not what is measured, so the thread of the loop comes
first where that is allowed, and Postgres, which would be on another machine, last.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final, NamedTuple

from benchmarks.writer import run
from intent_events.demo.postgres import EmbeddedPostgres
from support.hosts import Host
from support.priority import last
from support.proxy import COMMIT, Proxy

ROUNDS: Final = 5
UNRECORDED: Final = "nothing is recorded"

_RATE: Final = 500
_ROUND_S: Final = 5.0
_MOMENT_S: Final = 1.0
_SOME: Final = 200
_STATEMENT_S: Final = "1"


class Late(NamedTuple):
    """How late the loop was in one round, ms.

    Attributes:
        worst: at the most.
        p999: 99.9th percentile.
    """

    worst: float
    p999: float


class Scene(NamedTuple):
    """A host, its Postgres, and the network between them."""

    host: Host
    server: EmbeddedPostgres
    proxy: Proxy


Fault = Callable[[Scene], None]
"""Makes something fail and mends it; called again and again while the host speaks."""


def _nothing(_: Scene) -> None:
    sleep(_MOMENT_S)


def _killed(scene: Scene) -> None:
    scene.server.kill_server()
    sleep(_MOMENT_S)
    scene.server.start_server()
    _put_last(scene.server)
    sleep(_MOMENT_S)


def _cut(scene: Scene) -> None:
    scene.proxy.cut()
    sleep(_MOMENT_S / 2)


def _cut_at_commit(scene: Scene) -> None:
    scene.proxy.cut_on(COMMIT, forward=True)
    sleep(_MOMENT_S)


def _stalled(scene: Scene) -> None:
    scene.proxy.stall()
    sleep(2 * _MOMENT_S)
    scene.proxy.resume()
    sleep(_MOMENT_S)


def _refused(scene: Scene) -> None:
    scene.proxy.refuse()
    scene.proxy.reset()
    sleep(2 * _MOMENT_S)
    scene.proxy.accept()
    sleep(_MOMENT_S)


def _broken(scene: Scene) -> None:
    table = "ALTER TABLE agent.intent_events RENAME COLUMN"
    asyncio.run(run(scene.server.dsn(), f"{table} scope TO hidden"))
    sleep(_MOMENT_S)
    asyncio.run(run(scene.server.dsn(), f"{table} hidden TO scope"))
    sleep(_MOMENT_S)


def _poisoned(scene: Scene) -> None:
    table = "ALTER TABLE agent.intent_events"
    asyncio.run(run(scene.server.dsn(), f"{table} ADD CONSTRAINT no_poison CHECK (scope <> 'poison') NOT VALID"))
    scene.host.say(4, "poison")
    sleep(_MOMENT_S)
    asyncio.run(run(scene.server.dsn(), f"{table} DROP CONSTRAINT no_poison"))


FAULTS: Final[dict[str, tuple[Fault, dict[str, str]]]] = {
    UNRECORDED: (_nothing, {"HOST_UNRECORDED": "1"}),
    "nothing fails": (_nothing, {}),
    "Postgres is killed again and again": (_killed, {}),
    "connections are cut": (_cut, {}),
    "connections are cut at COMMIT": (_cut_at_commit, {}),
    "the network stalls": (_stalled, {}),
    "the network refuses": (_refused, {}),
    "a column is missing": (_broken, {}),
    "rows are refused": (_poisoned, {}),
    "the spool is full": (_nothing, {"INTENT_EVENTS_SPOOL_MAX_BYTES": "65536", "INTENT_EVENTS_FLUSH_INTERVAL": "2s"}),
}
"""What fails, and the settings of the host that it needs."""


def measure(server: EmbeddedPostgres, rounds: int) -> dict[str, list[Late]]:
    """Measure each fault so many times; they take turns.

    Args:
        server: a migrated one, to be killed and started.
        rounds: how often.
    """
    found: dict[str, list[Late]] = {name: [] for name in FAULTS}
    _put_last(server)
    for _ in range(rounds):
        for name in FAULTS:
            with TemporaryDirectory() as folder, Proxy(server.dsn()) as proxy:
                found[name].append(_round(name, Path(folder), server, proxy))
    return found


def _round(name: str, folder: Path, server: EmbeddedPostgres, proxy: Proxy) -> Late:
    fault, more = FAULTS[name]
    env = {
        "INTENT_EVENTS_SPOOL_DIR": str(folder / "spool"),
        "HOST_FIRST": "1",
        "HOST_STATEMENT_S": _STATEMENT_S,
        **more,
    }
    with Host(folder, proxy.dsn, env) as host:
        host.say(_SOME)
        host.flush()
        host.talk(_RATE)
        sleep(_MOMENT_S)
        host.watch()
        until = monotonic() + _ROUND_S
        while monotonic() < until:
            fault(Scene(host, server, proxy))
        report = host.ask("report")
        host.hush()
        if name != UNRECORDED and not host.flush():
            raise SystemExit(f"{name}: not everything was stored: {host.errors}")
    return Late(report["worst_ms"], report["late_ms"])


def _put_last(server: EmbeddedPostgres) -> None:
    last(int((server.data_dir / "postmaster.pid").read_text().split("\n", 1)[0]))
