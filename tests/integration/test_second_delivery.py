# SPDX-License-Identifier: Apache-2.0
"""Delivery that is attached a second time in a process goes on with the ledger of the first."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from intent_events import IntentEventsInstrumentor, record_utterance
from intent_events.instrument import troubles
from intent_events.instrument.recorder import EMITTER
from support.postgres import Database
from support.records import HASH_KEY
from support.waiting import until

_LAST = "SELECT coalesce(max(emitted), 0) FROM agent.emitters"


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
