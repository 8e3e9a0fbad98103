# SPDX-License-Identifier: Apache-2.0
"""What comes with an utterance, and what the orchestrator gives back."""

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from intent_events.demo.run_sheet import Entry
from intent_events.semconv import Entrypoint, OutcomeKind
from intent_events.trace import IntentTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known about an utterance before anybody has read it.

    Attributes:
        session_id: the conversation.
        actor_id: whoever speaks.
        actor_role: their role; SemReg and PolicyGate decide by it.
        entrypoint: where the utterance came in.
        scope: id of the book of business; a scope that the conversation switched to wins over it.
        subject_ref_type: what the conversation is about: ``entity``, ``case`` or ``none``.
        subject_ref_id: which one.
        phase: phase of the onboarding.
        synthetic: whether this is test, demo or canary traffic.
        prompt_version: version of the prompt pack to reply with; None for the default one.
        semreg_reachable: False when the policy registry does not answer (an outage, for demos and tests).
    """

    session_id: UUID
    actor_id: str
    actor_role: str = "analyst"
    entrypoint: str = Entrypoint.CHAT
    scope: str | None = None
    subject_ref_type: str | None = "none"
    subject_ref_id: UUID | None = None
    phase: str = "intake"
    synthetic: bool = False
    prompt_version: str | None = None
    semreg_reachable: bool = True


class FollowUp(NamedTuple):
    """What this utterance says about an earlier one.

    Attributes:
        event_id: the earlier utterance.
        kind: what became of it.
    """

    event_id: UUID
    kind: OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the orchestrator gives back.

    Attributes:
        reply: what to tell the actor.
        trace: everything that was recorded on the way.
        entry: the run sheet entry that was staged, to be executed; None when none was.
        follow_ups: what this utterance says about earlier ones, in the order of time.
    """

    reply: str
    trace: IntentTrace
    entry: Entry | None = None
    follow_ups: tuple[FollowUp, ...] = ()
