# SPDX-License-Identifier: Apache-2.0
"""The shape of a reconciliation. Frozen; its ``model_dump_json()`` is the JSON of ``intent-events reconcile``.

Counts are of records. For each emitter, and so for all together:
``emitted = stored + spooled + dropped + dead + underway + missing``.
"""

from typing import NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from intent_events.review.windows import Window


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Gap(NamedTuple):
    """A range of numbers that are nowhere; both ends belong to it."""

    first: int
    last: int


class Sums(_Frozen):
    """What became of records.

    Attributes:
        emitted: numbers given.
        stored: in Postgres.
        spooled: waiting in a spool.
        dropped: given up, as the heartbeats say, and nowhere.
        dead: kept in ``agent.dead_letters``.
        underway: the newest ones of living processes, which may be on their way.
        missing: nowhere: lost, or in a spool that was not looked at.
    """

    emitted: int = 0
    stored: int = 0
    spooled: int = 0
    dropped: int = 0
    dead: int = 0
    underway: int = 0
    missing: int = 0


class Account(Sums):
    """What became of the records of one emitter.

    Attributes:
        emitter_id: the process.
        service_name: its service; None when no heartbeat tells.
        host: its host, likewise.
        pid: its process id, likewise.
        version: version of its exporter, likewise.
        started_at: when it began to record, likewise.
        heartbeat_at: when its last heartbeat was written; None when there is none.
        living: whether it has shown a sign of life lately.
        first: first number of the window.
        last: last one that it is known to have given.
        unnumbered: how many of ``stored`` are there without a number: copies that a forked child stored first.
        spooled_as_of: None when the spool was looked at; else ``spooled`` is what the heartbeat of that moment said, as
            far as numbers are open.
        dropped_by: ``dropped`` by reason.
        gap_ranges: into how many ranges the numbers fall that are nowhere.
        gaps: the lowest of these. Where records were dropped whose numbers are not known, theirs are among them.
    """

    emitter_id: UUID
    service_name: str | None = None
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    started_at: AwareDatetime | None = None
    heartbeat_at: AwareDatetime | None = None
    living: bool = False
    first: int = 1
    last: int = 0
    unnumbered: int = 0
    spooled_as_of: AwareDatetime | None = None
    dropped_by: dict[str, int] = {}
    gap_ranges: int = 0
    gaps: tuple[Gap, ...] = ()


class SpoolSeen(_Frozen):
    """What was found in the spool of this host.

    Attributes:
        host: name of this host, as its processes tell it; None when there was no spool to look at.
        records: records waiting in it, of any time.
        unreadable: how many of them cannot be read.
    """

    host: str | None = None
    records: int = 0
    unreadable: int = 0


class Reconciliation(_Frozen):
    """What became of the records of a window.

    Attributes:
        window: the span of time; it is widened to the heartbeats around it.
        asked_at: when Postgres was asked, by its clock.
        spool: the spool of this host.
        total: all emitters together.
        emitters: each of them, those with something missing first, then the most active first.
    """

    window: Window
    asked_at: AwareDatetime
    spool: SpoolSeen
    total: Sums
    emitters: tuple[Account, ...]
