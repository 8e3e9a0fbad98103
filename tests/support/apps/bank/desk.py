# SPDX-License-Identifier: Apache-2.0
"""A plain function that handles, with names of its own."""

from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """How it ended."""

    FOUND = "FOUND"
    NOTHING = "NOTHING"


@dataclass(frozen=True)
class Teller:
    """Who sits at the desk."""

    name: str


@dataclass(frozen=True)
class Conversation:
    """One conversation; its key is no UUID."""

    key: str
    teller: Teller


@dataclass(frozen=True)
class Ticket:
    """What the desk hands out."""

    verdict: Verdict
    teller: Teller
    picks: list[str] = field(default_factory=list[str])


def look_up(said: str) -> list[str]:
    """Verbs of an utterance."""
    return ["account.open"] if "open" in said else []


def ask(conversation: Conversation, said: str) -> Ticket:
    """Handle one utterance."""
    picks = look_up(said)
    return Ticket(Verdict.FOUND if picks else Verdict.NOTHING, conversation.teller, picks)
