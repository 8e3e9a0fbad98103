# SPDX-License-Identifier: Apache-2.0
"""The sink as a process: what is answered, and what is in Postgres then."""

import asyncio
import json
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from threading import Event, Thread
from typing import Final

import asyncpg
import grpc
import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from support.otlp import json_request, json_span, request
from support.postgres import Database
from support.proxy import Proxy
from support.records import span_view, utterances
from support.sinks import JSON, RunningSink, exporting, gzipped, listening, retry_of, sink, sink_process
from support.stored import stored_rows
from support.waiting import until

OK: Final = grpc.StatusCode.OK
UNAVAILABLE: Final = grpc.StatusCode.UNAVAILABLE


def spans(since: int, end: int) -> bytes:
    """A request with the spans of these numbers."""
    return request([span_view(number) for number in range(since, end)])


def test_every_way_in_gives_the_same_rows(pg: Database, writer_dsn: str) -> None:
    """gRPC, HTTP with protobuf and HTTP with JSON, each plain and gzipped, store the rows that their spans are."""
    with sink(writer_dsn) as running:
        for number, compressed in product(range(3), (False, True)):
            since = number * 20 + compressed * 10
            views = [span_view(n) for n in range(since, since + 10)]
            if number == 0:
                compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
                assert running.export(request(views), compression=compression).code is OK
                continue
            as_json = json.dumps(json_request([json_span(view) for view in views])).encode()
            body = request(views) if number == 1 else as_json
            media_type = "application/x-protobuf" if number == 1 else JSON
            answer = running.post(
                gzipped(body) if compressed else body, media_type=media_type, encoding="gzip" if compressed else ""
            )
            assert (answer.code, answer.headers["content-type"]) == (200, media_type)
            assert answer.body == (b"" if number == 1 else b"{}")
        assert running.stop() == (0, "")
    assert stored_rows(pg) == utterances(0, 60)


def test_sent_again_nothing_is_doubled(pg: Database) -> None:
    """The same request, through both doors and many times, gives one row each; a request may be larger than a batch."""
    body = spans(0, 4500)
    with sink(pg.dsn) as running:
        for _ in range(2):
            assert running.export(body).code is OK
            assert running.post(body).code == 200
        assert running.metric("intent_events_sink_spans_total", intent_delivery="stored") == 4500
        assert running.metric("intent_events_sink_spans_total", intent_delivery="duplicate") == 13_500
    assert stored_rows(pg) == utterances(0, 4500)


def test_many_senders_at_once(pg: Database) -> None:
    """What fifty senders send at the same time is written together, and each is answered."""
    with sink(pg.dsn) as running, ThreadPoolExecutor(50) as senders:
        answers = list(senders.map(running.export, [spans(n * 10, n * 10 + 10) for n in range(200)]))
        assert {answer.code for answer in answers} == {OK}
        commits = running.metric("intent_events_sink_commit_duration_seconds_count")
    assert stored_rows(pg) == utterances(0, 2000)
    assert commits < 200


def check_refused(running: RunningSink, body: bytes) -> None:
    """Check that a request is refused for now, and that every kind of sender is told when to come back."""
    answer = running.export(body)
    assert answer.code is UNAVAILABLE
    assert answer.retry_s is not None
    assert answer.retry_s == answer.status_retry_s
    assert 0 < answer.retry_s < 60
    refused = running.post(body)
    assert refused.code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["content-type"] == "application/x-protobuf"
    assert (refused.status.code, retry_of(refused.status) is not None) == (14, True)
    in_json = running.post(b"{}", media_type=JSON, encoding="gzip")
    assert json.loads(in_json.body)["code"] == 3


def test_postgres_comes_and_goes(own_server: EmbeddedPostgres) -> None:
    """While Postgres is away senders are asked to come back and the sink is not ready; afterwards all is stored."""
    pg = Database(own_server.dsn())
    own_server.stop_server()
    with sink(pg.dsn, STORE_TIMEOUT="2s") as running:
        check_refused(running, spans(0, 10))
        assert (running.get("/readyz").code, running.get("/healthz").code) == (503, 200)
        own_server.start_server()
        until(lambda: running.get("/readyz").code == 200, "Postgres is there")
        assert running.export(spans(0, 10)).code is OK
        own_server.stop_server()
        check_refused(running, spans(10, 20))
        until(lambda: running.get("/readyz").code == 503, "Postgres is seen to be away")
        assert running.metric("intent_events_sink_ready") == 0
        own_server.start_server()
        until(lambda: running.post(spans(10, 20)).code == 200, "it is stored")
        assert running.metric("intent_events_sink_requests_total", error_type="unavailable") >= 4
        running.stop()
    assert stored_rows(pg) == utterances(0, 20)


