# SPDX-License-Identifier: Apache-2.0
"""Finished spans to committed rows, against one server-side COPY BINARY of the same rows into the same table.

All fill the same partitioned table with all its indexes and its CHECK, in turns. It is emptied before each, or holds
millions of rows and grows.
"""

import asyncio
import gc
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, NamedTuple

import asyncpg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from benchmarks.workload import finished_spans
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.semconv import Record
from intent_events.settings import DeliverySettings
from intent_events.store.lookup import find_events
from intent_events.store.migrate import migrate
from intent_events.store.write import Writer
from intent_events_exporter import IntentEventsSpanExporter, IntentEventsSpanProcessor
from intent_events_exporter.convert import view_of
from intent_events_exporter.flush import Flush, Tally
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Spool
from support.stored import tampering

ROWS: Final = 20_000
BATCH: Final = 512
"""Spans that one export is given: what the SDK's batch processor gives."""

SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "jit": "off",
}

EXPORT: Final = "exporter, one export, one connection"
EXPORTS: Final = f"exporter, exports of {BATCH}, one connection"
DRAIN: Final = "drain of a spool, one connection"
DRAIN_TWO: Final = "drain of a spool, two connections"
AT_ONCE: Final = "processor, all spans ending at once and drained meanwhile, one connection"

Way = Callable[[Sequence[ReadableSpan]], float]
"""Stores spans, and says how many seconds that took."""


class Speeds(NamedTuple):
    """Rows a second, round by round.

    Attributes:
        copy: of the server-side COPY.
        ways: of each way of ours, by name.
    """

    copy: list[float]
    ways: dict[str, list[float]]

    def ratios(self, way: str) -> list[float]:
        """A way against the COPY of the same round."""
        return [ours / copy for ours, copy in zip(self.ways[way], self.copy, strict=True)]


@contextmanager
def server() -> Generator[EmbeddedPostgres]:
    """A migrated server that is set up as one in production is, but for its size."""
    with EmbeddedPostgres(settings=SETTINGS, tcp=True) as running:
        asyncio.run(migrate(running.dsn()))
        yield running


@contextmanager
def ways(dsn: str) -> Generator[dict[str, Way]]:
    """Every way of ours from finished spans to committed rows."""
    with TemporaryDirectory() as folder, asyncio.Runner() as runner:
        processor = IntentEventsSpanProcessor(
            dsn, Path(folder) / "processor", settings=DeliverySettings(connections=1, flush_interval=0.005)
        )
        exporter = IntentEventsSpanExporter(dsn, timeout_s=60)
        writers = [Writer(dsn, door="processor") for _ in range(2)]
        yield {
            EXPORT: lambda spans: _exported(exporter, spans, ROWS),
            EXPORTS: lambda spans: _exported(exporter, spans, BATCH),
            DRAIN: lambda spans: _drained(runner, writers[:1], spans),
            DRAIN_TWO: lambda spans: _drained(runner, writers, spans),
            AT_ONCE: lambda spans: _ended(processor, spans),
        }
        for writer in writers:
            runner.run(writer.close())
        exporter.shutdown()
        processor.shutdown()


def _exported(exporter: IntentEventsSpanExporter, spans: Sequence[ReadableSpan], at_once: int) -> float:
    began = perf_counter()
    for start in range(0, len(spans), at_once):
        if exporter.export(spans[start : start + at_once]) is not SpanExportResult.SUCCESS:
            raise SystemExit("an export failed: see the log")
    return perf_counter() - began


def _drained(runner: asyncio.Runner, writers: Sequence[Writer], spans: Sequence[ReadableSpan]) -> float:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool", max_bytes=8 << 30)
        for span in spans:
            spool.append(encode(view_of(span), Record.UTTERANCE))
        began = perf_counter()
        runner.run(Flush(spool, writers, Tally()).run())
        took = perf_counter() - began
        spool.close()
    return took


