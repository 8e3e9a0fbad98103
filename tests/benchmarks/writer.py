# SPDX-License-Identifier: Apache-2.0
"""Finished spans to committed rows on one connection, against one server-side COPY BINARY of the same rows.

Both fill the same partitioned table with all its indexes and its CHECK, emptied before each, in turns.
"""

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import asyncpg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from benchmarks.workload import finished_spans
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.store.migrate import migrate
from intent_events_exporter import IntentEventsSpanExporter

ROWS: Final = 20_000
SIZES: Final = (512, 20_000)
"""Spans that one export is given: what the SDK's batch processor gives, and a backlog."""

SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "jit": "off",
}


class WriterSpeed(NamedTuple):
    """One round.

    Attributes:
        copy_rows_s: rows a second of the server-side COPY.
        ours_rows_s: rows a second from finished spans to COMMIT.
        ratio: the second over the first.
    """

    copy_rows_s: float
    ours_rows_s: float
    ratio: float


def measure(rounds: int, size: int) -> list[WriterSpeed]:
    """Measure this many rounds of :data:`ROWS` rows each.

    Args:
        rounds: how often each side runs.
        size: spans that one export is given.
    """
    spans = finished_spans(ROWS)
    gc.collect()
    gc.freeze()  # the spans of all rounds are the benchmark's own burden, not an exporter's
    with EmbeddedPostgres(settings=SETTINGS) as server:
        dsn = server.dsn()
        asyncio.run(migrate(dsn))
        exporter = IntentEventsSpanExporter(dsn, timeout_s=60)
        file = server.data_dir / "rows.copy"
        _ours(dsn, exporter, spans, size)
        asyncio.run(_run(dsn, f"COPY (SELECT * FROM agent.intent_events) TO '{file}' (FORMAT BINARY)"))
        speeds = [_round(dsn, exporter, spans, size, file) for _ in range(rounds)]
        exporter.shutdown()
    return speeds


def _round(
    dsn: str, exporter: IntentEventsSpanExporter, spans: Sequence[ReadableSpan], size: int, file: Path
) -> WriterSpeed:
    copy = ROWS / asyncio.run(_copy(dsn, file))
    ours = ROWS / _ours(dsn, exporter, spans, size)
    return WriterSpeed(copy, ours, ours / copy)


def _ours(dsn: str, exporter: IntentEventsSpanExporter, spans: Sequence[ReadableSpan], size: int) -> float:
    asyncio.run(_run(dsn, "TRUNCATE agent.intent_events"))
    exporter.export(finished_spans(1))  # connects; one of the spans would be there already when its turn comes
    began = perf_counter()
    for start in range(0, len(spans), size):
        if exporter.export(spans[start : start + size]) is not SpanExportResult.SUCCESS:
            raise SystemExit("an export failed: see the log")
    return perf_counter() - began


async def _copy(dsn: str, file: Path) -> float:
    await _run(dsn, "TRUNCATE agent.intent_events")
    connection = await asyncpg.connect(dsn)
    try:
        began = perf_counter()
        await connection.execute(f"COPY agent.intent_events FROM '{file}' (FORMAT BINARY)")
        return perf_counter() - began
    finally:
        await connection.close()


async def _run(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
