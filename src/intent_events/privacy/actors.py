# SPDX-License-Identifier: Apache-2.0
"""How whoever speaks is recorded: as given, under a pseudonym of the current key, or not at all."""

from typing import Final, Literal

from intent_events.mending import text
from intent_events.privacy.fingerprint import Fingerprinter
from intent_events.privacy.keys import KeyRing

ActorMode = Literal["plain", "pseudonymous", "off"]

_DOMAIN: Final = "intent-events actor\x00"
_DIGITS: Final = 32


class Actors:
    """Gives the recorded form of an actor's id."""

    __slots__ = ("_fingerprinters", "_ring", "mode")

    def __init__(self, mode: ActorMode, ring: KeyRing) -> None:
        """Record actors in this way.

        Args:
            mode: ``plain`` as given, ``pseudonymous`` keyed, ``off`` not at all.
            ring: keys of the pseudonyms.
        """
        self.mode: Final = mode
        self._ring = ring
        self._fingerprinters = tuple(map(Fingerprinter, ring.keys))

    def recorded(self, actor_id: str, at_ns: int) -> str | None:
        """What is recorded of an actor; None for nothing.

        Args:
            actor_id: the id as it would be recorded plain.
            at_ns: when the utterance began, nanoseconds since 1970.
        """
        if self.mode == "plain":
            return actor_id
        if self.mode == "off" or not actor_id:
            return None
        return _pseudonym(self._fingerprinters[self._ring.index_at(at_ns)], actor_id)


def forms_of_actor(actor_id: str, ring: KeyRing | None) -> list[str]:
    """Every form in which an actor may have been stored: as given, and the pseudonym under each live key.

    Args:
        actor_id: the id as the orchestrator knows it.
        ring: the live keys; None for none.
    """
    plain = text(actor_id, set()) or ""
    keys = () if ring is None else ring.keys
    return [plain, *(_pseudonym(Fingerprinter(key), plain) for key in keys)]


def _pseudonym(fingerprinter: Fingerprinter, actor_id: str) -> str:
    """The id of the key, and half of a keyed hash: the domain keeps it apart from fingerprints of utterances."""
    return f"{fingerprinter.key_id}:{fingerprinter.fingerprint(_DOMAIN + actor_id)[:_DIGITS]}"
