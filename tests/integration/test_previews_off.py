# SPDX-License-Identifier: Apache-2.0
"""Previews off and keys on: every command in each of its formats, and every view, on data that was recorded so."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, get_type_hints

import pytest
from typer.testing import CliRunner

from intent_events import semconv
from intent_events.cli.app import COMMANDS, app
from intent_events.demo.traffic import load_traffic
from intent_events.instrument.recorder import EMITTER
from support.otlp import request
from support.postgres import Database, Server
from support.records import HASH_KEY, span_view
from support.sinks import sink

pytestmark = pytest.mark.postgres

KEY_ID: Final = "2026-11"
ENVIRONMENT: Final = {
    "INTENT_EVENTS_PREVIEW": "off",
    "INTENT_EVENTS_HASH_KEY": HASH_KEY,
    "INTENT_EVENTS_HASH_KEY_ID": KEY_ID,
}
RUNS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "demo": ((),),
    "doctor": ((),),
    "drain": ((),),
    "erase": (("--actor", "nobody"),),
    "lookup": ((), ("--template",)),
    "migrate": ((), ("--check",), ("--sql",)),
    "reconcile": (("--since", "1h"),),
    "retain": (("--older-than", "90d"),),
    "report": (("--since", "1h", "--synthetic"), ("--since", "1h")),
    "scan": ((), ("--since", "1h", "--sample", "50%")),
}
"""Every command, and how it is run; a new one must have a line here."""

SAID: Final = load_traffic(None)[0].utterance
"""What ``lookup`` reads, and finds: the demo says it."""

_FINE: Final = {"doctor": {0, 1}}
"""Exit codes of commands that may complain here: no application is set up."""

_WORDS: Final = 3


def _formats(name: str) -> list[str | None]:
    """The values of ``--format`` that a command takes; one None when it has no such flag."""
    command = getattr(import_module(f"intent_events.cli.{name}"), name)
    kind = get_type_hints(command).get("output_format")
    return [None] if kind is None else [form.value for form in kind]


_CASES: Final = [
    (name, *(() if form is None else ("--format", form)), *args)
    for name in COMMANDS
    for form in _formats(name)
    for args in RUNS.get(name, ())
]


@pytest.fixture(scope="module")
def recorded(postgres_server: Server, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with everything that the demo records with previews off and a key."""
    # Records of other tests in this process are in other databases, and would count as missing here.
    EMITTER._renew()  # pyright: ignore[reportPrivateUsage] - what a fork does
    with postgres_server.database(_template) as database:
        folder = tmp_path_factory.mktemp("previews-off")
        ran = _run(database, folder, "demo", "--format", "json")
        assert ran.exit_code == 0, ran.output
        yield database


def _run(database: Database, folder: Path, *command: str) -> Any:
    """Run ``intent-events`` with previews off and a key."""
    spool = folder / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    where = {"INTENT_EVENTS_DSN": database.dsn, "INTENT_EVENTS_SPOOL_DIR": str(spool)}
    ran = CliRunner(env={**ENVIRONMENT, **where}).invoke(app, list(command), input=SAID)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


def test_every_command_is_run() -> None:
    """Each command of ``intent-events`` has a line in this test."""
    assert set(COMMANDS) - set(RUNS) == {"sink"}, "which has a test of its own"
    assert {case[0] for case in _CASES} == set(RUNS)


def test_rows_hold_fingerprints_only(recorded: Database) -> None:
    """No row has a preview, and each has keyed fingerprints with the name of their key."""
    rows = recorded.fetch_now(
        "SELECT utterance_preview AS preview, utterance_hash AS hash, hash_key_id AS key FROM agent.intent_events"
        " UNION ALL SELECT assistant_message_preview, assistant_message_hash, hash_key_id FROM agent.chat_events"
    )
    assert len(rows) > 700
    assert {(row["preview"], row["key"]) for row in rows} == {(None, KEY_ID)}
    assert all(re.fullmatch("[0-9a-f]{64}", row["hash"]) for row in rows)


@pytest.mark.parametrize("case", _CASES, ids=" ".join)
def test_every_command_and_format_works(recorded: Database, tmp_path: Path, case: tuple[str, ...]) -> None:
    """It ends as it does with previews on, and says something."""
    ran = _run(recorded, tmp_path, *case)
    assert ran.exit_code in _FINE.get(case[0], {0}), ran.output
    assert len(ran.stdout) > len("at revision")


def test_the_sink_works(pg: Database) -> None:
    """The sink stores a record that has a keyed fingerprint and no preview."""
    told = {semconv.UTTERANCE_HASH: "a" * 64, semconv.UTTERANCE_HASH_KEY_ID: KEY_ID}
    view = span_view(1)
    kept = {key: value for key, value in view.attributes.items() if key != semconv.UTTERANCE_PREVIEW}
    with sink(pg.dsn) as running:
        assert running.post(request([view._replace(attributes=kept | told)])).code == 200
    (row,) = pg.fetch_now("SELECT utterance_preview, utterance_hash, hash_key_id FROM agent.intent_events")
    assert tuple(row) == (None, "a" * 64, KEY_ID)


def test_a_report_says_as_much(recorded: Database, tmp_path: Path) -> None:
    """No section of a report needs a preview: those that the demo fills are filled."""
    shown = _run(recorded, tmp_path, "report", "--since", "1h", "--synthetic", "--format", "csv").stdout
    sections = {line.partition(",")[0] for line in shown.splitlines()}
    expected = {"outcomes", "failure_modes", "hottest_verbs", "clarify_verbs", "semreg_modes", "semreg_denies"}
    assert expected <= sections


def test_every_view_works(recorded: Database) -> None:
    """Every view of schema agent answers, and those of intents find what the demo did."""
    views = [
        row["name"] for row in recorded.fetch_now("SELECT viewname AS name FROM pg_views WHERE schemaname = 'agent'")
    ]
    found = {view: recorded.fetchval_now(f'SELECT count(*) FROM (SELECT * FROM agent."{view}") AS v') for view in views}
    assert len([view for view in views if view.startswith("v_intent_")]) >= 6
    assert [view for view in views if view.startswith("v_intent_") and not found[view]] == []


def test_nothing_that_was_said_is_anywhere(recorded: Database, tmp_path: Path) -> None:
    """With previews off not even a harmless sentence is kept: every utterance of the demo is a canary."""
    said = {turn.utterance for turn in load_traffic(None) if len(turn.utterance.split()) >= _WORDS}
    canaries = tmp_path / "said"
    canaries.write_text("\n".join(sorted(said)), "utf-8")
    assert len(said) > 200
    ran = _run(recorded, tmp_path, "scan", "--canaries", str(canaries))
    assert ran.exit_code == 0, ran.output
    assert "Nothing found." in ran.stdout
    assert f"{len(said)} canaries" in ran.stdout
