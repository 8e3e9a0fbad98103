# SPDX-License-Identifier: Apache-2.0
"""The exporter behind a real SDK: it stores what is a record, tells the truth about it, and never hurts the SDK."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, TraceFlags

from intent_events import IntentTrace, current_trace, record_outcome, record_reply, record_utterance, semconv
from intent_events.instrument import troubles
from intent_events.instrument.current import set_recorder
from intent_events_exporter import IntentEventsSpanExporter
from support.postgres import Database
from support.records import START_NS, Door, door, record_through

_COUNT = "SELECT count(*) FROM agent.intent_events"


@pytest.fixture(autouse=True)
def _troubles_are_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears the log lines that another test heard a moment ago."""
    monkeypatch.setattr(troubles, "_last", {})


@pytest.fixture
def opened(writer_dsn: str) -> Iterator[Door]:
    """A door with the rights of ``intent_writer`` alone."""
    with door(writer_dsn) as opened:
        yield opened


@record_utterance
async def handle(utterance: str) -> IntentTrace:
    """A handler that records, and calls itself."""
    trace = current_trace()
    trace.outcome = "matched"
    if utterance.startswith("again "):
        await handle(utterance.removeprefix("again "))
    return trace


def root_span(opened: Door, **attributes: Any) -> None:
    """A span of a foreign emitter that says that it is a record."""
    opened.provider.get_tracer("foreign").start_span("any name", attributes={semconv.ROOT: True, **attributes}).end()


async def test_success_is_said_only_of_what_is_committed(pg: Database, opened: Door) -> None:
    """When export answers SUCCESS another connection sees the rows, and the trace knows it."""
    trace = await handle("one")
    assert not trace.telemetry_persisted
    assert not trace.telemetry_committed
    opened.flush()
    assert opened.results == [SpanExportResult.SUCCESS]
    row = await pg.fetchrow("SELECT * FROM agent.intent_events")
    assert row is not None
    assert (row["event_id"], row["outcome"], row["service_name"]) == (trace.event_id, "matched", "tests")
    assert trace.telemetry_persisted
    assert trace.telemetry_committed
    assert await trace.committed(timeout_s=0.001)
    assert trace.wait_committed(timeout_s=0.001)


async def test_whoever_waits_is_woken_by_the_commit(opened: Door) -> None:
    """A commit that happens on another thread wakes whoever awaits it."""
    trace = await handle("one")
    flusher = threading.Thread(target=opened.flush)
    flusher.start()
    assert await trace.committed(timeout_s=60.0)
    flusher.join()


async def test_replies_and_outcomes_go_to_their_tables(pg: Database, opened: Door) -> None:
    """What follows an utterance refers to its row."""
    trace = await handle("one")
    record_reply(trace.event_id, "which of the two?", session_id="s", turn_id=3, prompt_version="p1")
    record_outcome(trace.event_id, "execution_failed", error_type="LedgerClosed")
    opened.flush()
    reply = await pg.fetchrow("SELECT * FROM agent.chat_events")
    outcome = await pg.fetchrow("SELECT * FROM agent.intent_outcomes")
    assert reply is not None
    assert outcome is not None
    assert reply["intent_event_id"] == outcome["intent_event_id"] == trace.event_id
    assert (reply["turn_id"], reply["prompt_version"]) == ("3", "p1")
    assert (outcome["kind"], outcome["error_code"]) == ("execution_failed", "LedgerClosed")
    assert opened.counted() == {"stored": 3}


async def test_strangers_are_passed_over(pg: Database, opened: Door) -> None:
    """Spans that are no records, and nested ones, cost nothing: no row, no connection, no count."""
    tracer = opened.provider.get_tracer("host")
    with tracer.start_as_current_span("GET /chat"), tracer.start_as_current_span("SELECT"):
        pass
    opened.flush()
    assert opened.results == [SpanExportResult.SUCCESS]
    assert await pg.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'intent-events'") == 0
    await handle("again again one")
    opened.flush()
    assert await pg.fetchval(_COUNT) == 1
    assert opened.counted() == {"stored": 1}


async def test_every_record_is_counted_once(pg: Database, opened: Door) -> None:
    """Received is stored plus duplicate plus dead plus dropped with a reason, whatever comes together."""
    await pg.execute("ALTER TABLE agent.intent_events ADD CHECK (actor_id <> 'poison')")
    for _ in range(3):
        await handle("one")
    twice = await handle("again two")
    root_span(opened, **{semconv.EVENT_ID: str(twice.event_id)})
    root_span(opened, **{semconv.ACTOR_ID: "poison"})
    far = opened.provider.get_tracer("foreign").start_span(
        "of the year 11476", attributes={semconv.ROOT: True}, start_time=START_NS * 167
    )
    far.end()
    root_span(opened, **{semconv.RECORD: "of a later version"})
    opened.flush()
    assert opened.results == [SpanExportResult.SUCCESS]
    assert opened.counted() == {"stored": 4, "duplicate": 1, "dead": 2}
    assert await pg.fetchval(_COUNT) == 4
    assert await pg.fetchval("SELECT count(*) FROM agent.dead_letters") == 2


