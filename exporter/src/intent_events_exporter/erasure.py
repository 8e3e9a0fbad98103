# SPDX-License-Identifier: Apache-2.0
"""Erasing a subject from the spool of this host, so that nothing stored later brings back what was erased.

A record leaves the spool only after its COMMIT. So once no record of the subject waits there, whatever was recorded
before is either in Postgres or nowhere, and erasing it from Postgres comes last.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import UUID

from intent_events import columns
from intent_events.mending import value
from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow, Rejection, Row
from intent_events.store.removal import Number, Subject
from intent_events_exporter.record import decode, row_in
from intent_events_exporter.spool import look
from intent_events_exporter.spool.erasing import scrub, sweep

StoredEvents = Callable[[Sequence[UUID]], Awaitable[set[UUID]]]
"""Which of some utterances are stored and the subject's."""

_PAUSE_S: Final = 0.2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_S: Final = 253_402_300_799


@dataclass(slots=True)
class SpoolErasure:
    """What became of the subject's records in a spool.

    Attributes:
        numbers: those of the records that were removed, as far as they had one.
        removed: records that were removed from what dead processes left; in a dry run, that would be.
        living: records that still wait for a living process to store them.
        newer: segments of a newer version of the exporter, in which nothing can be told.
    """

    numbers: list[Number] = field(default_factory=list[Number])
    removed: int = 0
    living: int = 0
    newer: int = 0


class SubjectSpool:
    """The spool of this host, as far as it is the subject's."""

    def __init__(self, folder: Path, subject: Subject, stored: StoredEvents) -> None:
        """Prepare it.

        Args:
            folder: of the spool.
            subject: whose records.
            stored: asks Postgres whose utterances replies and follow-ups belong to.
        """
        self._folder = folder
        self._actors = frozenset(subject.actors)
        self._sessions = frozenset(subject.sessions)
        self._stored = stored
        self._events: set[UUID] = set()

    async def erase(self, *, act: bool, timeout_s: float) -> SpoolErasure:
        """Remove the subject's records, and wait until living processes have stored theirs.

        Args:
            act: False only looks, and does not wait.
            timeout_s: seconds to wait for living processes.

        Raises:
            OSError: the spool cannot be read or written.
            UnavailableError: Postgres could not be asked.
        """
        erasure = SpoolErasure()
        until = monotonic() + timeout_s
        while True:
            await self._learn()
            swept = sweep(self._folder, self._is_subjects, act=act)
            erasure.removed += len(swept.dead)
            erasure.numbers += [number for payload in swept.dead if (number := _number_in(payload))]
            erasure.living, erasure.newer = swept.living, swept.newer
            if not act or not swept.living or monotonic() >= until:
                return erasure
            await asyncio.sleep(_PAUSE_S)

    def scrub(self) -> int:
        """Overwrite what living processes have stored and still have on the disk; how many records.

        Raises:
            OSError: the spool cannot be read or written.
        """
        return scrub(self._folder, self._is_subjects)

    async def _learn(self) -> None:
        """Find out which utterances are the subject's, so that what follows them can be told."""
        asked: set[UUID] = set()
        for spooled in look(self._folder):
            row = _row_in(spooled.payload)
            if isinstance(row, IntentEventRow):
                if row.actor_id in self._actors or row.session_id in self._sessions:
                    self._events.add(row.event_id)
            elif isinstance(row, ChatEventRow | IntentOutcomeRow) and row.intent_event_id is not None:
                asked.add(row.intent_event_id)
        asked -= self._events
        if asked:
            self._events |= await self._stored(sorted(asked))

    def _is_subjects(self, payload: bytes) -> bool:
        row = _row_in(payload)
        if isinstance(row, IntentEventRow):
            return row.actor_id in self._actors or row.session_id in self._sessions
        if isinstance(row, ChatEventRow):
            return row.session_id in self._sessions or row.intent_event_id in self._events
        if isinstance(row, IntentOutcomeRow):
            return row.intent_event_id in self._events
        return row is not None and self._spoke_in(payload)

    def _spoke_in(self, payload: bytes) -> bool:
        """Whether a record that can become no row names the subject."""
        attributes: Any = decode(payload).attributes
        actor, session = (
            value(attribute, attributes.get(attribute.key), set())
            for attribute in (columns.UTTERANCE["actor_id"], columns.UTTERANCE["session_id"])
        )
        return actor in self._actors or session in self._sessions


def _row_in(payload: bytes) -> Row | Rejection | None:
    try:
        return row_in(payload)
    except Exception:  # noqa: BLE001 - no form that this version knows: the drain gives it up too
        return None


def _number_in(payload: bytes) -> Number | None:
    row = _row_in(payload)
    if row is None or row.emitter_id is None or row.emitter_seq is None:
        return None
    if isinstance(row, Rejection):
        ts = _EPOCH + timedelta(seconds=min(max(row.start_ns // 1_000_000_000, 0), _LAST_S))
    else:
        ts = row.ts
    return Number(row.emitter_id, row.emitter_seq, ts)
