# SPDX-License-Identifier: Apache-2.0
"""One flush: what it counts when it has to be made again, and how much it reads at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from integration.test_processor import NOWHERE
from intent_events.errors import RetryableError
from intent_events.semconv import Record
from intent_events.store.write import Writer
from intent_events_exporter import flush
from intent_events_exporter.flush import Flush, Tally
from intent_events_exporter.record import encode
from intent_events_exporter.spool import Batch, Position, Spool
from support.postgres import Database
from support.records import span_view

RECORDS: Final = 300


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
    assert await pg.fetchval("SELECT count(*) FROM agent.intent_events") == RECORDS - 1


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
