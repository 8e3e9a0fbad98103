# SPDX-License-Identifier: Apache-2.0
"""The handler: finds a verb, asks a policy, and answers."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shop.trace import IntentTrace

VERBS: Final = {"custodian": "cbu.assign-role", "open": "account.open", "close": "account.close"}
DENIED: Final = frozenset({"account.close"})


@dataclass(frozen=True)
class Context:
    """Who speaks, and in which conversation."""

    session_id: UUID
    actor_id: str
    entrypoint: str = "chat"
    scope: str = "tenant-1"


@dataclass
class Answer:
    """What the user is told, and how it came to be."""

    text: str
    trace: IntentTrace


class Orchestrator:
    """The one handler of the shop."""

    async def handle(self, utterance: str, ctx: Context) -> Answer:
        """Handle one utterance."""
        await asyncio.sleep(0)
        if "explode" in utterance:
            raise RuntimeError(f"cannot handle: {utterance}")
        if utterance.startswith("all of: "):
            parts = [await self.handle(part, ctx) for part in utterance.removeprefix("all of: ").split(" and ")]
            return Answer("done", IntentTrace(outcome=parts[-1].trace.outcome))
        found = [{"verb": verb, "score": 1.0, "source": "word"} for word, verb in VERBS.items() if word in utterance]
        allowed = [candidate for candidate in found if candidate["verb"] not in DENIED]
        trace = IntentTrace(
            semreg_denied_verbs=[str(one["verb"]) for one in found if one not in allowed],
            verb_candidates_pre=[dict(one) for one in found],
            verb_candidates_post=[dict(one) for one in allowed],
        )
        if len(allowed) == 1:
            trace.outcome, trace.chosen_verb_fqn = "matched", str(allowed[0]["verb"])
        elif allowed:
            trace.outcome = "clarify_verb"
        elif found:
            trace.outcome = "no_allowed_verbs"
        return Answer(f"that was {trace.outcome}", trace)
