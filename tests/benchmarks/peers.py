# SPDX-License-Identifier: Apache-2.0
"""What others do with the same utterances on the same server: rows a second until they are committed.

Each peer is given its best case. The awaited INSERT has its rows mapped beforehand and commits by itself, without a
BEGIN and a COMMIT to wait for. Monocle's exporter is called without the thread of the batch processor that stands in
front of it, with batches of the size that this processor makes.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import asyncpg
import msgspec
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks import writer
from benchmarks.workload import finished_spans
from intent_events.rows import IntentEventRow, row_of
from intent_events.semconv import Record
from intent_events_exporter import IntentEventsSpanExporter
from intent_events_exporter.convert import view_of
from support.postgres import Database
from support.stored import tampering

MONOCLE: Final = "0.8.15"
"""Version of ``monocle_apptrace`` that is measured."""

BATCH: Final = 512
"""Spans an export of Monocle's: ``setup_monocle_telemetry`` puts a batch processor with the SDK's defaults in front."""

_REPOSITORY: Final = Path(__file__).parents[2]
_UV: Final = _REPOSITORY / ".tools" / "bin" / "uv"
_BENCH: Final = _REPOSITORY / ".bench"
_PINS: Final = (
    f"monocle_apptrace[postgres]=={MONOCLE}",
    "psycopg2-binary==2.9.13",
    f"opentelemetry-sdk=={version('opentelemetry-sdk')}",  # what ours is measured with
)
_SET_UP_S: Final = 600.0
_RUN_S: Final = 600.0


class PeerError(Exception):
    """A peer cannot be set up, or did not store what it was given."""


def measure_batched(dsn: str, n: int, rounds: int) -> list[tuple[int, float]]:
    """The SDK's own batch processor, with its defaults, in front of our exporter, when spans all end at once.

    Args:
        dsn: address of a migrated database; ``agent.intent_events`` is emptied before each round.
        n: spans a round.
        rounds: how often.

    Returns:
        Rows that were stored, and the seconds until they were, for each round.
    """
    spans = finished_spans(n)
    found: list[tuple[int, float]] = []
    processor = BatchSpanProcessor(IntentEventsSpanExporter(dsn, timeout_s=60))
    for _ in range(rounds):
        asyncio.run(writer.run(dsn, tampering("TRUNCATE agent.intent_events")))
        began = perf_counter()
        for span in spans:
            processor.on_end(span)
        processor.force_flush()
        took = perf_counter() - began
        found.append((Database(dsn).fetchval_now("SELECT count(*) FROM agent.intent_events"), took))
    processor.shutdown()
    return found


def measure_awaited(dsn: str, n: int, rounds: int) -> list[float]:
    """One INSERT a row on one connection, each awaited before the next: telemetry written in the request.

    Args:
        dsn: address of a migrated database; ``agent.intent_events`` is emptied before each round.
        n: rows a round.
        rounds: how often.

    Returns:
        Committed rows a second, for each round.

    Raises:
        PeerError: rows are missing afterwards.
    """
    rows = [row_of(view_of(span), Record.UTTERANCE) for span in finished_spans(n)]
    utterances = [row for row in rows if isinstance(row, IntentEventRow)]
    return asyncio.run(_insert_rounds(dsn, utterances, rounds))


def measure_monocle(dsn: str, n: int, rounds: int) -> list[float]:
    """Monocle's ``PostgresSpanExporter`` with the same attributes, in an environment of its own.

    The first call makes the environment in ``.bench/monocle`` of the repository.

    Args:
        dsn: address of a database; the exporter makes its table ``traces`` there, which is emptied before each round.
        n: spans a round.
        rounds: how often.

    Returns:
        Committed rows a second, for each round.

    Raises:
        PeerError: no environment can be made, the exporter fails, or rows are missing afterwards.
    """
    python = environment_of("monocle", _PINS)
    attributes = dict(finished_spans(1)[0].attributes or {})
    given = {"n": n, "rounds": rounds, "batch": BATCH, "attributes": attributes}
    environment = {**os.environ, "MONOCLE_POSTGRES_CONNECTION_URL": dsn}
    script = Path(__file__).with_name("monocle_peer.py")
    printed = _run([str(python), "-I", str(script)], environment, _RUN_S, json.dumps(given))
    result: dict[str, Any] = json.loads(printed)
    if result["stored"] != [n] * rounds:
        raise PeerError(f"Monocle's exporter was given {n} spans a round and stored {result['stored']}")
    return [n / seconds for seconds in result["seconds"]]


async def _insert_rounds(dsn: str, rows: Sequence[IntentEventRow], rounds: int) -> list[float]:
    columns = ", ".join(IntentEventRow._fields)
    places = ", ".join(f"${place}" for place in range(1, len(IntentEventRow._fields) + 1))
    insert = f"INSERT INTO agent.intent_events ({columns}) VALUES ({places})"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.set_type_codec("jsonb", encoder=_json, decoder=msgspec.json.decode, schema="pg_catalog")
        speeds: list[float] = []
        for _ in range(rounds):
            await connection.execute(tampering("TRUNCATE agent.intent_events"))
            await connection.execute("CHECKPOINT")
            began = perf_counter()
            for row in rows:
                await connection.execute(insert, *row)
            speeds.append(len(rows) / (perf_counter() - began))
            stored = await connection.fetchval("SELECT count(*) FROM agent.intent_events")
            if stored != len(rows):
                raise PeerError(f"{len(rows)} awaited INSERTs left {stored} rows")
        return speeds
    finally:
        await connection.close()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def environment_of(name: str, pins: Sequence[str]) -> Path:
    """Python of a peer's environment in ``.bench`` of the repository, made unless it is there with these versions.

    Raises:
        PeerError: it cannot be made.
    """
    folder = _BENCH / name
    python, made, wanted = folder / "bin" / "python", folder / "made", "\n".join(pins)
    if made.is_file() and made.read_text("utf-8") == wanted:
        return python
    if not _UV.is_file():
        raise PeerError(f"the environment of {name} is made by {_UV.relative_to(_REPOSITORY)}: run `make setup`")
    uv = str(_UV)
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], environment, _SET_UP_S)
    _run([uv, "pip", "install", "--quiet", "--python", str(python), *pins], environment, _SET_UP_S)
    made.write_text(wanted, "utf-8")
    return python


def _run(command: list[str], environment: dict[str, str], timeout_s: float, given: str | None = None) -> str:
    """What a command prints.

    Raises:
        PeerError: it fails or takes too long; the text names it.
    """
    try:
        ended = subprocess.run(
            command, env=environment, input=given, timeout=timeout_s, check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:  # no network, no such version, or the peer itself failed
        reason = str(error.stderr).strip() or f"exit status {error.returncode}"
    except subprocess.TimeoutExpired:  # a registry or a server that does not answer
        reason = f"no end within {timeout_s:g} s"
    else:
        return ended.stdout
    raise PeerError(f"a peer cannot be measured, `{shlex.join(command)}` failed: {reason}")