def test_a_database_that_is_not_migrated(empty_pg: Database) -> None:
    """A missing table is mended by an administrator, so senders keep what they have until then."""
    with sink(empty_pg.dsn) as running:
        check_refused(running, spans(0, 1))
        assert running.get("/readyz").code == 503
        _, log = running.stop()
    assert "run `intent-events migrate`" in log


def test_a_row_that_postgres_refuses(pg: Database) -> None:
    """It is found among its neighbours and kept as a dead letter; only its own sender is told of it."""
    pg.execute_now("ALTER TABLE agent.intent_events ADD CONSTRAINT no_book CHECK (scope <> 'poison')")
    poisoned = request([span_view(n, {"intent.scope": "poison"} if n == 7 else {}) for n in range(20)])
    with sink(pg.dsn) as running:
        answer = running.export(poisoned)
        assert (answer.code, answer.response.partial_success.rejected_spans) == (OK, 1)
        assert running.export(spans(20, 30)).response.partial_success.rejected_spans == 0
    assert len(stored_rows(pg)) == 29
    assert [row["reason"] for row in pg.fetch_now("SELECT reason FROM agent.dead_letters")] == ["row_refused"]


def test_it_is_killed_while_senders_send(pg: Database) -> None:
    """What was answered with OK is there, however often the sink is killed; sent again, the rest is there too, once."""
    acknowledged: set[int] = set()
    for attempt in range(3):
        running = listening(sink_process(pg.dsn))

        def send(until_number: int, running: RunningSink = running) -> None:
            with running.channel() as channel:
                for number in range(until_number):
                    if number not in acknowledged:
                        try:
                            exporting(channel)(spans(number * 50, number * 50 + 50), timeout=20)
                        except grpc.RpcError:  # it was killed
                            return
                        acknowledged.add(number)

        sender = Thread(target=send, args=(60,))
        sender.start()
        if attempt < 2:
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before + 5, "some are answered")
            running.kill()
        sender.join()
        found = len(stored_rows(pg))
        assert found >= 50 * len(acknowledged)
        if attempt == 2:
            assert running.stop()[0] == 0
    assert stored_rows(pg) == utterances(0, 3000)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_good_order(pg: Database, how: signal.Signals) -> None:
    """Told to stop, it says that it is not ready, then ends what is under way; nothing that it answered is missing."""
    stored: list[int] = []
    running = listening(sink_process(pg.dsn, STOP_DELAY="1s", HEALTH_PORT="0"))
    with running.channel() as channel:

        def send() -> None:
            for number in range(100_000):
                if export_or_none(channel, number) is not OK:
                    return
                stored.append(number)

        sender = Thread(target=send)
        sender.start()
        until(lambda: len(stored) > 20, "some are answered")
        running.process.send_signal(how)
        until(lambda: running.get("/readyz", running.health_port).code == 503, "it says so")
        before = len(stored)
        until(lambda: len(stored) > before, "it takes requests still")
        assert running.get("/healthz", running.health_port).code == 200
        _, log = running.process.communicate(timeout=60)
        sender.join()
    assert (running.process.returncode, log) == (0, "")
    assert {row.event_id for row in utterances(0, len(stored))} <= {row.event_id for row in stored_rows(pg)}


def export_or_none(channel: grpc.Channel, number: int) -> grpc.StatusCode | None:
    """Send one span once; the code of the answer."""
    try:
        exporting(channel)(spans(number, number + 1), timeout=20)
    except grpc.RpcError:  # it does not listen any more
        return None
    return OK


@contextmanager
def nobody_can_write(pg: Database) -> Generator[None]:
    """Keep the table locked until the end of the block."""
    locked, enough = Event(), Event()

    async def hold() -> None:
        connection = await asyncpg.connect(pg.dsn)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE agent.intent_events")
                locked.set()
                await asyncio.to_thread(enough.wait)
        finally:
            await connection.close()

    holding = Thread(target=lambda: asyncio.run(hold()))
    holding.start()
    try:
        assert locked.wait(30)
        yield
    finally:
        enough.set()
        holding.join()


