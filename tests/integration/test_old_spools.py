# SPDX-License-Identifier: Apache-2.0
"""An update of the host: what an earlier version has spooled is stored by this one, what a newer one has waits."""

from pathlib import Path

import msgspec
import pytest

from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.flush import Tally
from intent_events_exporter.record import ORDERS
from intent_events_exporter.salvage import Salvage
from intent_events_exporter.spool import Spool, totals
from intent_events_exporter.spool.segment import encode_frame, encode_header
from support.postgres import Database
from support.records import span_view
from support.spool_process import adopted, left_by_the_dead
from support.stored import stored_rows
from unit.first_forms import ORDERED, ORDERED_ROW, ROWS, SEGMENT


async def test_what_the_first_version_spooled(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """Each record of a file of version 1 that was not released becomes the row that it had then; nothing is torn."""
    folder = tmp_path / "spool"
    left_by_the_dead(folder, SEGMENT)
    salvage = Salvage(folder, writer_dsn, timeout_s=60.0)
    await salvage.run()
    assert (salvage.problems, salvage.in_time, salvage.adopted) == ([], True, 1)
    assert salvage.tally == Tally(stored=len(ROWS), dead=1)
    for kind in (IntentEventRow, ChatEventRow, IntentOutcomeRow):
        assert stored_rows(pg, kind) == [row for row in ROWS if isinstance(row, kind)]
    (letter,) = await pg.fetch("SELECT reason, span_id, emitter_seq FROM agent.dead_letters")
    assert tuple(letter) == ("time_out_of_range", "eee19b7ec3c1b177", 7)
    assert totals(folder).owners == 0


async def test_what_a_newer_version_spooled(
    pg: Database, writer_dsn: str, folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an update host by host an older version adopts what a newer one left: it waits, and is stored by that one."""
    _, *values = msgspec.msgpack.decode(ORDERED)
    newer = msgspec.msgpack.encode([2, *values])
    left_by_the_dead(folder, encode_header(1) + encode_frame(newer, 1))
    for _ in range(2):
        salvage = Salvage(folder, writer_dsn, timeout_s=60.0)
        await salvage.run()
        (problem,) = salvage.problems
        assert "a newer version of the exporter has spooled it: update" in problem
        assert (salvage.tally, totals(folder).owners) == (Tally(), 1)
    processor = IntentEventsSpanProcessor(writer_dsn, folder, settings=DeliverySettings(flush_interval=0.01))
    assert processor.accept(span_view(1))
    assert processor.force_flush()
    processor.shutdown()
    assert adopted(spool) == [newer]
    left_by_the_dead(folder, encode_header(1) + encode_frame(newer, 1))
    monkeypatch.setitem(ORDERS, 2, ORDERS[1])
    salvage = Salvage(folder, writer_dsn, timeout_s=60.0)
    await salvage.run()
    assert (salvage.problems, salvage.tally.stored) == ([], 1)
    assert [row.event_id for row in stored_rows(pg, IntentEventRow)].count(ORDERED_ROW.event_id) == 1
