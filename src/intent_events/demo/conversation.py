# SPDX-License-Identifier: Apache-2.0
"""State of a conversation: what was asked and is still open, and which book of business is being worked on."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from re import IGNORECASE
from re import compile as pattern
from typing import Final
from uuid import UUID

from intent_events.columns import Candidate
from intent_events.demo.scopes import Scope
from intent_events.semconv import SelectionSource

MAX_SESSIONS: Final = 10_000
"""Conversations that are remembered; the one that spoke longest ago is forgotten first."""


class Ask(Enum):
    """What a question wants to know."""

    VERB = auto()
    ARGS = auto()
    CONFIRMATION = auto()
    SCOPE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A verb on its way to the run sheet.

    Attributes:
        candidate: the verb, with the score and source it was found with.
        source: who selected it.
        forced: the verb that was demanded, if any.
        args: values by argument name, as far as they are known.
        missing: names of the required arguments that are not.
        confirmed: whether the actor has said yes to a dangerous verb.
    """

    candidate: Candidate
    source: SelectionSource
    forced: str | None = None
    args: Mapping[str, str] = field(default_factory=dict[str, str])
    missing: tuple[str, ...] = ()
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the orchestrator asked and has no answer to yet.

    Attributes:
        ask: what it wants to know.
        event_id: the utterance that it was asked about.
        utterance: for ``VERB``: that utterance, whose values the picked verb needs.
        words: for ``VERB``: its stemmed words, to tell a rephrasing from a change of subject.
        options: for ``VERB``: what was offered, in the order that it was offered.
        scopes: for ``SCOPE``: the same.
        plan: for ``ARGS`` and ``CONFIRMATION``: what waits.
    """

    ask: Ask
    event_id: UUID
    utterance: str = ""
    words: frozenset[str] = frozenset()
    options: tuple[Candidate, ...] = ()
    scopes: tuple[Scope, ...] = ()
    plan: Plan | None = None


@dataclass(slots=True)
class Conversation:
    """One session.

    Attributes:
        scope: the scope that was switched to; None before any switch.
        question: what is still open; at most one question is.
        unmatched: the last utterance when nothing fitted it, with its words.
        turns: utterances so far, the one being handled included.
    """

    scope: Scope | None = None
    question: Question | None = None
    unmatched: tuple[UUID, frozenset[str]] | None = None
    turns: int = 0


class Conversations:
    """All live sessions."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: OrderedDict[UUID, Conversation] = OrderedDict()

    def of(self, session_id: UUID) -> Conversation:
        """The session, new when it is not known."""
        conversation = self._sessions.setdefault(session_id, Conversation())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return conversation

    def end(self, session_id: UUID) -> Conversation | None:
        """Forget a session and hand over what it was."""
        return self._sessions.pop(session_id, None)


_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")
_ORDINAL: Final = pattern(
    r"^\W*(?:(?:yes|no|i mean|i meant|i'd say|go with|let's go with|take|pick|choose|make it)\W+)*"
    r"(?:the |number |option |no\.? |#)*"
    rf"(?P<which>[1-5]|{'|'.join(_ORDINALS)}|last|former|latter)(?: one| option)?(?:,? (?:please|thanks|then))*\W*$",
    IGNORECASE,
)
_YES: Final = pattern(
    r"^\W*(?:yes|yep|yeah|yup|sure|ok|okay|confirmed?|i confirm|go ahead|do it|correct|please do|proceed|affirmative)\b"
    r"[^?]{0,40}$",
    IGNORECASE,
)
_NO: Final = pattern(
    r"^\W*(?:no|nope|not yet|don't|do not|better not|stop|wait|rather not|hold on)\b[^?]{0,40}$", IGNORECASE
)
_NONE: Final = pattern(r"^\W*(?:none|neither|not (?:any|either|one)|no,? (?:none|neither))\b[^?]{0,40}$", IGNORECASE)
_CANCEL: Final = pattern(
    r"^\W*(?:please |actually,? |sorry,? |oh,? |no,? |wait,? )*"
    r"(?:cancel(?: (?:that|this|it|my request|the request))?|never ?mind|forget (?:it|that|about it)|scratch that"
    r"|drop it|leave it(?: (?:be|there))?|disregard(?: that)?)(?: please| thanks| for now)*\W*$",
    IGNORECASE,
)


def picked(utterance: str, options: int) -> int | None:
    """Which of several options an answer picks by its number, from 0; None when it picks none."""
    match = _ORDINAL.match(utterance)
    if match is None:
        return None
    which = match["which"].lower()
    if which in {"last", "latter"}:
        return options - 1
    at = 0 if which == "former" else int(which) - 1 if which.isdigit() else _ORDINALS.index(which)
    return at if at < options else None


def says_yes(utterance: str) -> bool:
    """Whether an answer agrees."""
    return _YES.match(utterance) is not None


def says_no(utterance: str) -> bool:
    """Whether an answer refuses."""
    return _NO.match(utterance) is not None


def says_none(utterance: str) -> bool:
    """Whether an answer turns all options down."""
    return _NONE.match(utterance) is not None


def says_cancel(utterance: str) -> bool:
    """Whether somebody takes back what they wanted."""
    return _CANCEL.match(utterance) is not None


def picked_by_words(words: frozenset[str], options: Sequence[frozenset[str]]) -> int | None:
    """Which option an answer names, from 0: the one that shares more words with it than every other; else None.

    Args:
        words: stemmed words of the answer.
        options: stemmed words of each option.
    """
    shared = [len(words & option) for option in options]
    most = max(shared, default=0)
    return shared.index(most) if most and shared.count(most) == 1 else None
