# SPDX-License-Identifier: Apache-2.0
"""Whether something was said, without storing what is looked for: its fingerprint under each live key is."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from intent_events.privacy import Masker, Privacy
from intent_events.store.lookup import FoundEvent, find_events


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class FoundUtterance(_Frozen):
    """One utterance that was found."""

    event_id: str
    ts: AwareDatetime
    hash_key_id: str | None
    outcome: str
    chosen_verb_fqn: str | None
    utterance_preview: str | None


class KeyCount(_Frozen):
    """How many utterances were found under one key; ``hash_key_id`` None stands for plain SHA-256."""

    hash_key_id: str | None
    n: int


class Lookup(_Frozen):
    """What was found of a text: ``n`` utterances, by key, and the latest of them."""

    since: AwareDatetime
    by: str
    n: int
    keys: tuple[KeyCount, ...]
    events: tuple[FoundUtterance, ...]


async def lookup(
    dsn: str,
    text: str,
    privacy: Privacy,
    *,
    since: datetime,
    template: bool = False,
    limit: int = 20,
    timeout_s: float = 30.0,
) -> Lookup:
    """Find an utterance under every live key, and under plain SHA-256, which needs none.

    Args:
        dsn: address of Postgres; a role that may read the review views is enough.
        text: what was said; it goes no further than this call.
        privacy: the rules that the utterances were recorded by: their keys and, for templates, their vocabulary.
        since: first moment that is looked at.
        template: find utterances of the same template instead: those that differ in values only.
        limit: utterances to give of each key.
        timeout_s: seconds that asking may take.

    Raises:
        SettingsError: the address of the database cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    records = privacy.every_record(text)
    plain = Privacy(None, Masker(())).every_record(text)
    hashes = [record.template_hash for record in records] if template else [each.hash for each in (*records, *plain)]
    found = await find_events(dsn, hashes, template=template, since=since, limit=limit, timeout_s=timeout_s)
    counts = {event.hash_key_id: event.n for event in found}
    order = [record.key_id for record in records]
    return Lookup(
        since=since,
        by="template" if template else "utterance",
        n=sum(counts.values()),
        keys=tuple(KeyCount(hash_key_id=key, n=counts.get(key, 0)) for key in dict.fromkeys((*order, *counts))),
        events=tuple(map(_utterance, found)),
    )


def _utterance(event: FoundEvent) -> FoundUtterance:
    return FoundUtterance(
        event_id=str(event.event_id),
        ts=event.ts,
        hash_key_id=event.hash_key_id,
        outcome=event.outcome,
        chosen_verb_fqn=event.chosen_verb_fqn,
        utterance_preview=event.utterance_preview,
    )
