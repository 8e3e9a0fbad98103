# SPDX-License-Identifier: Apache-2.0
"""Every metric of the exporter tells what has happened: its number is counted from outside, or bounded from there."""

import re
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from integration.test_drain import held, leave
from integration.test_exporter import finished
from integration.test_processor import NOWHERE, Kept, handle, kept
from intent_events import semconv
from intent_events.semconv import Record
from intent_events_exporter import IntentEventsSpanExporter, metrics
from intent_events_exporter.record import encode
from intent_events_exporter.spool.folder import owners_in, segments_in
from intent_events_exporter.spool.segment import FRAME_BYTES, HEADER_BYTES
from support.postgres import Database
from support.proxy import Proxy
from support.records import START_NS, span_view
from support.waiting import until, until_async

TOO_LATE: Final = START_NS * 167
"""A time that no row can have, nanoseconds since 1970."""


@dataclass(frozen=True)
class Site:
    """A database and a spool."""

    pg: Database
    writer_dsn: str
    folder: Path

    @contextmanager
    def kept(self, dsn: str = "", **settings: Any) -> Generator[Kept]:
        """A processor of this site."""
        with kept(dsn or self.writer_dsn, self.folder, **settings) as opened:
            yield opened

    def segments(self) -> list[Path]:
        """Files of the spool."""
        return [segment for owner in owners_in(self.folder) for segment in segments_in(owner)]


@contextmanager
def exporting(dsn: str, opened: Kept, timeout_s: float = 30.0) -> Generator[IntentEventsSpanExporter]:
    """An exporter beside a processor, whose numbers are shown with those of the processor."""
    exporter = IntentEventsSpanExporter(dsn, timeout_s=timeout_s, meter_provider=opened.meter_provider)
    try:
        yield exporter
    finally:
        exporter.shutdown()


def damage(segment: Path, at: int) -> None:
    """Flip a bit in a file."""
    data = bytearray(segment.read_bytes())
    data[at] ^= 1
    segment.write_bytes(data)


def spooled_payload(number: int) -> bytes:
    """Payload of a record."""
    return encode(span_view(number), Record.UTTERANCE)


async def exporter_records(site: Site) -> None:
    """What each record that the exporter got became."""
    await site.pg.execute("ALTER TABLE agent.intent_events ADD CHECK (actor_id <> 'poison')")
    spans = [finished(number, {semconv.ROOT: True}) for number in (1, 2, 3, 3)]
    spans += [finished(number, {semconv.ROOT: True, semconv.ACTOR_ID: "poison"}) for number in (4, 5)]
    spans += [finished(6, {semconv.ROOT: True}, start_time=TOO_LATE, end_time=TOO_LATE), finished(7, {})]
    with site.kept() as opened:
        with exporting(site.writer_dsn, opened) as exporter:
            assert exporter.export(spans) is SpanExportResult.SUCCESS
        with exporting(NOWHERE, opened, 0.1) as exporter:
            assert exporter.export(spans[:2]) is SpanExportResult.FAILURE
        with exporting("mysql://nowhere", opened) as exporter:
            assert exporter.export(spans[:5]) is SpanExportResult.FAILURE
        assert exporter.export(spans[:1]) is SpanExportResult.FAILURE
        told = opened.metric("exporter.records")
    dropped = {"dropped:unavailable": 2, "dropped:no_dsn": 5, "dropped:shutdown": 1}
    assert told == {"stored": 3, "duplicate": 1, "dead": 3, **dropped}


async def exporter_duration(site: Site) -> None:
    """Each export with the time that its thread was blocked, in seconds."""
    span = finished(1, {semconv.ROOT: True})
    with site.kept() as opened:
        with exporting(NOWHERE, opened, 0.3) as exporter:
            began = time.monotonic()
            assert exporter.export([span]) is SpanExportResult.FAILURE
            took_s = time.monotonic() - began
            assert opened.metric("exporter.duration") == {"": 1}
            assert 0.3 <= opened.noted("exporter.duration") <= took_s
        with exporting(site.writer_dsn, opened) as exporter:
            assert exporter.export([span]) is SpanExportResult.SUCCESS
            assert exporter.export([]) is SpanExportResult.SUCCESS
        assert opened.metric("exporter.duration") == {"": 3}