def _ended(processor: IntentEventsSpanProcessor, spans: Sequence[ReadableSpan]) -> float:
    began = perf_counter()
    for span in spans:
        processor.on_end(span)
    if not processor.force_flush(600_000):
        raise SystemExit("the spool was not drained: see the log")
    return perf_counter() - began


def measure(running: EmbeddedPostgres, rounds: int) -> Speeds:
    """Measure this many rounds of :data:`ROWS` rows each way into an empty table.

    Args:
        running: a migrated server.
        rounds: how often each side runs.
    """
    dsn = running.dsn()
    spans = finished_spans(ROWS)
    gc.collect()
    gc.freeze()  # the spans of all rounds are the benchmark's own burden
    file = running.data_dir / "rows.copy"
    speeds = Speeds([], {})
    with ways(dsn) as every:
        for way in every.values():  # connects, and warms what is compiled and planned
            asyncio.run(run(dsn, _EMPTIED))
            way(spans[:2000])
        every[EXPORT](spans)
        asyncio.run(
            run(
                dsn,
                f"COPY (SELECT * FROM agent.intent_events WHERE emitter_seq IS NOT NULL) TO '{file}' (FORMAT BINARY)",
            )
        )
        for _ in range(rounds):
            asyncio.run(run(dsn, _EMPTIED))
            speeds.copy.append(ROWS / asyncio.run(_copy(dsn, file)))
            for name, way in every.items():
                asyncio.run(run(dsn, _EMPTIED))
                speeds.ways.setdefault(name, []).append(ROWS / way(spans))
    gc.unfreeze()
    return speeds


class Rates(NamedTuple):
    """Rows a second, round by round.

    Attributes:
        empty: of an emptied table.
        filled: of one that holds millions of rows.
    """

    empty: list[float]
    filled: list[float]


def rates(empty: EmbeddedPostgres, filled: EmbeddedPostgres, rounds: int) -> dict[str, Rates]:
    """How fast a drain stores :data:`ROWS` new utterances, over one connection and over two; the servers take turns.

    No utterance is like another: a key that was there and deleted, or a text that all have in common, would cost a
    server more or less than what comes in production.

    Args:
        empty: a migrated server, whose table is emptied each time.
        filled: one whose table grows.
        rounds: how often each runs.
    """
    speeds = {DRAIN: Rates([], []), DRAIN_TWO: Rates([], [])}
    with ways(empty.dsn()) as to_empty, ways(filled.dsn()) as to_filled:
        sides = (("empty", to_empty, empty.dsn(), _EMPTIED), ("filled", to_filled, filled.dsn(), "SELECT"))
        for _, every, *_ in sides:  # connects, and warms what is compiled and planned
            for way in speeds:
                every[way](finished_spans(2000, varied=True))
        for number in range(rounds):
            for way, found in speeds.items():
                for side, every, dsn, before in sides if number % 2 else sides[::-1]:
                    spans = finished_spans(ROWS, varied=True)
                    asyncio.run(run(dsn, before))
                    gc.collect()
                    gc.freeze()  # the spans are the benchmark's own burden
                    getattr(found, side).append(ROWS / every[way](spans))
                    gc.unfreeze()
    return speeds


def fill(running: EmbeddedPostgres, rows: int) -> None:
    """Fill the table with rows like those of the workload, of the last hour; what follows has autovacuum, as always."""
    dsn = running.dsn()
    with ways(dsn) as every:
        every[EXPORT](finished_spans(1000))
    asyncio.run(run(dsn, _TEMPLATE))
    columns = asyncio.run(_columns(dsn))
    listed = ", ".join(columns)
    taken = ", ".join(_FILLED.get(column, column) for column in columns)
    for start in range(0, rows, 200_000):
        size = min(200_000, rows - start)
        statement = (
            f"INSERT INTO agent.intent_events ({listed}) SELECT {taken} FROM public.template "
            f"CROSS JOIN generate_series({start} / 1000, {start + size} / 1000 - 1) AS step LIMIT {size}"
        )
        asyncio.run(run(dsn, statement))
    asyncio.run(run(dsn, tampering("DELETE FROM agent.intent_events WHERE emitter_seq IS NOT NULL")))
    asyncio.run(run(dsn, "VACUUM ANALYZE agent.intent_events"))
    asyncio.run(run(dsn, "ALTER SYSTEM SET autovacuum = on"))
    asyncio.run(run(dsn, "SELECT pg_reload_conf()"))


