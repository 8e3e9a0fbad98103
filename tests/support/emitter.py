# SPDX-License-Identifier: Apache-2.0
"""The emitter in Rust of ``acceptance/rust_emitter``, and the rows that it expects."""

import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from intent_events.rows import IntentEventRow
from support.built import built
from support.postgres import Database
from support.waiting import until

UTTERANCES: Final = 10_000
"""Utterances of a stream."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END_S: Final = 240.0
_UUIDS: Final = ("event_id", "emitter_id", "session_id", "parent_event_id", "subject_ref_id", "run_sheet_entry_id")
_IN_JSON: Final = (
    "semreg_denied_verbs",
    "semreg_denied_reasons",
    "macro_denied_verbs",
    "verb_candidates_pre",
    "verb_candidates_post",
)
# What a column has when the emitter does not say.
_DEFAULTS: Final[dict[str, Any]] = {**dict.fromkeys(IntentEventRow._fields), "macro_semreg_checked": False}


class Emission:
    """Utterances that the emitter is recording, or has recorded."""

    def __init__(self, process: subprocess.Popen[bytes], told: Path) -> None:
        self._process = process
        self._told = told

    def end(self) -> None:
        """Wait until everything is recorded, and taken by whom it was sent to."""
        assert self._process.wait(_END_S) == 0

    def rows(self) -> dict[UUID, dict[str, Any]]:
        """The rows to expect, by their key: value by column."""
        return {row["event_id"]: row for row in map(_row, self._told.read_text().splitlines())}


def _row(line: str) -> dict[str, Any]:
    row = {**_DEFAULTS, **json.loads(line)}
    row["ts"] = _EPOCH + timedelta(milliseconds=row["ts"])
    for column in _UUIDS:
        row[column] = None if row[column] is None else UUID(row[column])
    return row


@contextmanager
def emission(folder: Path, endpoint: str, utterances: int, rate: float = 0) -> Generator[Emission]:
    """Let the emitter record utterances; whatever it has not recorded at the end of the block it never will.

    Args:
        folder: where it writes what rows to expect.
        endpoint: whom it sends its spans to.
        utterances: how many.
        rate: utterances a second; 0 is as fast as it goes.
    """
    told = folder / "expected.jsonl"
    env: Mapping[str, str] = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    with told.open("wb") as out:
        process = subprocess.Popen([built("rust-emitter"), str(utterances), str(rate)], env=env, stdout=out)
    try:
        yield Emission(process, told)
    finally:
        process.kill()
        process.wait()


def stored(database: Database) -> dict[UUID, dict[str, Any]]:
    """All rows of a database by their key, in the form of :meth:`Emission.rows`.

    Fails when a key has two rows.
    """
    found = [_as_told(dict(row)) for row in database.fetch_now("SELECT * FROM agent.intent_events")]
    rows = {row["event_id"]: row for row in found}
    assert len(rows) == len(found), "a record is stored twice"
    return rows


def _as_told(row: dict[str, Any]) -> dict[str, Any]:
    for column in _IN_JSON:
        row[column] = None if row[column] is None else json.loads(row[column])
    return row


class Stream:
    """Ten thousand utterances that emitters record at a pace, and what became of them."""

    def __init__(self, database: Database, *emitted: Emission) -> None:
        self._database = database
        self._emitted = emitted

    def stored(self) -> int:
        """Utterances that are stored."""
        return self._database.fetchval_now("SELECT count(*) FROM agent.intent_events")

    def begun(self) -> None:
        """Wait until it is under way."""
        until(self.stored, "the first utterances are stored")

    def under_way(self) -> None:
        """Fail unless the faults so far were in the middle of it."""
        assert 0 < self.stored() < UTTERANCES

    def proven(self) -> None:
        """Wait for all of it, and see that each utterance is the one row that its emitter expects."""
        for each in self._emitted:
            each.end()
        until(lambda: self.stored() >= UTTERANCES, "everything is stored", timeout_s=120)
        expected = {key: row for each in self._emitted for key, row in each.rows().items()}
        found = stored(self._database)
        lost, beyond = expected.keys() - found.keys(), found.keys() - expected.keys()
        counts = {"emitted": len(expected), "stored": len(found), "lost": len(lost), "beyond": len(beyond)}
        sys.stdout.write(json.dumps(counts) + "\n")
        assert counts == {"emitted": UTTERANCES, "stored": UTTERANCES, "lost": 0, "beyond": 0}
        assert found == expected