async def processor_records(site: Site) -> None:
    """What each record that ended became."""
    with site.kept(NOWHERE) as opened:
        assert all(opened.processor.accept(span_view(number)) for number in range(4))
        opened.spool.max_bytes = 100
        assert not any(opened.processor.accept(span_view(number)) for number in range(4, 7))
        assert not opened.processor.accept(span_view(7, {semconv.ROOT: False}))
        assert opened.metric("processor.records") == {"spooled": 4, "dropped:spool_full": 3}


async def drain_records(site: Site) -> None:
    """What each record that was taken from the spool became, those of a dead process too."""
    await site.pg.execute("ALTER TABLE agent.intent_events ADD CHECK (actor_id <> 'poison')")
    leave(site.folder)
    with site.kept() as opened:
        for number in (1_001, 1_002, 1_002):
            assert opened.processor.accept(span_view(number))
        assert opened.processor.accept(span_view(1_003, {semconv.ACTOR_ID: "poison"}))
        assert opened.processor.accept(span_view(1_004)._replace(start_ns=TOO_LATE))
        for _ in range(3):
            opened.spool.append(b"of another age")
        assert opened.processor.force_flush()
        expected = {"stored": 102, "duplicate": 1, "dead": 2, "dropped:unreadable": 3}
        until(lambda: opened.metric("drain.records") == expected, "each is counted", timeout_s=20.0)


async def drain_duration(site: Site) -> None:
    """Each flush with the time that it took, in seconds."""
    with site.kept() as opened:
        assert await handle("one").committed(60.0)
        until(lambda: opened.metric("drain.duration") == {"": 1}, "the first is counted", timeout_s=20.0)
        before_s = opened.noted("drain.duration")
        locker = await asyncpg.connect(site.pg.dsn)
        try:
            await locker.execute("BEGIN; LOCK TABLE agent.intent_events IN EXCLUSIVE MODE")
            asked = time.monotonic()
            trace = handle("two")
            await until_async(lambda: held(site.pg, 1), "the second is under way")
            began = time.monotonic()
            threading.Event().wait(0.05)
            least_s = time.monotonic() - began
        finally:
            await locker.close()
        assert await trace.committed(60.0)
        until(lambda: opened.metric("drain.duration") == {"": 2}, "the second is counted", timeout_s=20.0)
        most_s = time.monotonic() - asked
        assert least_s <= opened.noted("drain.duration") - before_s <= most_s


async def drain_retries(site: Site) -> None:
    """Each try that failed: here a connection of its own."""
    await site.pg.execute("REVOKE INSERT ON agent.intent_events FROM intent_writer")
    with Proxy(site.writer_dsn) as proxy, site.kept(proxy.dsn) as opened:
        trace = handle("one")
        until(lambda: proxy.connections >= 3, "it was tried", timeout_s=20.0)
        await site.pg.execute("GRANT INSERT ON agent.intent_events TO intent_writer")
        assert await trace.committed(60.0)
        assert opened.metric("drain.retries") == {"": proxy.connections - 1}


async def drain_circuit(site: Site) -> None:
    """Closed, open after failures in a row, half open while it is tried again, and closed again."""
    with Proxy(site.writer_dsn) as proxy, site.kept(proxy.dsn) as opened:
        assert opened.metric("drain.circuit") == {"": 0}
        proxy.refuse()
        trace = handle("one")
        until(lambda: opened.metric("drain.circuit") == {"": 2}, "it is open", timeout_s=20.0)
        proxy.stall()
        proxy.accept()
        until(lambda: opened.metric("drain.circuit") == {"": 1}, "it is half open", timeout_s=40.0)
        proxy.resume()
        assert await trace.committed(60.0)
        until(lambda: opened.metric("drain.circuit") == {"": 0}, "it is closed", timeout_s=20.0)


