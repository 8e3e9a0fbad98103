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
from support.hosts import NOWHERE, Host, left_for_anybody
from support.priority import last
from support.proxy import COMMIT, Proxy

ROUNDS: Final = 5
UNRECORDED: Final = "nothing is recorded"

_RATE: Final = 500
_BETWEEN: Final = 5
"""Faults between two rounds in which nothing is recorded."""
_ROUND_S: Final = 5.0
_MOMENT_S: Final = 1.0
_SOME: Final = 200
_ROW_BYTES: Final = 500
_SLOWLY: Final = 200_000
_TABLE: Final = "agent.intent_events"
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
    """A host, the folder of its spool, its Postgres, and the network between them."""

    host: Host
    spool: Path
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
    put_last(scene.server)
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


def _slow(scene: Scene) -> None:
    scene.proxy.slow(_SLOWLY)
    sleep(2 * _MOMENT_S)
    scene.proxy.resume()
    sleep(_MOMENT_S)


def _vanished(scene: Scene) -> None:
    scene.proxy.half_open()
    sleep(2 * _MOMENT_S)


def _cut_in_copy(scene: Scene) -> None:
    scene.proxy.cut_after(_SOME * _ROW_BYTES // 2)
    sleep(_MOMENT_S)


def _broken(breaks: str, mends: str) -> Fault:
    def fault(scene: Scene) -> None:
        asyncio.run(run(scene.server.dsn(), breaks))
        sleep(_MOMENT_S)
        asyncio.run(run(scene.server.dsn(), mends))
        sleep(_MOMENT_S)

    return fault


def _left_behind(scene: Scene) -> None:
    """Another process is killed in the middle of its work; what it leaves has been damaged."""
    of_others = set(scene.spool.glob("*/*.spool"))
    spool = {"INTENT_EVENTS_SPOOL_DIR": str(scene.spool)}
    with TemporaryDirectory() as folder, Host(Path(folder), NOWHERE, spool) as other:
        other.say(_SOME * 5)
        left = set(scene.spool.glob("*/*.spool")) - of_others
    for segment in left:
        left_for_anybody(segment)
        data = bytearray(segment.read_bytes())
        for at in range(_ROW_BYTES, len(data), len(data) // 5):
            data[at] ^= 0xFF
        segment.write_bytes(data)
    sleep(2 * _MOMENT_S)


def _poisoned(scene: Scene) -> None:
    table = f"ALTER TABLE {_TABLE}"
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
    "the network is slow": (_slow, {}),
    "the server vanishes without a word": (_vanished, {}),
    "connections are cut in the middle of COPY": (_cut_in_copy, {}),
    "a table is missing": (
        _broken(f"ALTER TABLE {_TABLE} RENAME TO hidden", "ALTER TABLE agent.hidden RENAME TO intent_events"),
        {},
    ),
    "a column is missing": (
        _broken(f"ALTER TABLE {_TABLE} RENAME scope TO hidden", f"ALTER TABLE {_TABLE} RENAME hidden TO scope"),
        {},
    ),
    "rows are refused": (_poisoned, {}),
    "others are killed, and their segments damaged": (_left_behind, {}),
    "the spool is full": (_nothing, {"INTENT_EVENTS_SPOOL_MAX_BYTES": "65536", "INTENT_EVENTS_FLUSH_INTERVAL": "2s"}),
    "the spool cannot be written": (_nothing, {"INTENT_EVENTS_SPOOL_DIR": "/dev/null/spool"}),
}
"""What fails, and the settings of the host that it needs."""

_KEPT_NOTHING: Final = {UNRECORDED, "the spool cannot be written"}


def measure(server: EmbeddedPostgres, rounds: int) -> dict[str, list[Late]]:
    """Measure each fault so many times; they take turns, and nothing is recorded in every sixth of them.

    Args:
        server: a migrated one that runs last, to be killed and started.
        rounds: how often.
    """
    found: dict[str, list[Late]] = {name: [] for name in FAULTS}
    # A machine that others use too is late by more than 5 ms now and then, with nothing of ours: that is to be seen.
    faults = [name for name in FAULTS if name != UNRECORDED]
    turns = [turn for at in range(0, len(faults), _BETWEEN) for turn in (UNRECORDED, *faults[at : at + _BETWEEN])]
    for _ in range(rounds):
        for name in turns:
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
            fault(Scene(host, folder / "spool", server, proxy))
        report = host.ask("report")
        host.hush()
        if name not in _KEPT_NOTHING and not host.flush():
            raise SystemExit(f"{name}: not everything was stored: {host.errors}")
    return Late(report["worst_ms"], report["late_ms"])


def put_last(server: EmbeddedPostgres) -> None:
    """Let Postgres run when nothing else wants to, from now on."""
    last(int((server.data_dir / "postmaster.pid").read_text().split("\n", 1)[0]))