def test_it_holds_no_more_than_it_may(pg: Database) -> None:
    """When Postgres is slow, senders wait and are asked to come back; memory is bounded, and nothing is lost."""
    limits = {"MAX_MESSAGE": "4MB", "MAX_IN_FLIGHT": "8MB", "PATIENCE": "300ms", "CONNECTIONS": "1"}
    big = [spans(n * 3000, n * 3000 + 3000) for n in range(1, 17)]
    with sink(pg.dsn, STORE_TIMEOUT="60s", **limits) as running, ThreadPoolExecutor(32) as senders:
        assert running.export(spans(0, 1)).code is OK
        before = running.memory_mb()
        with nobody_can_write(pg):
            exported = [senders.submit(running.export, body) for body in [*big, *big]]
            until(
                lambda: running.metric("intent_events_sink_requests_total", error_type="busy") > 8, "some are refused"
            )
            assert running.memory_mb() - before < 150
            assert running.metric("intent_events_sink_in_flight_bytes") <= 8 << 20
            posted = senders.map(running.post, big[:4])
        assert {answer.result().code for answer in exported} == {OK, UNAVAILABLE}
        assert {answer.code for answer in posted} <= {200, 503}
        for body in big:
            until(lambda body=body: running.export(body).code is OK, "it is stored")
        until(lambda: running.metric("intent_events_sink_in_flight_bytes") == 0, "nothing is held any more")
        running.stop()
    assert pg.fetchval_now("SELECT count(*) FROM agent.intent_events") == 48_001


@pytest.mark.parametrize("committed", [True, False])
def test_the_network_to_postgres_breaks(pg: Database, committed: bool) -> None:  # noqa: FBT001 - a case of the table
    """A commit whose answer is lost may be there or not: the sender comes back, and there is one row each."""
    with Proxy(pg.dsn) as proxy, sink(proxy.dsn, CONNECTIONS="1", STORE_TIMEOUT="2s") as running:
        assert running.export(spans(0, 10)).code is OK
        proxy.cut_on(b"COMMIT", forward=committed)
        assert running.export(spans(10, 20)).code is UNAVAILABLE
        until(lambda: running.export(spans(10, 20)).code is OK, "it is stored")
        proxy.stall()
        refused: list[grpc.StatusCode] = []
        waiting = Thread(target=lambda: refused.append(running.export(spans(20, 30)).code))
        waiting.start()
        proxy.reset()
        waiting.join()
        proxy.resume()
        assert refused == [UNAVAILABLE]
        until(lambda: running.export(spans(20, 30)).code is OK, "it is stored")
        running.stop()
    assert stored_rows(pg) == utterances(0, 30)


WRONG: Final[dict[str, tuple[dict[str, str], str]]] = {
    "an open address without access": ({"HOST": "0.0.0.0"}, "INTENT_EVENTS_SINK_TOKENS"),  # noqa: S104 - it is refused
    "a name without access": ({"HOST": "example.org"}, "INTENT_EVENTS_SINK_TOKENS"),
    "half of a certificate": ({"TLS_CERT": "/x"}, "INTENT_EVENTS_SINK_TLS_KEY"),
    "a client CA alone": ({"TLS_CLIENT_CA": "/x"}, "INTENT_EVENTS_SINK_TLS_CERT"),
    "certificates that are not there": ({"TLS_CERT": "/x", "TLS_KEY": "/y"}, "cannot be read"),
    "tokens that are not there": ({"TOKENS": "/x"}, "INTENT_EVENTS_SINK_TOKENS names /x"),
    "no room for a message": ({"MAX_IN_FLIGHT": "64MB"}, "INTENT_EVENTS_SINK_MAX_IN_FLIGHT"),
    "a port that is none": ({"GRPC_PORT": "70000"}, "INTENT_EVENTS_SINK_GRPC_PORT"),
    "an address that is not here": ({"HOST": "127.0.0.1", "GRPC_PORT": "1x"}, "GRPC_PORT"),
    "no number of connections": ({"CONNECTIONS": "0"}, "INTENT_EVENTS_SINK_CONNECTIONS"),
}


@pytest.mark.parametrize(("settings", "said"), WRONG.values(), ids=WRONG)
def test_settings_that_cannot_be_used(settings: dict[str, str], said: str) -> None:
    """It does not start, and says which variable to change."""
    process = sink_process("postgresql://nobody@127.0.0.1:1/nothing", **settings)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in log
    assert "Traceback" not in log


def test_a_port_that_is_taken(pg: Database) -> None:
    """A second sink on the same port does not start, and says so."""
    with sink(pg.dsn) as running:
        for name, port in (("GRPC_PORT", running.grpc_port), ("HTTP_PORT", running.http_port)):
            process = sink_process(pg.dsn, **{name: str(port)})
            _, log = process.communicate(timeout=60)
            assert process.returncode == 2
            assert f"INTENT_EVENTS_SINK_{name}: cannot listen on" in log


def test_the_address_may_change(pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the address is read anew, so a password that changes in its file needs no restart."""
    file = tmp_path / "dsn"
    file.write_text("postgresql://nobody@127.0.0.1:1/nothing", "utf-8")
    monkeypatch.setenv("INTENT_EVENTS_DSN_FILE", str(file))
    with sink("") as running:
        check_refused(running, spans(0, 10))
        file.write_text(pg.dsn, "utf-8")
        until(lambda: running.export(spans(0, 10)).code is OK, "it is stored")
        running.stop()
    assert stored_rows(pg) == utterances(0, 10)
