# SPDX-License-Identifier: Apache-2.0
"""Who is meant by ``--actor`` or ``--session``: the forms in which rows have it, and what the audit has instead."""

import time
from typing import Final

from intent_events import columns
from intent_events.errors import SettingsError
from intent_events.mending import value
from intent_events.privacy import Fingerprinter, forms_of_actor, read_ring
from intent_events.settings import RecordSettings
from intent_events.store.removal import Mark, Subject

_ONE: Final = "name one of --actor (INTENT_EVENTS_ERASE_ACTOR) and --session (INTENT_EVENTS_ERASE_SESSION)"


def subject_of(settings: RecordSettings, *, actor: str, session: str) -> Subject:
    """Whose rows are meant.

    Args:
        settings: of the application, whose keys make the forms in which an actor's id may be stored.
        actor: the actor's id as the orchestrator knows it; empty when a session is meant.
        session: the session's id as the orchestrator knows it, or as rows have it.

    Raises:
        SettingsError: not exactly one of the two is given, it is nothing that a row can have, or a key cannot be read.
    """
    if bool(actor) == bool(session):
        raise SettingsError(_ONE)
    name, raw = ("actor_id", actor) if actor else ("session_id", session)
    # The same reading as that of a span, so that both come to the same value.
    stored = value(columns.UTTERANCE[name], raw, set())
    if not stored:
        raise SettingsError(f"{_ONE}: no row can have this one")
    return Subject(actors=tuple(forms_of_actor(actor, read_ring(settings)))) if actor else Subject(sessions=(stored,))


def mark_of(settings: RecordSettings, *, actor: str, session: str) -> Mark | None:
    """What tells the subject in the audit to whoever has the key and the id; None without a key.

    Raises:
        SettingsError: a key cannot be read.
    """
    ring = read_ring(settings)
    if ring is None:
        return None
    key = ring.keys[ring.index_at(time.time_ns())]
    # Not the fingerprint of the id alone: that could be met among those of utterances.
    told = f"erased actor:{actor}" if actor else f"erased session:{session}"
    return Mark(Fingerprinter(key).fingerprint(told), key.key_id)
