# SPDX-License-Identifier: Apache-2.0
"""What of one process has arrived in Postgres."""

from typing import NamedTuple

from intent_events.store.connect import UNASKABLE, connect, disconnect, unavailable


class Stored(NamedTuple):
    """Rows of one emitter.

    Attributes:
        rows: rows of ``agent.intent_events``.
        event_ids: different keys among them.
    """

    rows: int
    event_ids: int


_STORED = (
    "SELECT count(*) AS rows, count(DISTINCT event_id) AS event_ids FROM agent.intent_events WHERE emitter_id = $1"
)


async def stored_by(dsn: str, emitter_id: str, *, timeout_s: float = 30.0) -> Stored:
    """Count what one process has stored.

    Args:
        dsn: address of Postgres.
        emitter_id: UUID of the process.
        timeout_s: seconds that connecting and counting may take.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: the question could not be asked.
    """
    connection = await connect(dsn, timeout_s=timeout_s, readonly=True)
    try:
        row = await connection.fetchrow(_STORED, emitter_id, timeout=timeout_s)
    except UNASKABLE as error:  # not migrated, no permission, or the connection broke
        problem = unavailable(error, dsn, timeout_s=timeout_s)
    else:
        assert row is not None  # noqa: S101 - an aggregate without GROUP BY always gives a row
        return Stored(row["rows"], row["event_ids"])
    finally:
        await disconnect(connection)
    raise problem