async def test_two_doors_give_one_row(pg: Database, opened: Door, writer_dsn: str) -> None:
    """An exporter that the environment made beside one of the host's own stores nothing twice."""
    second = IntentEventsSpanExporter(dsn=writer_dsn, timeout_s=10.0, meter_provider=opened.meter_provider)
    opened.provider.add_span_processor(BatchSpanProcessor(second, schedule_delay_millis=3_600_000))
    for _ in range(50):
        await handle("one")
    opened.flush()
    assert await pg.fetchval(_COUNT) == 50
    assert opened.counted() == {"stored": 50, "duplicate": 50}


async def test_more_records_than_a_batch_holds(pg: Database, writer_dsn: str) -> None:
    """An export of any size is stored."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("foreign")
    for _ in range(4500):
        tracer.start_span("any name", attributes={semconv.ROOT: True}).end()
    exporter = IntentEventsSpanExporter(dsn=writer_dsn, timeout_s=60.0)
    assert exporter.export(memory.get_finished_spans()) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert await pg.fetchval(_COUNT) == 4500


class _Hostile(Mapping[str, Any]):
    """Attributes of a span that break when they are looked at."""

    def __init__(self, **known: Any) -> None:
        self._known = {semconv.ROOT: True, **known}

    def __getitem__(self, key: str) -> Any:
        if key == semconv.SCOPE:
            raise RuntimeError("not this one")
        return self._known[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Break on one key."""
        return self[key] if key in self._known or key == semconv.SCOPE else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def copy(self) -> "_Hostile":
        """Stay hostile."""
        return self


class _BadList(Sequence[str]):
    def __getitem__(self, _: Any) -> NoReturn:
        raise RuntimeError("no item")

    def __len__(self) -> int:
        return 3


def finished(number: int, attributes: Any, **fields: Any) -> ReadableSpan:
    """A finished span with any attributes, past all that the SDK would have mended."""
    context = SpanContext(number + 1, number + 1, is_remote=False, trace_flags=TraceFlags(1))
    given: dict[str, Any] = {"context": context, "start_time": START_NS + number * 1_000_000, "end_time": START_NS}
    given |= fields
    return ReadableSpan("hostile", attributes=attributes, resource=Resource({}), **given)


HOSTILE: tuple[Any, ...] = (
    finished(1, _Hostile()),
    finished(2, {semconv.ROOT: True, semconv.CANDIDATES_PRE: _BadList(), semconv.MISSING_ARGS: _BadList()}),
    finished(3, {semconv.ROOT: True, semconv.EVENT_ID: "01a0c450-73cf-7938-b469-15f13549008b\x00"}),
    finished(4, {semconv.ROOT: True, semconv.CANDIDATES_PRE: "[" * 100_000}),
    finished(5, {semconv.ROOT: True, semconv.EMITTER_SEQ: 10**5000, semconv.SCHEMA_VERSION: float("nan")}),
    finished(6, {semconv.ROOT: True, semconv.CANDIDATES_PRE + semconv.VERBS: [b"\xff", None, 1, object()]}),
    finished(7, {semconv.ROOT: True, semconv.ACTOR_ID: "\ud800\x00" * 1000, semconv.SCOPE: "x" * 100_000}),
    finished(8, {semconv.ROOT: True}, start_time=None, end_time=None),
    finished(9, {semconv.ROOT: True}, start_time=-(10**20), end_time=10**30),
    finished(10, {semconv.ROOT: True}, context=None),
    finished(11, {semconv.RECORD: ["utterance"], semconv.ROOT: "true"}),
    finished(12, None),
    None,
    "no span at all",
)


async def test_hostile_spans_hurt_nobody(pg: Database, writer_dsn: str) -> None:
    """Whatever a span holds, export does not raise, and the records beside it are stored."""
    with door(writer_dsn) as opened:
        good = [finished(100 + number, {semconv.ROOT: True}) for number in range(len(HOSTILE) + 1)]
        mixed = [span for pair in zip(good, HOSTILE, strict=False) for span in pair]
        opened.exporter.export(cast("list[ReadableSpan]", mixed))
        stored = await pg.fetch("SELECT span_id FROM agent.intent_events")
        assert {f"{span.context.span_id:016x}" for span in good[:-1] if span.context} <= {row[0] for row in stored}
        counts = opened.counted()
        assert counts["stored"] == len(stored)
        assert set(counts) <= {"stored", "dead", "dropped:internal"}
        assert sum(counts.values()) >= len(good) - 1 + 9, "what says that it is a record is counted, stored or not"


