# SPDX-License-Identifier: Apache-2.0
"""Every column of every table arrives with the value that its row had."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, cast, get_args
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intent_events.rows import CandidateItem, ChatEventRow, IntentEventRow, IntentOutcomeRow, Row
from intent_events.store.write import Writer, Written
from support.postgres import Database

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 253_402_300_799_999
_JSON: Final = frozenset({"semreg_denied_verbs", "semreg_denied_reasons", "macro_denied_verbs"})
_CANDIDATES: Final = frozenset({"verb_candidates_pre", "verb_candidates_post"})
_TABLES: Final[Mapping[type[Row], str]] = {
    IntentEventRow: "intent_events",
    ChatEventRow: "chat_events",
    IntentOutcomeRow: "intent_outcomes",
}

R = TypeVar("R", IntentEventRow, ChatEventRow, IntentOutcomeRow)

_texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
_scores = st.floats(allow_nan=False, allow_infinity=False)
_candidates = st.lists(st.builds(CandidateItem, _texts, st.none() | _scores, st.none() | _texts), max_size=4)
_BY_TYPE: Final[Mapping[object, st.SearchStrategy[Any]]] = {
    UUID: st.uuids(),
    str: _texts,
    bool: st.booleans(),
    int: st.integers(-(2**31) + 1, 2**31 - 1),
    float: st.floats(0, allow_infinity=False),
    list[str]: st.lists(_texts, max_size=4),
    list[CandidateItem]: _candidates,
}
_BY_NAME: Final = {"emitter_seq": st.integers(-(2**63) + 1, 2**63 - 1)}
"""Fields whose column is wider than others of their type."""


def _column(name: str, annotation: object) -> st.SearchStrategy[Any]:
    """Values of a field."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    values = [_BY_NAME[name] if name in _BY_NAME else _BY_TYPE[kind] for kind in kinds if kind is not NoneType]
    return st.one_of(st.none(), *values) if NoneType in kinds else st.one_of(values)


def rows_of(kind: type[R]) -> st.SearchStrategy[R]:
    """Rows of a kind, of any moment and with any value that its columns hold."""
    annotations = {name: kind.__annotations__[name] for name in kind._fields if name not in {"event_id", "ts"}}
    others = {name: _column(name, annotation) for name, annotation in annotations.items()}

    def make(ms: int, low: int, columns: dict[str, Any]) -> R:
        event_id = UUID(int=(ms << 80) | (7 << 76) | (0b10 << 62) | low)
        return kind(event_id=event_id, ts=_EPOCH + timedelta(milliseconds=ms), **columns)

    times = st.integers(0, _LAST_MS) | st.integers(1_700_000_000_000, 1_900_000_000_000)
    return st.builds(make, times, st.integers(0, (1 << 62) - 1), st.fixed_dictionaries(others))


@pytest.fixture
async def writer(writer_dsn: str) -> AsyncIterator[Writer]:
    """A writer with the rights of ``intent_writer`` alone."""
    writer = Writer(writer_dsn, door="exporter", timeout_s=20.0)
    yield writer
    await writer.close()


# The database is one for all examples: each looks for its own rows, and an example that comes twice is a duplicate.
at_random: Final = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip


@at_random
@given(rows=st.lists(rows_of(IntentEventRow), min_size=1, max_size=5, unique_by=lambda row: row.event_id))
async def test_an_utterance_arrives_as_it_is(pg: Database, writer: Writer, rows: list[IntentEventRow]) -> None:
    """Whatever a row of agent.intent_events holds is read back, column for column."""
    await _write_and_compare(pg, writer, rows)


@at_random
@given(rows=st.lists(rows_of(ChatEventRow), min_size=1, max_size=5, unique_by=lambda row: row.event_id))
async def test_a_reply_arrives_as_it_is(pg: Database, writer: Writer, rows: list[ChatEventRow]) -> None:
    """Whatever a row of agent.chat_events holds is read back, column for column."""
    await _write_and_compare(pg, writer, rows)


