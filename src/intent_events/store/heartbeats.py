# SPDX-License-Identifier: Apache-2.0
"""The only writer of ``agent.emitters``: what a process says became of its records, so that losses can be counted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from intent_events import mending
from intent_events.store.drops import spelled


class Heartbeat(NamedTuple):
    """What one process has done with its records since it began; counts only ever grow, but for ``spooled``.

    Attributes:
        emitter_id: the process, as its records name it.
        beat: 1 for its first heartbeat, 2 for the second …; the same beat is stored once.
        at: when this was counted, by the clock of the process; with a zone.
        started_at: when the process began to record, by its clock; with a zone.
        service_name: resource attribute ``service.name``.
        host: name of its host.
        pid: its process id.
        version: version of the exporter.
        emitted: highest number given to a record; 0 when there was none.
        stored: records that it stored as new rows, those of dead processes that it took over included.
        duplicates: records that it found stored already.
        dead: records that it stored in ``agent.dead_letters``.
        dropped: numbered records that it had to drop, by reason. One that fell out after its number was given must be
            counted here, and one that never had a number must not: reconciling takes these off the missing numbers.
        spooled: records that wait in its own spool at this moment.
        dropped_numbers: which ones were dropped, by reason: ranges, first and last; those of some may be unknown.
    """

    emitter_id: UUID
    beat: int
    at: datetime
    started_at: datetime
    service_name: str | None
    host: str | None
    pid: int | None
    version: str | None
    emitted: int
    stored: int
    duplicates: int
    dead: int
    dropped: Mapping[str, int]
    spooled: int
    dropped_numbers: Mapping[str, Sequence[tuple[int, int]]] = {}


_INSERT: Final = """
INSERT INTO agent.emitters (
    emitter_id, beat, at, started_at, service_name, host, pid, version,
    emitted, stored, duplicates, dead, dropped, spooled
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb, $14)
ON CONFLICT DO NOTHING
"""


async def write_heartbeat(connection: asyncpg.Connection, beat: Heartbeat, *, timeout_s: float) -> None:
    """Store a heartbeat; the same one again changes nothing. Needs INSERT and nothing else.

    Args:
        connection: of :func:`intent_events.store.connect.connect`, in no transaction or in one of the caller's.
        beat: what to store; NUL and lone surrogates in its texts are mended.
        timeout_s: seconds that the statement may take.

    Raises:
        OSError: no answer in time, or the connection broke; like the driver's errors one of
            :data:`intent_events.store.connect.UNASKABLE`. The next heartbeat holds all that this one would have said.
    """
    dropped = {mending.text(reason, set()) or "?": n for reason, n in beat.dropped.items()}
    dropped |= spelled({mending.text(reason, set()) or "?": each for reason, each in beat.dropped_numbers.items()})
    row = {name: mending.text(value, set()) if type(value) is str else value for name, value in beat._asdict().items()}
    del row["dropped_numbers"]
    row["dropped"] = msgspec.json.encode(dropped).decode()
    await connection.execute(_INSERT, *row.values(), timeout=timeout_s)
