# SPDX-License-Identifier: Apache-2.0
"""Delivery that is detached, and attached a second time in a process: one ledger, and nothing open is lost between."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider
from opentelemetry.trace import TracerProvider as ApiProvider

from intent_events import IntentEventsInstrumentor, IntentTrace, current_trace, record_utterance
from intent_events.instrument import troubles
from intent_events.instrument.recorder import EMITTER
from intent_events_exporter.salvage import Salvage
from intent_events_exporter.spool import look, totals
from support.postgres import Database
from support.processes import run_app
from support.records import HASH_KEY
from support.waiting import until

_LAST: Final = "SELECT coalesce(max(emitted), 0) FROM agent.emitters"
_IDS: Final = "SELECT event_id::text FROM agent.intent_events ORDER BY event_id"


@pytest.fixture
def provider(writer_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """An SDK, in a process that tells the ledger often."""
    for name, value in {"HASH_KEY": HASH_KEY, "DSN": writer_dsn, "HEARTBEAT": "20ms", "FLUSH_INTERVAL": "10ms"}.items():
        monkeypatch.setenv(f"INTENT_EVENTS_{name}", value)
    monkeypatch.setattr(troubles, "_last", {})
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    if IntentEventsInstrumentor().is_instrumented_by_opentelemetry:
        IntentEventsInstrumentor().uninstrument()
    provider.shutdown()


@record_utterance
def handle(utterance: str) -> str:
    """Answer."""
    return f"said {utterance}"


@record_utterance
def remember(utterance: str) -> IntentTrace:
    """Answer with the trace."""
    del utterance
    return current_trace()


@record_utterance
def stream(utterance: str) -> Iterator[IntentTrace]:
    """Answer in two pieces."""
    del utterance
    yield current_trace()
    yield current_trace()


def opened(count: int) -> list[Iterator[IntentTrace]]:
    """Streams of which one piece has been read."""
    streams = [stream("hm") for _ in range(count)]
    for each in streams:
        next(each)
    return streams


def read(streams: list[Iterator[IntentTrace]]) -> list[IntentTrace]:
    """Read these to their end, and give their traces."""
    return [list(each)[-1] for each in streams]


def test_heartbeats_go_on(pg: Database, provider: TracerProvider) -> None:
    """No heartbeat of the second delivery is taken for one of the first: the last one says all that was emitted."""
    for _ in range(3):
        IntentEventsInstrumentor().instrument(tracer_provider=provider)
        for _ in range(3):
            handle("hm")
            until(lambda: pg.fetchval_now(_LAST) == EMITTER.emitted, "a heartbeat says so")
        IntentEventsInstrumentor().uninstrument()
    assert EMITTER.emitted == 9
    beats = [row["beat"] for row in pg.fetch_now("SELECT beat FROM agent.emitters ORDER BY beat")]
    assert beats == list(range(1, len(beats) + 1))


OPEN: Final = """
import json
import sys
from opentelemetry import trace as api
from opentelemetry.sdk.trace import TracerProvider
from intent_events import IntentEventsInstrumentor
from integration.test_second_delivery import handle, opened, read
if sys.argv[1] == "sdk":
    api.set_tracer_provider(TracerProvider())
IntentEventsInstrumentor().instrument()
handle("one")
streams = opened(5)
IntentEventsInstrumentor().uninstrument()
handle("nobody records it")
print(json.dumps([[str(trace.event_id), trace.telemetry_persisted] for trace in read(streams)]))
"""


@pytest.mark.parametrize("kind", ["sdk", "none"])
async def test_open_at_the_detaching(pg: Database, writer_dsn: str, tmp_path: Path, kind: str) -> None:
    """What is open then is durable at its end, is said once, and ``intent-events drain`` stores each of them once."""
    env = {
        "INTENT_EVENTS_DSN": writer_dsn,
        "INTENT_EVENTS_SPOOL_DIR": str(tmp_path / "spool"),
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
    }
    ran = run_app("-c", OPEN, kind, env=env)
    assert ran.returncode == 0, ran.stderr
    late = [line for line in ran.stderr.splitlines() if "uninstrument(): they wait in the spool" in line]
    assert len(late) == 1, ran.stderr
    events = dict(json.loads(ran.stdout))
    assert list(events.values()) == [True] * 5
    before = {row[0] for row in await pg.fetch(_IDS)}
    assert len(before) == 1
    assert len(list(look(tmp_path / "spool"))) == 5, "each waits once, and what began later is not recorded"
    await Salvage(tmp_path / "spool", writer_dsn, timeout_s=60.0).run()
    assert totals(tmp_path / "spool").owners == 0
    assert {row[0] for row in await pg.fetch(_IDS)} == before | set(events)
    numbers = await pg.fetch("SELECT emitter_seq FROM agent.intent_events ORDER BY emitter_seq")
    assert len(numbers) == len({row[0] for row in numbers}) == 6


@pytest.mark.parametrize("kind", ["the same SDK", "another SDK", "no SDK"])
def test_open_from_one_delivery_to_the_next(pg: Database, provider: TracerProvider, kind: str) -> None:
    """The second stores what is open in between, at once, and nothing is kept twice."""
    first: ApiProvider = NoOpTracerProvider() if kind == "no SDK" else provider
    second = TracerProvider(shutdown_on_exit=False) if kind == "another SDK" else first
    IntentEventsInstrumentor().instrument(tracer_provider=first)
    streams = opened(5)
    IntentEventsInstrumentor().uninstrument()
    IntentEventsInstrumentor().instrument(tracer_provider=second)
    traces = read(streams)
    assert all(trace.telemetry_persisted for trace in traces)
    IntentEventsInstrumentor().uninstrument()
    assert all(trace.telemetry_committed for trace in traces)
    assert [row[0] for row in pg.fetch_now(_IDS)] == sorted(str(trace.event_id) for trace in traces)
    assert pg.fetchval_now("SELECT sum(duplicates) FROM agent.emitters") == 0


def test_the_flush_of_the_sdk_after_the_detaching(provider: TracerProvider) -> None:
    """What waits for another process does not keep the SDK from flushing the processors behind."""
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    streams = opened(1)
    IntentEventsInstrumentor().uninstrument()
    assert read(streams)[0].telemetry_persisted
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    trace = remember("hm")
    assert provider.force_flush()
    assert trace.telemetry_committed
