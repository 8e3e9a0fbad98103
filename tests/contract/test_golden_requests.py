# SPDX-License-Identifier: Apache-2.0
"""The golden requests become the golden rows, in both encodings, through a real sink into a real Postgres."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow, Row
from support.postgres import Database
from support.sinks import JSON, PROTOBUF, sink
from support.stored import stored_rows, tampering

FOLDER: Final = Path(__file__).parent / "golden"
EMITTERS: Final = ("python", "rust", "map", "json_string")
TABLES: Final[dict[str, type[Row]]] = {
    "intent_events": IntentEventRow,
    "chat_events": ChatEventRow,
    "intent_outcomes": IntentOutcomeRow,
}
DIFFER: Final = ("event_id", "intent_event_id", "ts", "trace_id", "span_id", "service_name", "trace_sampled", "quality")


def expected(emitter: str) -> dict[str, list[dict[str, Any]]]:
    """Rows that the requests of an emitter must become."""
    return json.loads((FOLDER / f"{emitter}.rows.json").read_text("utf-8"))


def stored(pg: Database) -> dict[str, list[dict[str, Any]]]:
    """Rows that are stored, as the files have them."""
    rows = {table: [row._asdict() for row in stored_rows(pg, kind)] for table, kind in TABLES.items()}
    return json.loads(msgspec.json.encode(rows))


@pytest.mark.parametrize("emitter", EMITTERS)
def test_a_golden_request_becomes_the_golden_rows(pg: Database, emitter: str) -> None:
    """Protobuf and JSON become exactly the rows of the file; whatever is no record becomes none."""
    with sink(pg.dsn) as running:
        for suffix, media_type in (("pb", PROTOBUF), ("json", JSON)):
            body = (FOLDER / f"{emitter}.{suffix}").read_bytes()
            assert running.post(body, media_type=media_type).code == 200
            assert stored(pg) == expected(emitter)
            pg.execute_now(tampering("TRUNCATE agent.intent_events, agent.chat_events, agent.intent_outcomes"))
        assert running.metric("intent_events_sink_spans_total", intent_delivery="passed_over") == 4
    assert pg.fetchval_now("SELECT count(*) FROM agent.dead_letters") == 0


def test_every_emitter_becomes_the_same_rows() -> None:
    """However candidates are sent, the rows say the same."""

    def same(emitter: str) -> dict[str, list[dict[str, Any]]]:
        rows = expected(emitter)
        return {t: [{k: v for k, v in row.items() if k not in DIFFER} for row in of] for t, of in rows.items()}

    assert same("python") == same("rust") == same("map") == same("json_string")
    assert [row["quality"] for row in expected("rust")["intent_events"]] == [None, ["event_id_derived"]]