def lookups(running: EmbeddedPostgres, n: int) -> list[float]:
    """Milliseconds that finding a fingerprint takes, of this many rows of a filled table, connecting included."""
    return asyncio.run(_lookups(running.dsn(), n))


async def _lookups(dsn: str, n: int) -> list[float]:
    connection = await asyncpg.connect(dsn)
    try:
        stored = await connection.fetch(f"SELECT utterance_hash {_SOME} ORDER BY random() LIMIT $1", n)
    finally:
        await connection.close()
    since = datetime.now(UTC) - timedelta(days=90)
    took: list[float] = []
    for row in stored:
        began = perf_counter()
        found = await find_events(dsn, [row["utterance_hash"]], template=False, since=since, limit=20, timeout_s=60)
        took.append((perf_counter() - began) * 1000)
        if len(found) != 1:
            raise SystemExit(f"a fingerprint of one row was found {len(found)} times")
    return took


_SOME: Final = "FROM agent.intent_events TABLESAMPLE SYSTEM (0.01) WHERE emitter_seq IS NULL"
_EMPTIED: Final = tampering("TRUNCATE agent.intent_events")
_TEMPLATE: Final = "CREATE TABLE public.template AS SELECT *, row_number() OVER () AS place FROM agent.intent_events"
_MS: Final = "(extract(epoch FROM now()) * 1000)::bigint - 3600000 + (step * 1000 + place) / 3"
_RANDOM: Final = "md5(step::text || ' ' || place::text)"
_FILLED: Final = {
    "ts": f"to_timestamp(({_MS}) / 1000.0)",
    "event_id": (
        f"(lpad(to_hex({_MS}), 12, '0') || '7' || substr({_RANDOM}, 1, 3) || '8' || substr({_RANDOM}, 4, 15))::uuid"
    ),
    "emitter_seq": "NULL::bigint",
    "session_id": "md5((step * 1000 + place / 5)::text)::uuid",
    "utterance_hash": f"{_RANDOM} || {_RANDOM}",
}


def describe(speeds: Speeds, way: str) -> str:
    """Absolute figures of a run, which do not carry over to other machines."""
    return f"{median(speeds.ways[way]):,.0f} rows/s against {median(speeds.copy):,.0f} rows/s"


async def _columns(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch(
            "SELECT attname::text FROM pg_attribute "
            "WHERE attrelid = 'agent.intent_events'::regclass AND attnum > 0 AND NOT attisdropped"
        )
        return [row["attname"] for row in found]
    finally:
        await connection.close()


async def _copy(dsn: str, file: Path) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        began = perf_counter()
        await connection.execute(f"COPY agent.intent_events FROM '{file}' (FORMAT BINARY)")
        return perf_counter() - began
    finally:
        await connection.close()


def make_database(running: EmbeddedPostgres, name: str) -> None:
    """An empty database on the same server, for somebody else's tables."""
    asyncio.run(run(running.dsn(), f'DROP DATABASE IF EXISTS "{name}"'))
    asyncio.run(run(running.dsn(), f'CREATE DATABASE "{name}"'))


def copy_of(dsn: str, file: Path) -> float:
    """Seconds that one server-side COPY of this file into the emptied table takes."""
    asyncio.run(run(dsn, "TRUNCATE agent.intent_events"))
    return asyncio.run(_copy(dsn, file))


async def run(dsn: str, statement: str) -> None:
    """Run a statement, and write out what it changed, so that the next measurement does not pay for it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica")  # the tables are append-only by triggers
        await connection.execute(statement)
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
