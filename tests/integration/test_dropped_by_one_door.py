# SPDX-License-Identifier: Apache-2.0
"""What the spool refuses and the exporter stores is stored, and no drop that could hide a loss."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from intent_events import IntentEventsInstrumentor, current_trace, record_utterance
from intent_events.instrument import troubles
from intent_events.trace import IntentTrace
from intent_events_exporter import IntentEventsSpanExporter
from support.hosts import reconciled
from support.postgres import Database
from support.records import HASH_KEY
from support.stored import tampering


@pytest.fixture
def provider(writer_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """An SDK with both doors, of a process that may not write to its disk."""
    (tmp_path / "file").write_text("no folder can be below it")
    for name, value in {
        "HASH_KEY": HASH_KEY,
        "DSN": writer_dsn,
        "SPOOL_DIR": str(tmp_path / "file" / "spool"),
        "HEARTBEAT": "100ms",
    }.items():
        monkeypatch.setenv(f"INTENT_EVENTS_{name}", value)
    monkeypatch.setattr(troubles, "_last", {})
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(IntentEventsSpanExporter()))
    IntentEventsInstrumentor().instrument(tracer_provider=provider)
    yield provider
    IntentEventsInstrumentor().uninstrument()
    provider.shutdown()


@record_utterance
def handle(utterance: str) -> IntentTrace:
    """Handle one utterance."""
    trace = current_trace()
    trace.outcome = "matched" if utterance else "no_match"
    return trace


def test_the_ledger_tells_stored_from_dropped(pg: Database, provider: TracerProvider) -> None:
    """Stored by the other door, twenty records are stored and not dropped; when rows go, no drop explains it."""
    assert not any(handle("one").telemetry_persisted for _ in range(20))
    assert provider.force_flush()
    IntentEventsInstrumentor().uninstrument()
    sums = reconciled(pg)
    assert (sums.emitted, sums.stored, sums.dropped, sums.missing) == (20, 20, 0, 0)
    some = "SELECT event_id FROM agent.intent_events ORDER BY event_id LIMIT 10"
    pg.execute_now(tampering(f"DELETE FROM agent.intent_events WHERE event_id IN ({some})"))
    sums = reconciled(pg)
    assert (sums.emitted, sums.stored, sums.dropped) == (20, 10, 0)
    assert sums.missing + sums.underway == 10, "which of the two is a question of the time since the last heartbeat"
