# SPDX-License-Identifier: Apache-2.0
"""What the spool refuses and the exporter stores is stored, and no drop that could hide a loss."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from integration.test_processor import kept
from intent_events import IntentEventsInstrumentor, current_trace, record_utterance
from intent_events.instrument import troubles
from intent_events.review import reconcile
from intent_events.rows import Rejection
from intent_events.semconv import Record
from intent_events.spans import SpanView
from intent_events.store.seal import sealed_of
from intent_events.store.write import Writer
from intent_events.trace import IntentTrace
from intent_events_exporter import IntentEventsSpanExporter
from intent_events_exporter.convert import view_of
from support.hosts import reconciled
from support.postgres import Database, run_apart
from support.records import HASH_KEY
from support.stored import tampering
from support.waiting import until


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


async def _stored_by_a_sink(dsn: str, views: list[SpanView]) -> None:
    """Store utterances as a sink does, which is another process: nobody here hears of it."""
    writer = Writer(dsn, door="sink")
    rows = sealed_of([(view, Record.UTTERANCE) for view in views])
    await writer.write([row for row in rows if row is not None and not isinstance(row, Rejection)])
    await writer.close()


def _has_gone(*_: object) -> bool:
    return False


@pytest.mark.parametrize("by_a_sink", [True, False])
def test_a_drop_explains_its_own_number_only(
    pg: Database,
    writer_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_a_sink: bool,  # noqa: FBT001 - a table of cases
) -> None:
    """Five are dropped, five others destroyed on the disk: five are missing, also when a sink has the dropped ones."""
    with kept(writer_dsn, tmp_path / "spool") as opened:
        seen = InMemorySpanExporter()
        opened.provider.add_span_processor(SimpleSpanProcessor(seen))
        handle("one")
        assert opened.processor.force_flush()
        opened.spool.max_bytes = 1
        assert not any(handle("one").telemetry_persisted for _ in range(5))
        opened.spool.max_bytes = 1 << 30
        if by_a_sink:
            run_apart(_stored_by_a_sink(writer_dsn, [view_of(span) for span in seen.get_finished_spans()[1:]]))
        pg.execute_now("ALTER TABLE agent.intent_events RENAME TO away")
        assert all(handle("one").telemetry_persisted for _ in range(5))
        until(lambda: opened.metric("drain.retries")[""], "the drain has what it read no more")
        for segment in tmp_path.rglob("*.spool"):
            done = int.from_bytes(segment.read_bytes()[24:32], "little")  # where the drain has come to
            with segment.open("r+b") as file:
                file.seek(done)
                file.write(bytes(segment.stat().st_size - done))
        pg.execute_now("ALTER TABLE agent.away RENAME TO intent_events")
        assert handle("one").telemetry_persisted
        assert opened.processor.force_flush()
    monkeypatch.setattr(reconcile, "is_living", _has_gone)
    sums = reconciled(pg)
    assert (sums.emitted, sums.missing, sums.underway) == (12, 5, 0)
    assert (sums.stored, sums.dropped) == ((7, 0) if by_a_sink else (2, 5))
