# SPDX-License-Identifier: Apache-2.0
"""Postgres fails in every way that it can: no request fails with it, the exporter says so, and then it works again."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from intent_events import IntentTrace, current_trace, record_utterance
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.instrument import troubles
from support.outages import TinyDisk, frozen
from support.postgres import Database
from support.records import Door, door

_COUNT = "SELECT count(*) FROM agent.intent_events"


@contextmanager
def stopped(server: EmbeddedPostgres) -> Generator[None]:
    """An administrator stops the server."""
    server.stop_server()
    yield
    server.start_server()


@contextmanager
def killed(server: EmbeddedPostgres) -> Generator[None]:
    """The system kills the server."""
    server.kill_server()
    yield
    server.start_server()


@contextmanager
def table_gone(server: EmbeddedPostgres) -> Generator[None]:
    """A migration gone wrong drops the table; renamed here, so that the same one comes back."""
    database = Database(server.dsn())
    database.execute_now("ALTER TABLE agent.intent_events RENAME TO dropped")
    yield
    database.execute_now("ALTER TABLE agent.dropped RENAME TO intent_events")


@contextmanager
def permission_denied(server: EmbeddedPostgres) -> Generator[None]:
    """An administrator takes the right to write away."""
    database = Database(server.dsn())
    database.execute_now("REVOKE INSERT ON agent.intent_events FROM intent_writer")
    yield
    database.execute_now("GRANT INSERT ON agent.intent_events TO intent_writer")


@contextmanager
def disk_full(server: EmbeddedPostgres) -> Generator[None]:
    """The disk that holds the rows is full."""
    try:
        disk = TinyDisk(server)
    except PermissionError:  # this user may not mount
        pytest.skip("a disk to fill takes the right to mount one: run as root on Linux")
    disk.fill()
    yield
    disk.clear()


Outage = Callable[[EmbeddedPostgres], AbstractContextManager[None]]

OUTAGES: Final[Mapping[Outage, str]] = {
    stopped: "is it running?",
    killed: "is it running?",
    frozen: "did not answer in time",
    table_gone: "run `intent-events migrate`",
    permission_denied: "permission denied for table intent_events",
    disk_full: "53100",
}
"""What may happen, and what the log line says of it."""


@pytest.fixture(autouse=True)
def _troubles_are_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears the log lines that another test heard a moment ago."""
    monkeypatch.setattr(troubles, "_last", {})


@record_utterance
async def handle(utterance: str, session_id: str) -> IntentTrace:
    """A handler that records."""
    trace = current_trace()
    trace.outcome, trace.chosen_verb_fqn = "matched", "cbu.create"
    trace.scope = f"{len(utterance)} {session_id}"
    return trace


@record_utterance
def handle_plainly(utterance: str) -> str:
    """A handler that knows nothing of traces."""
    return utterance.upper()


@pytest.mark.parametrize(("outage", "says"), OUTAGES.items(), ids=[outage.__name__ for outage in OUTAGES])
async def test_no_request_fails_with_postgres(
    own_server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture, outage: Outage, says: str
) -> None:
    """Whatever happens to Postgres, requests succeed, the flag is false, the exporter tells the truth and recovers."""
    with door(own_server.dsn(user="writer"), timeout_s=1.5) as opened:
        before = await handle("before the outage", "s")
        opened.flush()
        assert opened.results == [SpanExportResult.SUCCESS]
        assert before.telemetry_persisted
        assert before.telemetry_committed

        with outage(own_server):
            traces = [await handle("in the outage", "s") for _ in range(3)]
            assert handle_plainly("aloud") == "ALOUD"
            opened.flush()
            assert opened.results[1:] == [SpanExportResult.FAILURE]
            assert [trace.chosen_verb_fqn for trace in traces] == ["cbu.create"] * 3
            assert not any(trace.telemetry_persisted or trace.telemetry_committed for trace in traces)
            assert not await traces[0].committed(timeout_s=60.0), "nobody waits for what was given up"
            assert opened.counted() == {"stored": 1, "dropped:unavailable": 4}
            said = [record.getMessage() for record in caplog.records if record.name == "intent_events"]
            assert [line for line in said if says in line], said

        after = await stored_after(opened)
        assert after.telemetry_persisted
    database = Database(own_server.dsn())
    assert await database.fetchval(f"{_COUNT} WHERE event_id = $1", after.event_id) == 1
    assert await database.fetchval(_COUNT) == opened.counted()["stored"]


async def stored_after(opened: Door) -> IntentTrace:
    """A record of after the outage; a server that has just come back may need more than one try."""
    after = await handle("after the outage", "s")
    opened.flush()
    for _ in range(20):
        if opened.results[-1] is SpanExportResult.SUCCESS:
            break
        after = await handle("after the outage", "s")
        opened.flush()
    return after


async def test_an_outage_within_the_time_of_an_export_loses_nothing(own_server: EmbeddedPostgres) -> None:
    """A server that comes back before the time of an export is up gets the records by a retry of the exporter's own."""
    own_server.stop_server()
    with door(own_server.dsn(user="writer"), timeout_s=60.0) as opened:
        trace = await handle("while it restarts", "s")
        own_server.start_server()
        opened.flush()
        assert opened.results == [SpanExportResult.SUCCESS]
        assert trace.telemetry_committed
        assert opened.counted() == {"stored": 1}


async def test_shutdown_in_the_middle_of_an_outage(own_server: EmbeddedPostgres) -> None:
    """A server that does not answer does not keep the process: what is queued is counted, and nothing runs on."""
    with door(own_server.dsn(user="writer"), timeout_s=1.0) as opened:
        await handle("before", "s")
        opened.flush()
        with frozen(own_server):
            trace = await handle("in the outage", "s")
            opened.provider.shutdown()
        assert opened.results == [SpanExportResult.SUCCESS, SpanExportResult.FAILURE]
        assert not trace.telemetry_persisted
