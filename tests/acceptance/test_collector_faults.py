# SPDX-License-Identifier: Apache-2.0
"""Whatever fails between a foreign emitter and Postgres while it records: none of its utterances is lost or doubled."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import sleep
from typing import Final

import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from support.collector import Collector
from support.emitter import UTTERANCES, Stream, emission
from support.names import name_server
from support.postgres import Database
from support.proxy import Fault, Proxy
from support.sink_on_ports import Sink
from support.waiting import until

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(400)]

OUTAGE_S: Final = float(os.environ.get("INTENT_EVENTS_TEST_OUTAGE", "6"))
"""Seconds for which Postgres is stopped."""

_KILLS: Final = 10
_LARGEST: Final = 768 * 1024
"""Bytes of a request: the Collector adds what the emitter sends at once (260 KB) to what has not yet 256 KiB."""


@pytest.fixture
def sink(writer_dsn: str, tmp_path: Path) -> Iterator[Sink]:
    """A sink in front of the database of ``pg``."""
    with Sink(tmp_path, writer_dsn) as sink:
        yield sink


def test_sink_killed(pg: Database, sink: Sink, tmp_path: Path) -> None:
    """The sink is killed ten times, at any moment, and started again."""
    random = Random(10)  # noqa: S311 - moments, no secrets
    with (
        Collector(tmp_path, {"INTENT_SINK_ENDPOINT": sink.endpoint}) as collector,
        emission(tmp_path, collector.endpoint, UTTERANCES, 300) as emitted,
    ):
        stream = Stream(pg, emitted)
        stream.begun()
        for _ in range(_KILLS):
            sleep(random.uniform(0.1, 0.8))
            sink.kill()
            sink.start()
        stream.under_way()
        stream.proven()
    assert sink.starts == _KILLS + 1


def test_postgres_stopped(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Postgres is stopped for a while; the sink lives on and says that it is not ready."""
    database = Database(own_server.dsn())
    with (
        Sink(tmp_path, own_server.dsn(user="writer")) as sink,
        Collector(tmp_path, {"INTENT_SINK_ENDPOINT": sink.endpoint}) as collector,
        emission(tmp_path, collector.endpoint, UTTERANCES, 10_000 / (OUTAGE_S + 6)) as emitted,
    ):
        stream = Stream(database, emitted)
        stream.begun()
        own_server.stop_server()
        until(lambda: not sink.ready(), "the sink says that it is not ready")
        sleep(OUTAGE_S)
        waiting = collector.queued()
        own_server.start_server()
        stream.under_way()
        until(sink.ready, "the sink is ready again")
        stream.proven()
    assert waiting > 0
    assert sink.starts == 1


def test_collector_killed(pg: Database, sink: Sink, tmp_path: Path) -> None:
    """The Collector is killed and started again with its queue.

    While the sink cannot be reached it is killed once more, and once told to end in good order, as a rollout does.
    """
    random = Random(7)  # noqa: S311 - moments, no secrets
    with (
        Proxy(f"tcp://{sink.endpoint}") as network,
        Collector(tmp_path, {"INTENT_SINK_ENDPOINT": f"127.0.0.1:{network.port}"}) as collector,
        emission(tmp_path, collector.endpoint, UTTERANCES, 700) as emitted,
    ):
        stream = Stream(pg, emitted)
        stream.begun()
        for _ in range(4):
            sleep(random.uniform(0.2, 1.2))
            collector.kill()
            collector.start()
        network.refuse()
        network.cut()
        for end in (collector.kill, collector.stop):
            sleep(1.2)
            end()
            collector.start()
        network.accept()
        stream.under_way()
        stream.proven()


def test_sink_at_its_memory_bound(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """Postgres does not answer, so the sink fills to its bound and asks two Collectors to come back."""
    bounds = {
        "INTENT_EVENTS_SINK_MAX_MESSAGE": str(_LARGEST),
        "INTENT_EVENTS_SINK_MAX_IN_FLIGHT": str(2 * _LARGEST),
        "INTENT_EVENTS_SINK_PATIENCE": "500ms",
    }
    half = UTTERANCES // 2
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    with Proxy(writer_dsn) as network, Sink(tmp_path, network.dsn, bounds) as sink:
        env = {"INTENT_SINK_ENDPOINT": sink.endpoint}
        with (
            Collector(ours, env) as one,
            Collector(theirs, env) as two,
            emission(ours, one.endpoint, half, 2000) as said,
            emission(theirs, two.endpoint, half, 2000) as said_elsewhere,
        ):
            stream = Stream(pg, said, said_elsewhere)
            stream.begun()
            network.stall()
            until(lambda: sink.metric("intent_events_sink_requests_total", error_type="busy"), "the sink refuses some")
            network.resume()
            stream.under_way()
            stream.proven()
            assert sink.metric("intent_events_sink_in_flight_bytes") == 0
    assert sink.starts == 1


def test_network_cut(pg: Database, sink: Sink, tmp_path: Path) -> None:
    """The network between the Collector and the sink is cut, reset, held and closed, again and again."""
    random = Random(3)  # noqa: S311 - moments, no secrets
    with (
        Proxy(f"tcp://{sink.endpoint}") as network,
        Collector(tmp_path, {"INTENT_SINK_ENDPOINT": f"127.0.0.1:{network.port}"}) as collector,
        emission(tmp_path, collector.endpoint, UTTERANCES, 600) as emitted,
    ):
        stream = Stream(pg, emitted)
        stream.begun()
        for fault in (Fault.CUT, Fault.RESET, Fault.STALL, Fault.CUT_AFTER) * 3:
            until(lambda: network.open, "the Collector has a connection")
            match fault:
                case Fault.CUT:
                    network.cut()
                case Fault.RESET:
                    network.reset()
                case Fault.STALL:
                    network.stall()
                    sleep(0.5)
                    network.reset()
                    network.resume()
                case _:
                    network.cut_after(random.randrange(100_000))
            sleep(random.uniform(0.1, 0.6))
        network.refuse()
        network.cut()
        sleep(2)
        network.accept()
        stream.under_way()
        stream.proven()
    assert network.faults[Fault.CUT] + network.faults[Fault.RESET] > 6
    assert network.faults[Fault.CUT_AFTER] > 0


def test_two_sinks(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """The Collector spreads requests over two sinks behind one name; one of them is killed and comes back."""
    with (
        Sink(tmp_path, writer_dsn) as one,
        Sink(tmp_path, writer_dsn, host="127.0.0.2", grpc=one.grpc) as two,
        name_server(["127.0.0.1", "127.0.0.2"]) as names,
        Collector(tmp_path, {"INTENT_SINK_ENDPOINT": f"dns://{names}/sinks.test:{one.grpc}"}) as collector,
        emission(tmp_path, collector.endpoint, UTTERANCES, 1_000) as emitted,
    ):
        stream = Stream(pg, emitted)
        stream.begun()
        until(lambda: one.spans("stored") and two.spans("stored"), "both have stored something")
        two.kill()
        sleep(1)
        two.start()
        stream.under_way()
        until(lambda: two.spans("stored"), "the one that came back stores again")
        stream.proven()