@at_random
@given(rows=st.lists(rows_of(IntentOutcomeRow), min_size=1, max_size=5, unique_by=lambda row: row.event_id))
async def test_an_outcome_arrives_as_it_is(pg: Database, writer: Writer, rows: list[IntentOutcomeRow]) -> None:
    """Whatever a row of agent.intent_outcomes holds is read back, column for column."""
    await _write_and_compare(pg, writer, rows)


async def _write_and_compare(pg: Database, writer: Writer, rows: list[R]) -> None:
    table = _TABLES[type(rows[0])]
    by_key = f"SELECT * FROM agent.{table} WHERE event_id = ANY($1)"
    ids = [row.event_id for row in rows]
    if await pg.fetch(by_key, ids):  # hypothesis tries small numbers more than once
        return
    assert await writer.write(rows) == Written(stored=len(rows))
    read = {row["event_id"]: dict(row) for row in await pg.fetch(by_key, ids)}
    for row in rows:
        assert {name: _decoded(name, value) for name, value in read[row.event_id].items()} == row._asdict()
    assert await writer.write(rows[::-1]) == Written(duplicates=len(rows))


def _decoded(name: str, value: Any) -> Any:
    if value is None or name not in _JSON | _CANDIDATES:
        return value
    items = json.loads(value)
    if name in _JSON:
        return items
    candidates = cast("list[dict[str, Any]]", items)
    assert all(None not in item.values() for item in candidates), "what is unknown is left out"
    return [
        CandidateItem(item["verb"], float(item["score"]) if "score" in item else None, item.get("source"))
        for item in candidates
    ]


_CATALOGUE: Final = """
SELECT attname::text AS name, attnotnull AS required, format_type(atttypid, atttypmod) AS type
FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
"""


@pytest.mark.parametrize("kind", _TABLES)
async def test_the_fields_of_a_row_are_the_columns_of_its_table(pg: Database, kind: type[Row]) -> None:
    """No column is forgotten and none is invented; a column that must have a value has a field that has one."""
    columns = {row["name"]: row for row in await pg.fetch(_CATALOGUE, f"agent.{_TABLES[kind]}")}
    assert set(kind._fields) == set(columns)
    for name in kind._fields:
        optional = "None" in str(kind.__annotations__[name])
        assert not (columns[name]["required"] and optional), f"{name} may be empty, but its column may not"
    assert all(columns[name]["type"] == "jsonb" for name in _JSON | _CANDIDATES if name in columns)


async def test_the_columns_of_the_request_are_there(pg: Database) -> None:
    """Every column that the original request names is there, required where it asked for that."""
    required = {"event_id", "ts", "session_id", "actor_id", "entrypoint", "utterance_hash", "semreg_mode", "outcome"}
    required |= {"macro_semreg_checked"}
    optional = {
        *("utterance_preview", "scope", "subject_ref_type", "subject_ref_id", "semreg_denied_verbs"),
        *("verb_candidates_pre", "verb_candidates_post", "chosen_verb_fqn", "selection_source", "forced_verb_fqn"),
        *("dsl_hash", "run_sheet_entry_id", "macro_denied_verbs", "error_code", "prompt_version"),
    }
    columns = {row["name"]: row["required"] for row in await pg.fetch(_CATALOGUE, "agent.intent_events")}
    assert {name for name in required if columns[name]} == required
    assert {name for name in optional if not columns[name]} == optional


async def test_a_column_that_an_administrator_made_narrower(pg: Database, writer: Writer) -> None:
    """Types come from the catalogue: rows that fit a narrower column are stored, others are kept apart."""
    await pg.execute("DROP VIEW agent.v_intent_outcomes CASCADE")
    await pg.execute("ALTER TABLE agent.intent_outcomes ALTER COLUMN kind TYPE varchar(20)")
    row = IntentOutcomeRow(
        *(UUID("01a0c450-73cf-7938-b469-15f13549008b"), _EPOCH + timedelta(milliseconds=0x01A0C45073CF)),
        *(1, None, None, None, False, None, "executed", "0" * 32, "0" * 16, None, None),
    )
    assert await writer.write([row]) == Written(stored=1)
    longer = row._replace(event_id=UUID(int=row.event_id.int + 1), kind="a kind of more than twenty letters")
    assert await writer.write([longer]) == Written(dead=1)
