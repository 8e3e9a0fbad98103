# SPDX-License-Identifier: Apache-2.0
"""IntentTrace: what an orchestrator records about one utterance."""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from secrets import randbits
from time import time_ns
from typing import Any, Final, Protocol
from uuid import UUID

from intent_events.delivery import Delivery
from intent_events.identity import event_id_of


class Recording(Protocol):
    """The utterance that is being handled in this context."""

    @property
    def event_id(self) -> UUID:
        """Key of the row that this utterance becomes."""
        ...

    @property
    def trace(self) -> "IntentTrace":
        """What has been recorded so far."""
        ...


active_recording: Final[ContextVar[Recording | None]] = ContextVar("intent_events_recording", default=None)
"""The utterance being handled in this task or thread, if any."""


def _event_id() -> UUID:
    recording = active_recording.get()
    return new_event_id() if recording is None else recording.event_id


def new_event_id() -> UUID:
    """A UUIDv7 of now for a record that has no span of its own."""
    return event_id_of(randbits(128), randbits(64), time_ns())


@dataclass(slots=True, kw_only=True, eq=False, weakref_slot=True)
class IntentTrace:
    """What an orchestrator records about one utterance; fields are named as the columns of ``agent.intent_events``.

    Nothing is checked on assignment, so recording can never fail in the orchestrator: values are mended when they
    become span attributes, and the column ``quality`` says what was mended. Leave unknown things at None.
    Candidates are :class:`intent_events.Candidate` tuples, mappings with the same keys, or plain verbs, best first.
    ``entity_spans`` are values that are known to be in the utterance, each (start, end, kind) in characters of it: the
    preview shows their kind. They are not recorded themselves.
    """

    event_id: UUID = field(default_factory=_event_id)
    parent_event_id: UUID | str | None = None
    session_id: UUID | str | None = None
    actor_id: str | None = None
    entrypoint: str | None = None
    scope: str | None = None
    subject_ref_type: str | None = None
    subject_ref_id: UUID | str | None = None
    semreg_mode: str | None = None
    semreg_denied_verbs: Sequence[str] | None = None
    semreg_denied_reasons: Sequence[str] | None = None
    semreg_snapshot_id: str | None = None
    verb_candidates_pre: Sequence[Any] | None = None
    verb_candidates_pre_total: int | None = None
    verb_candidates_post: Sequence[Any] | None = None
    verb_candidates_post_total: int | None = None
    chosen_verb_fqn: str | None = None
    forced_verb_fqn: str | None = None
    selection_source: str | None = None
    outcome: str | None = None
    missing_args: Sequence[str] | None = None
    error_code: str | None = None
    dsl_hash: str | None = None
    run_sheet_entry_id: UUID | str | None = None
    macro_semreg_checked: bool | None = None
    macro_denied_verbs: Sequence[str] | None = None
    prompt_version: str | None = None
    boost_version: str | None = None
    registry_version: str | None = None
    synthetic: bool | None = None
    entity_spans: Sequence[tuple[int, int, str]] | None = field(default=None, repr=False)
    delivery: Delivery | None = field(default=None, repr=False)

    @property
    def telemetry_persisted(self) -> bool:
        """True once the record is durable; False while it is not, and for ever when it was never recorded."""
        return self.delivery is not None and self.delivery.persisted

    @property
    def telemetry_committed(self) -> bool:
        """True once the row is in Postgres."""
        return self.delivery is not None and self.delivery.committed

    def wait_committed(self, timeout_s: float) -> bool:
        """Block until the row is in Postgres or given up; for threads.

        Args:
            timeout_s: longest time to wait, seconds.

        Returns:
            Whether the row is in Postgres.
        """
        return self.delivery is not None and self.delivery.wait(timeout_s)

    async def committed(self, timeout_s: float) -> bool:
        """Await the row in Postgres without blocking the event loop.

        Args:
            timeout_s: longest time to wait, seconds.

        Returns:
            Whether the row is in Postgres.
        """
        return self.delivery is not None and await self.delivery.wait_async(timeout_s)


TRACE_FIELDS: Final = tuple(
    name
    for name in IntentTrace.__dataclass_fields__  # the dataclass is the one list of what can be recorded
    if name not in {"event_id", "delivery"}
)
"""Fields of a trace that an orchestrator fills; the wrapper sets the others."""