async def test_a_reply_that_is_given_up_gives_up_no_utterance(pg: Database, writer_dsn: str) -> None:
    """A reply bears the id of its utterance, whose own record is still on its way when the reply is dropped."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    record_through(provider)
    trace = await handle("one")
    record_reply(trace.event_id, "two")
    set_recorder(None)
    utterance, reply = memory.get_finished_spans()
    await pg.execute("ALTER TABLE agent.chat_events RENAME TO lost")
    exporter = IntentEventsSpanExporter(dsn=writer_dsn, timeout_s=0.3)
    assert exporter.export([reply]) is SpanExportResult.FAILURE
    assert trace.delivery is not None
    assert not trace.delivery.settled
    await pg.execute("ALTER TABLE agent.lost RENAME TO chat_events")
    assert exporter.export([utterance, reply]) is SpanExportResult.SUCCESS
    assert trace.telemetry_committed
    exporter.shutdown()


async def test_a_record_that_was_given_up_and_comes_again_is_committed(pg: Database, writer_dsn: str) -> None:
    """The flag follows the row: another door, or another try, may bring what the first gave up."""
    with door("postgresql://127.0.0.1:1/nowhere", timeout_s=0.2) as opened:
        second = IntentEventsSpanExporter(dsn=writer_dsn, timeout_s=10.0)
        opened.provider.add_span_processor(BatchSpanProcessor(second, schedule_delay_millis=3_600_000))
        trace = await handle("one")
        opened.flush()
        assert opened.results == [SpanExportResult.FAILURE]
        assert trace.telemetry_committed
    assert await pg.fetchval(_COUNT) == 1


async def test_without_an_address_records_are_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Without INTENT_EVENTS_DSN nothing is stored: one log line names it, and the count has the reason."""
    with door(None) as opened:
        traces = [await handle("one") for _ in range(2)]
        opened.flush()
        assert opened.results == [SpanExportResult.FAILURE]
        assert opened.counted() == {"dropped:no_dsn": 2}
        assert not any(trace.telemetry_persisted for trace in traces)
    lines = [record.getMessage() for record in caplog.records if record.name == "intent_events"]
    assert len(lines) == 1
    assert "INTENT_EVENTS_DSN is not set" in lines[0]


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("mysql://u:hunter2-secret@127.0.0.1/x", "INTENT_EVENTS_DSN is no postgresql:// address"),
        ("postgresql://u:hunter2-secret@127.0.0.1:port/x", "INTENT_EVENTS_DSN has an @"),
        ("postgresql://u:hunter2-secret@127.0.0.1:1/x", "no connection to"),
        ("postgresql://u:hunter2-secret@host.invalid/x", "unknown host name"),
    ],
)
async def test_a_wrong_address_is_said_in_one_line(dsn: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong address costs one log line with the remedy and without the password, and the records are counted."""
    with door(dsn, timeout_s=0.5) as opened:
        traces: list[IntentTrace] = []
        for _ in range(2):
            traces.append(await handle("one"))
            opened.flush()
        assert opened.results == [SpanExportResult.FAILURE] * 2
        assert sum(opened.counted().values()) == 2
        assert "dropped:internal" not in opened.counted()
        assert not any(trace.telemetry_persisted for trace in traces)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("intent_events")]
    assert len(lines) == 1, lines
    assert says in lines[0]
    assert "hunter2" not in str(lines)


async def test_export_after_shutdown(pg: Database, writer_dsn: str) -> None:
    """After shutdown, once or twice, exports fail with the reason and start nothing."""
    with door(writer_dsn) as opened:
        await handle("one")
        opened.flush()
        opened.exporter.shutdown()
        opened.exporter.shutdown()
        trace = await handle("two")
        opened.flush()
        assert opened.results == [SpanExportResult.SUCCESS, SpanExportResult.FAILURE]
        assert opened.counted() == {"stored": 1, "dropped:shutdown": 1}
        assert not trace.telemetry_persisted
        assert not [thread for thread in threading.enumerate() if thread.name == "intent-events-exporter"]
    assert await pg.fetchval(_COUNT) == 1
    assert await pg.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'intent-events'") == 0


async def test_shutdown_of_an_exporter_that_never_exported() -> None:
    """An exporter that met no record has started nothing, and stops."""
    exporter = IntentEventsSpanExporter(dsn="postgresql://127.0.0.1:1/nowhere")
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert exporter.force_flush()
    exporter.shutdown()


async def test_exports_from_many_threads(pg: Database, writer_dsn: str) -> None:
    """An exporter that two processors share stores what each of them brings."""
    exporter = IntentEventsSpanExporter(dsn=writer_dsn, timeout_s=60.0)
    results: list[SpanExportResult] = []
    batches = [[finished(50 * at + number, {semconv.ROOT: True}) for number in range(50)] for at in range(8)]

    def export(batch: list[ReadableSpan]) -> None:
        results.append(exporter.export(batch))

    threads = [threading.Thread(target=export, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exporter.shutdown()
    assert results == [SpanExportResult.SUCCESS] * 8
    assert await pg.fetchval(_COUNT) == 400
