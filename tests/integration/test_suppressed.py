# SPDX-License-Identifier: Apache-2.0
"""A host that instruments asyncpg sees its own statements in its traces, and none of ours."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from integration.test_drain import leave
from integration.test_exporter import finished
from integration.test_processor import COUNT, handle, kept
from intent_events import semconv
from intent_events_exporter import IntentEventsSpanExporter
from intent_events_exporter.salvage import Salvage
from intent_events_exporter.spool import totals
from support.postgres import Database
from support.records import span_view
from support.waiting import until

STATEMENTS: Final = ("copy_to_table", "execute", "executemany", "fetch")
"""Methods of a connection that send statements of ours, and that an instrumentation wraps."""


class Instrumented:
    """The driver with a span around each statement, unless instrumentation is suppressed.

    Attributes:
        quiet: statements without a span, by the method that sent them.
    """

    def __init__(self) -> None:
        self.quiet: Counter[str] = Counter()
        self._memory = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))

    def spans(self) -> list[str]:
        """Names of the spans so far, which are forgotten with it."""
        names = [span.name for span in self._memory.get_finished_spans()]
        self._memory.clear()
        return names

    def around(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The method of this name, wrapped as an instrumentation does it."""
        method: Callable[..., Awaitable[Any]] = getattr(asyncpg.Connection, name)

        @wraps(method)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not is_instrumentation_enabled():
                self.quiet[name] += 1
                return await method(*args, **kwargs)
            with self._provider.get_tracer("asyncpg").start_as_current_span(name, kind=SpanKind.CLIENT):
                return await method(*args, **kwargs)

        return wrapped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the spool."""
    return tmp_path / "spool"


@pytest.fixture
def instrumented(pg: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instrumented]:
    """The instrumented driver; at the end of the test it is seen to make spans of a host's statement."""
    instrumented = Instrumented()
    with monkeypatch.context() as patched:
        for name in STATEMENTS:
            patched.setattr(asyncpg.Connection, name, instrumented.around(name))
        yield instrumented
        instrumented.spans()
        assert pg.fetchval_now("SELECT 1") == 1
        assert instrumented.spans() == ["fetch"], "what the host does itself is seen"


async def test_the_drain(pg: Database, writer_dsn: str, folder: Path, instrumented: Instrumented) -> None:
    """Connecting, batches, the stage, dead letters, heartbeats, what dead processes left and the end make no span."""
    leave(folder)
    await pg.execute("ALTER TABLE agent.intent_events ADD CHECK (actor_id <> 'poison')")
    assert instrumented.spans() == ["execute"]
    with kept(writer_dsn, folder) as opened:
        assert handle("one").telemetry_persisted
        for number in (1_000, 1_000, 1_001):
            assert opened.processor.accept(span_view(number))
        assert opened.processor.accept(span_view(1_002, {semconv.ACTOR_ID: "poison"}))
        assert opened.processor.force_flush()
        until(lambda: opened.metric("drain.records")["stored"] == 103, "what was left is stored too")
    assert instrumented.spans() == []
    assert set(instrumented.quiet) == set(STATEMENTS)
    assert await pg.fetchval(COUNT) == 103
    assert await pg.fetchval("SELECT count(*) FROM agent.emitters") > 0


async def test_the_exporter(pg: Database, writer_dsn: str, instrumented: Instrumented) -> None:
    """An export, also one of dead letters and duplicates, and the end make no span."""
    spans = [finished(number, {semconv.ROOT: True}) for number in (1, 2, 2)]
    spans.append(finished(3, {semconv.ROOT: True}, start_time=300 * 10**18, end_time=300 * 10**18))
    exporter = IntentEventsSpanExporter(writer_dsn, timeout_s=30.0)
    # On the thread of the caller: the SDK's batch processor has suppressed instrumentation on its own already.
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert instrumented.spans() == []
    assert set(instrumented.quiet) == set(STATEMENTS)
    assert await pg.fetchval(COUNT) == 2


async def test_what_the_dead_left(pg: Database, writer_dsn: str, folder: Path, instrumented: Instrumented) -> None:
    """``intent-events drain`` makes no span."""
    leave(folder)
    await Salvage(folder, writer_dsn, timeout_s=60.0).run()
    assert instrumented.spans() == []
    assert instrumented.quiet["copy_to_table"] == 1
    assert totals(folder).owners == 0
    assert await pg.fetchval(COUNT) == 100
