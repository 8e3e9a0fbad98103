# SPDX-License-Identifier: Apache-2.0
"""One flush: on two connections, what it counts when it has to be made again, and how much it reads at a time."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest

from integration.test_processor import NOWHERE
from intent_events import semconv
from intent_events.errors import RetryableError
from intent_events.rows import Rejection, Row
from intent_events.semconv import Record
from intent_events.store.copy_format import Sealed
from intent_events.store.write import Writer, Written
from intent_events_exporter import flush
from intent_events_exporter.flush import Flush, Tally
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Batch, Position, Spool
from support.postgres import Database
from support.proxy import COMMIT, Fault, Proxy
from support.records import span_view
from support.waiting import until_async

RECORDS: Final = 300
COUNT: Final = "SELECT count(*) FROM agent.intent_events"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """A spool with records in it."""
    spool = Spool(tmp_path / "spool", max_bytes=1 << 30)
    for number in range(RECORDS):
        spool.append(encode(span_view(number), Record.UTTERANCE))
    yield spool
    spool.close()


async def test_damage_that_is_met_in_an_outage(pg: Database, writer_dsn: str, tmp_path: Path, spool: Spool) -> None:
    """A damaged stretch counts once, though what was read with it could not be stored at first."""
    (segment,) = (tmp_path / "spool").glob("*/*.spool")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    tally = Tally()
    with pytest.raises(RetryableError):
        await Flush(spool, [Writer(NOWHERE, door="processor")], tally).run()
    assert (tally.stored, tally.torn) == (0, 1)
    spool.rewind()
    writer = Writer(writer_dsn, door="processor")
    await Flush(spool, [writer], tally).run()
    await writer.close()
    assert (tally.stored, tally.torn) == (RECORDS - 1, 1)
    assert await pg.fetchval(COUNT) == RECORDS - 1


@asynccontextmanager
async def writers_to(*dsns: str) -> AsyncGenerator[list[Writer]]:
    """Writers to these addresses, closed at the end of the block."""
    writers = [Writer(dsn, door="processor") for dsn in dsns]
    try:
        yield writers
    finally:
        for writer in writers:
            await writer.close()


async def reaches(tally: Tally, stored: int) -> bool:
    """Whether so many are stored."""
    return tally.stored == stored


async def test_two_connections_out_of_order(
    pg: Database, writer_dsn: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first batch is on its way the other connection stores the rest; the spool keeps all until it comes."""
    monkeypatch.setattr(flush, "BATCH_ROWS", 50)
    tally, before = Tally(), spool.waiting()
    with Proxy(writer_dsn) as proxy:
        async with writers_to(proxy.dsn, writer_dsn) as writers, asyncio.TaskGroup() as together:
            proxy.stall()
            together.create_task(Flush(spool, writers, tally).run())
            await until_async(lambda: reaches(tally, RECORDS - 50), "all but the first batch are stored")
            assert spool.waiting()[:2] == before[:2]
            assert await pg.fetchval(COUNT) == RECORDS - 50
            proxy.resume()
    assert tally == Tally(stored=RECORDS)
    assert spool.waiting()[:2] == (0, 0)
    assert await pg.fetchval(COUNT) == RECORDS


