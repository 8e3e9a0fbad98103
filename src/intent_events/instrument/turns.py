# SPDX-License-Identifier: Apache-2.0
"""Chains turns: the utterance that follows a question in a session is its answer."""

import os
from collections import OrderedDict
from threading import Lock
from typing import Final
from uuid import UUID
from weakref import WeakMethod

from intent_events.semconv import Outcome

QUESTIONS: Final = frozenset(
    {Outcome.CLARIFY_VERB, Outcome.CLARIFY_ARGS, Outcome.SCOPE_CANDIDATES, Outcome.AWAITING_CONFIRMATION}
)
"""Outcomes after which the orchestrator waits for an answer."""


class Turns:
    """Open questions by session, in this process; bounded, the session that was silent longest is forgotten."""

    __slots__ = ("__weakref__", "_limit", "_lock", "_open")

    def __init__(self, limit: int = 10_000) -> None:
        """Keep open questions.

        Args:
            limit: sessions to remember.
        """
        self._open: OrderedDict[str, UUID] = OrderedDict()
        self._lock = Lock()
        self._limit = limit
        renew = WeakMethod(self._renew_lock)
        os.register_at_fork(after_in_child=lambda: (method := renew()) and method())

    def _renew_lock(self) -> None:
        """Nobody would ever release a lock that another thread of the parent held at the moment of a fork."""
        self._lock = Lock()

    def answered_by(self, session: str) -> UUID | None:
        """The event whose question the next utterance of the session answers; its question is closed by that."""
        if session not in self._open:  # most sessions have no open question, and then there is nothing to lock for
            return None
        with self._lock:
            return self._open.pop(session, None)

    def ended(self, session: str, event_id: UUID, outcome: object) -> None:
        """Remember the event when its outcome is a question."""
        if outcome not in QUESTIONS:
            return
        with self._lock:
            self._open[session] = event_id
            self._open.move_to_end(session)
            if len(self._open) > self._limit:
                self._open.popitem(last=False)
