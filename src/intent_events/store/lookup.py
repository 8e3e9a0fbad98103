# SPDX-License-Identifier: Apache-2.0
"""Which utterances have one of some fingerprints."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from intent_events.store.connect import UNASKABLE, connect, disconnect, unavailable
from intent_events.store.read import LIMITS, SNAPSHOT, milliseconds, sql

_TABLE: Final = "agent.intent_events"
_VIEW: Final = "agent.v_intent_events"
_COLUMNS: Final = {False: "utterance_hash", True: "template_hash"}


class FoundEvent(NamedTuple):
    """An utterance that was found.

    Attributes:
        hash_key_id: which key made its fingerprints; None means plain SHA-256.
        n: how many utterances were found under this key, this one included.
        event_id: key of the row.
        ts: when it began.
        outcome: how it ended.
        chosen_verb_fqn: the verb that was selected.
        utterance_preview: as it is shown.
    """

    hash_key_id: str | None
    n: int
    event_id: UUID
    ts: datetime
    outcome: str
    chosen_verb_fqn: str | None
    utterance_preview: str | None


async def find_events(
    dsn: str, hashes: Sequence[str], *, template: bool, since: datetime, limit: int, timeout_s: float
) -> list[FoundEvent]:
    """Utterances with one of these fingerprints, the latest first.

    Args:
        dsn: address of Postgres; a role that may read the review views is enough.
        hashes: fingerprints.
        template: look among the fingerprints of templates instead of those of utterances.
        since: first moment that is looked at.
        limit: utterances to give of each key.
        timeout_s: seconds that asking may take.

    Raises:
        SettingsError: the address of the database cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    connection = await connect(dsn, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            await connection.execute(SNAPSHOT)
            await connection.execute(LIMITS, milliseconds(timeout_s))
            statement = sql("lookup").replace("utterance_hash = ANY", f"{_COLUMNS[template]} = ANY")
            if await _has_view(connection):
                statement = statement.replace(_TABLE, _VIEW)
            return [FoundEvent(*record) for record in await connection.fetch(statement, hashes, since, limit)]
    except UNASKABLE as error:  # not migrated, no permission, too slow, or the connection broke
        problem = unavailable(error, dsn, timeout_s=timeout_s)
    finally:
        await disconnect(connection)
    raise problem


async def _has_view(connection: asyncpg.Connection) -> bool:
    """Whether there is a view for reviewers, who may not read the table."""
    return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", _VIEW))
