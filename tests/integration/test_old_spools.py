# SPDX-License-Identifier: Apache-2.0
"""An update of the host: what an earlier version has spooled is stored by this one."""

from pathlib import Path

from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow
from intent_events_exporter.flush import Tally
from intent_events_exporter.salvage import Salvage
from intent_events_exporter.spool import totals
from support.postgres import Database
from support.spool_process import left_by_the_dead
from support.stored import stored_rows
from unit.first_forms import ROWS, SEGMENT


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