async def spool_records(site: Site) -> None:
    """Records that wait; those that are stored do not."""
    with Proxy(site.writer_dsn) as proxy, site.kept(proxy.dsn) as opened:
        proxy.refuse()
        for number in range(5):
            assert opened.processor.accept(span_view(number))
        assert opened.metric("spool.records") == {"": 5}
        proxy.accept()
        assert opened.processor.force_flush(60_000)
        assert opened.metric("spool.records") == {"": 0}


async def spool_size(site: Site) -> None:
    """Bytes of the records that wait, with their frames."""
    with Proxy(site.writer_dsn) as proxy, site.kept(proxy.dsn) as opened:
        proxy.refuse()
        for number in range(5):
            assert opened.processor.accept(span_view(number))
        size = sum(FRAME_BYTES + len(spooled_payload(number)) for number in range(5))
        assert opened.metric("spool.size") == {"": size}
        assert [path.stat().st_size for path in site.segments()] == [HEADER_BYTES + size]
        proxy.accept()
        assert opened.processor.force_flush(60_000)
        assert opened.metric("spool.size") == {"": 0}


async def spool_age(site: Site) -> None:
    """Seconds since the oldest record that waits was appended."""
    with Proxy(site.writer_dsn) as proxy, site.kept(proxy.dsn) as opened:
        proxy.refuse()
        before = time.time()
        assert opened.processor.accept(span_view(1))
        after = time.time()
        threading.Event().wait(0.05)
        assert opened.processor.accept(span_view(2))
        least_s = time.time() - after
        told = opened.metric("spool.age")[""]
        assert least_s <= told <= time.time() - before
        proxy.accept()
        assert opened.processor.force_flush(60_000)
        assert opened.metric("spool.age") == {"": 0}


async def spool_torn(site: Site) -> None:
    """Damaged stretches, each once, of the spool of this process and of one that a dead process left."""
    with site.kept() as opened:
        for number in range(1_000, 1_010):
            opened.spool.append(spooled_payload(number))
        (own,) = site.segments()
        frame = FRAME_BYTES + len(spooled_payload(1_000))
        for nth in (0, 5):
            damage(own, HEADER_BYTES + nth * frame + FRAME_BYTES + 1)
        leave(site.folder)
        (left,) = [segment for segment in site.segments() if segment != own]
        damage(left, HEADER_BYTES + FRAME_BYTES + 1)
        assert opened.processor.accept(span_view(1_010)), "it wakes the drain"
        assert opened.processor.force_flush()
        until(lambda: opened.metric("spool.torn") == {"": 3}, "each is counted", timeout_s=20.0)
        until(lambda: opened.metric("drain.records")["stored"] == 99 + 8 + 1, "all others are stored", timeout_s=20.0)
        assert opened.metric("spool.torn") == {"": 3}


TABLE: Final[dict[str, Callable[[Site], Awaitable[None]]]] = {
    "exporter.records": exporter_records,
    "exporter.duration": exporter_duration,
    "processor.records": processor_records,
    "drain.records": drain_records,
    "drain.duration": drain_duration,
    "drain.retries": drain_retries,
    "drain.circuit": drain_circuit,
    "spool.records": spool_records,
    "spool.size": spool_size,
    "spool.age": spool_age,
    "spool.torn": spool_torn,
}
"""Every metric, and what must be true of it."""


def test_the_table_names_every_metric() -> None:
    """An instrument that is added needs a scenario in which its number is known."""
    source = Path(metrics.__file__).read_text("utf-8")
    assert sorted(re.findall(r'"intent_events\.([a-z.]+)"', source)) == sorted(TABLE)
    assert len(re.findall(r"\.create_\w+\(", source)) == len(TABLE)


@pytest.mark.parametrize("name", TABLE)
async def test_every_metric_is_true(pg: Database, writer_dsn: str, tmp_path: Path, name: str) -> None:
    """Its number is the one that was counted from outside while it happened."""
    await TABLE[name](Site(pg, writer_dsn, tmp_path / "spool"))
