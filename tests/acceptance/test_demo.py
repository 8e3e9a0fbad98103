# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from intent_events.demo.receiver import OtlpReceiver
from intent_events.semconv import Outcome
from support.postgres import Database


def run_demo(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"} or name.startswith("COV")}
    return subprocess.run(
        [str(Path(sys.executable).parent / "intent-events"), "demo", *arguments],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def write_lines(file: Path, lines: Sequence[dict[str, object]]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


def test_bundled_traffic_on_its_own_postgres() -> None:
    """Without any setting: every utterance is one row and one span, and every outcome label is reached."""
    done = run_demo("--format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told)[:5] == ["utterances", "rows", "otlp_intent_spans", "outcomes", "dsn"]
    assert told["utterances"] == told["rows"] == told["distinct_event_ids"] == told["otlp_intent_spans"] >= 300
    assert set(told["outcomes"]) == {outcome.value for outcome in Outcome}
    assert sum(told["outcomes"].values()) == told["utterances"]
    socket_folder = told["dsn"].partition("host=")[2].partition("&")[0]
    assert not Path(socket_folder).exists(), "its Postgres is gone"


def test_the_table_says_the_same() -> None:
    """For people: the ledger, the report and what to try next, and nothing on stderr but progress."""
    done = run_demo()
    assert done.returncode == 0, done.stderr
    for part in ("utterances handled", "Each utterance is one row and one span.", "Intent report", "What to try next"):
        assert part in done.stdout
    assert "Traceback" not in done.stderr
    assert "WARNING" not in done.stderr


async def test_other_data_in_a_database_of_ones_own(pg: Database, tmp_path: Path) -> None:
    """A registry and utterances of one's own are played; the rows stay in the database that was given."""
    registry = write_lines(
        tmp_path / "registry.jsonl",
        [
            {"verb": "light.on", "domain": "light", "phrases": ["switch on the light", "lights on please"]},
            {"verb": "door.open", "domain": "door", "phrases": ["open the door", "let me in"]},
        ],
    )
    utterances = write_lines(
        tmp_path / "utterances.jsonl",
        [
            {"utterance": "please open the door", "expected_verb": "door.open"},
            {"utterance": "lights on", "expected_verb": "light.on"},
            {"utterance": "what is the meaning of life", "expected_verb": None},
        ],
    )
    with OtlpReceiver() as backend:
        done = run_demo(
            *("--registry", str(registry), "--utterances", str(utterances), "--format", "json"),
            INTENT_EVENTS_DSN=pg.dsn,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
        )
        assert done.returncode == 0, done.stderr
        assert backend.intent_spans == 3
    told = json.loads(done.stdout)
    assert (told["utterances"], told["rows"], told["otlp_intent_spans"]) == (3, 3, 3)
    assert told["top1_accuracy"] == 1.0
    rows = await pg.fetch("SELECT synthetic, quality, utterance_preview FROM agent.intent_events")
    assert len(rows) == 3
    assert all(row["synthetic"] for row in rows)
    assert all(row["quality"] is None for row in rows)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (["--registry", "/no/such/file"], {}, 2, "/no/such/file"),
        ([], {"INTENT_EVENTS_DSN": "postgresql://u:hush-hush@127.0.0.1:1/x"}, 3, "no connection"),
        ([], {"INTENT_EVENTS_DSN": "mysql://u:hush-hush@h/x"}, 2, "INTENT_EVENTS_DSN"),
        (["--format", "xml"], {}, 2, "xml"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], variables: dict[str, str], code: int, said: str) -> None:
    """Wrong use is exit 2, a database that cannot be asked exit 3; the reason is on stderr, without a password."""
    done = run_demo(*arguments, **variables)
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "hush-hush" not in done.stderr
