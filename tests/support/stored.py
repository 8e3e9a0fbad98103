# SPDX-License-Identifier: Apache-2.0
"""Rows put into the tables by plain SQL, for tests of what the database itself does."""

import json
from datetime import UTC, datetime, timedelta
from secrets import randbits
from typing import Any, Final
from uuid import UUID

from intent_events.identity import event_id_of, milliseconds_in
from intent_events.rows import CandidateItem, ChatEventRow, IntentEventRow, IntentOutcomeRow, Row
from support.postgres import Database

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

EVENT: Final[dict[str, Any]] = {
    "session_id": UUID("00000000-0000-4000-8000-000000000001"),
    "actor_id": "actor-1",
    "entrypoint": "chat",
    "utterance_hash": "00",
    "semreg_mode": "applied",
    "outcome": "matched",
}
"""Columns of ``agent.intent_events`` that must have a value."""


def key_at(moment: datetime) -> tuple[UUID, datetime]:
    """A new event id of that moment, and its ``ts``."""
    elapsed = moment - EPOCH
    event_id = event_id_of(randbits(128), randbits(64), (elapsed // timedelta(microseconds=1)) * 1000)
    return event_id, EPOCH + timedelta(milliseconds=milliseconds_in(event_id))


def insert(table: str, columns: dict[str, Any]) -> tuple[str, list[Any]]:
    """An INSERT statement and its arguments."""
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    return f"INSERT INTO agent.{table} ({', '.join(columns)}) VALUES ({places})", list(columns.values())


async def add_event(pg: Database, moment: datetime, **columns: Any) -> UUID:
    """Insert a row of ``agent.intent_events``; jsonb columns are given as JSON text."""
    event_id, ts = key_at(moment)
    statement, values = insert("intent_events", {**EVENT, "event_id": event_id, "ts": ts, **columns})
    await pg.execute(statement, *values)
    return event_id


def tampering(statement: str) -> str:
    """A script that changes what nobody may change: as a superuser who replicates, for whom no trigger runs."""
    return f"SET session_replication_role = replica; {statement}; RESET session_replication_role"


_TABLES: Final[dict[type[Row], str]] = {
    IntentEventRow: "intent_events",
    ChatEventRow: "chat_events",
    IntentOutcomeRow: "intent_outcomes",
}


def stored_rows(pg: Database, kind: type[Row] = IntentEventRow) -> list[Row]:
    """Every row of a table as the row that was written, in order of their keys."""
    columns = ", ".join(kind._fields)
    found = pg.fetch_now(f"SELECT {columns} FROM agent.{_TABLES[kind]} ORDER BY event_id")
    return [kind._make(_value(column, value) for column, value in record.items()) for record in found]


def _value(column: str, value: Any) -> Any:
    if column in {"verb_candidates_pre", "verb_candidates_post"} and value is not None:
        return [CandidateItem(**item) for item in json.loads(value)]
    if column in {"semreg_denied_verbs", "semreg_denied_reasons", "macro_denied_verbs"} and value is not None:
        return json.loads(value)
    return value