async def test_an_answer_that_is_lost_on_one_of_two_connections(
    pg: Database, writer_dsn: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other one stored behind it is kept too and found there the next time: each record is one row."""
    monkeypatch.setattr(flush, "BATCH_ROWS", 50)
    tally = Tally()
    with Proxy(writer_dsn) as proxy:
        async with writers_to(proxy.dsn, writer_dsn) as writers:
            proxy.cut_on(COMMIT, forward=True)
            with pytest.raises(RetryableError):
                await Flush(spool, writers, tally).run()
            assert spool.waiting().records == RECORDS
            assert await pg.fetchval(COUNT) == tally.stored + 50
            spool.rewind()
            await Flush(spool, writers, tally).run()
    assert tally.stored == RECORDS - 50
    assert tally.duplicates >= 50
    assert spool.waiting()[:2] == (0, 0)
    assert await pg.fetchval(COUNT) == RECORDS


async def test_two_connections_that_are_cut_anywhere(
    pg: Database, writer_dsn: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever is cut at whichever byte, nothing leaves the spool before it is stored, and each record is one row."""
    monkeypatch.setattr(flush, "BATCH_ROWS", 20)
    random, tally = Random(3), Tally()  # noqa: S311 - the same places each time
    with Proxy(writer_dsn) as proxy:
        async with writers_to(proxy.dsn, proxy.dsn) as writers:
            for _ in range(12):
                # Together far less than the records take: each of the tries fails.
                proxy.cut_after(random.randrange(1_000, 12_000))
                with pytest.raises(RetryableError):
                    await Flush(spool, writers, tally).run()
                assert spool.waiting().records >= RECORDS - await pg.fetchval(COUNT)
                spool.rewind()
            await Flush(spool, writers, tally).run()
        assert proxy.faults[Fault.CUT_AFTER] == 12
    assert tally.stored <= RECORDS <= tally.stored + tally.duplicates
    assert (tally.dead, tally.unreadable, tally.torn) == (0, 0, 0)
    assert spool.waiting()[:2] == (0, 0)
    assert await pg.fetchval(COUNT) == RECORDS


class Work:
    """A source whose records cost so much of a core at each read, seconds; it notes how much it was asked for."""

    def __init__(self, spool: Spool, costs_s: float) -> None:
        self._spool = spool
        self._costs_s = costs_s
        self.asked: list[int] = []
        self.worked_s = 0.0

    def read(self, max_records: int, max_bytes: int) -> Batch:
        """Read."""
        self.asked.append(max_records)
        self.worked_s += self._costs_s
        return self._spool.read(max_records, max_bytes)

    def release(self, end: Position) -> None:
        """Release."""
        self._spool.release(end)

    def thread_time(self) -> float:
        """Seconds that a core has worked."""
        return self.worked_s


@pytest.mark.parametrize(
    ("costs_s", "asked"), [(0.0, [8, 16, 32, 64, 64]), (0.0004, [8] * 5), (0.005, [8, 4, 2, 1, 1])]
)
async def test_how_much_is_read_at_a_time(
    writer_dsn: str, spool: Spool, costs_s: float, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of records that cost little, less of those that keep a core busy, for the sake of the host's event loop."""
    source, tally, writer = Work(spool, costs_s), Tally(), Writer(writer_dsn, door="processor")
    monkeypatch.setattr(flush, "thread_time", source.thread_time)
    await Flush(source, [writer], tally).run()
    await writer.close()
    assert tally.stored == RECORDS
    assert source.asked[:5] == asked


class Weighed(Writer):
    """A writer that notes how much it is given at a time."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, door="processor")
        self.given: list[int] = []
        self.rows: list[int] = []

    async def write(self, rows: Sequence[Row | Sealed], rejections: Sequence[Rejection] = ()) -> Written:
        """Write."""
        self.rows.append(len(rows))
        self.given.append(sum(len(row.data) for row in rows if isinstance(row, Sealed)))
        return await super().write(rows, rejections)


async def test_small_batches_first(
    pg: Database, writer_dsn: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection has not to wait until a whole batch is read: each batch is twice as large as the one before."""
    monkeypatch.setattr(flush, "_FIRST_ROWS", 20)
    monkeypatch.setattr(flush, "BATCH_ROWS", 100)
    writer, tally = Weighed(writer_dsn), Tally()
    await Flush(spool, [writer], tally).run()
    await writer.close()
    assert writer.rows == [20, 40, 80, 100, RECORDS - 240]
    assert tally.stored == await pg.fetchval(COUNT) == RECORDS


async def test_large_records_make_small_batches(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """However large the records are, only so many bytes of them are in memory at a time; all are stored."""
    spool = Spool(tmp_path / "large", max_bytes=1 << 30)
    large = {semconv.SEMREG_DENIED_VERBS: ("v" * 250,) * 120}
    for number in range(RECORDS):
        spool.append(encode(span_view(number, large), Record.UTTERANCE))
    writer, tally = Weighed(writer_dsn), Tally()
    await Flush(spool, [writer], tally).run()
    await writer.close()
    spool.close()
    assert tally.stored == await pg.fetchval(COUNT) == RECORDS
    assert sum(writer.given) > 8 << 20
    assert max(writer.given) <= (4 << 20) + (1 << 20) + (64 << 10), "a batch, the slice that fills it, and one record"
