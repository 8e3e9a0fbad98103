# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from intent_events.demo.receiver import OtlpReceiver
from intent_events.semconv import Outcome
from support.postgres import Database

CLINC150: Final = os.environ.get("INTENT_EVENTS_TEST_CLINC150", "")
LEDGER: Final = ["utterances", "rows", "otlp_intent_spans", "outcomes", "dsn"]


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


@cache
def bundled() -> subprocess.CompletedProcess[str]:
    """The demo without any setting, for a program: what is said is the same each time."""
    return run_demo("--format", "json")


def assert_rates(told: Mapping[str, Any], outcomes: Mapping[str, int]) -> None:
    """The shares of those who were asked back and of those who got nothing are those of these outcomes."""
    n = sum(outcomes.values())
    assert told["utterances"] == n
    asked_back = outcomes.get("clarify_verb", 0) + outcomes.get("clarify_args", 0)
    assert told["clarify_rate"] == pytest.approx(asked_back / n)
    assert told["no_match_rate"] == pytest.approx(outcomes.get("no_match", 0) / n)


def test_bundled_traffic_on_its_own_postgres() -> None:
    """Without any setting: every utterance is one row and one span, and every outcome label is reached."""
    done = bundled()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told) == [*LEDGER, "distinct_event_ids", "top1_accuracy", "clarify_rate", "no_match_rate"]
    assert told["utterances"] == told["rows"] == told["distinct_event_ids"] == told["otlp_intent_spans"] >= 300
    assert set(told["outcomes"]) == {outcome.value for outcome in Outcome}
    assert_rates(told, told["outcomes"])
    socket_folder = told["dsn"].partition("host=")[2].partition("&")[0]
    assert not Path(socket_folder).exists(), "its Postgres is gone"


def test_the_table_says_the_same() -> None:
    """For people: the ledger, how good it was, the report and what to try next; on stderr nothing but progress."""
    done = run_demo()
    assert done.returncode == 0, done.stderr
    for part in ("utterances handled", "Each utterance is one row and one span.", "Intent report", "What to try next"):
        assert part in done.stdout
    assert "Traceback" not in done.stderr
    assert "WARNING" not in done.stderr
    told = json.loads(bundled().stdout)
    rates = f"asked back: {told['clarify_rate']:.1%} · no match: {told['no_match_rate']:.1%}"
    quality = rf"Best candidate is the verb meant: (\d+) of (\d+) \({told['top1_accuracy']:.1%}\) · {rates}"
    found = re.search(quality, " ".join(done.stdout.split()))
    assert found is not None, done.stdout
    hit, meant = map(int, found.groups())
    assert hit / meant == pytest.approx(told["top1_accuracy"])


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
    assert told["outcomes"] == {"matched": 2, "no_match": 1}
    assert_rates(told, told["outcomes"])
    rows = await pg.fetch("SELECT synthetic, quality, utterance_preview FROM agent.intent_events")
    assert len(rows) == 3
    assert all(row["synthetic"] for row in rows)
    assert all(row["quality"] is None for row in rows)


_AS_TAKEN: Final = """
SELECT event_id, outcome, coalesce(forced_verb_fqn, chosen_verb_fqn, verb_candidates_pre -> 0 ->> 'verb') AS best
FROM agent.intent_events ORDER BY emitter_seq
"""


@pytest.mark.skipif(
    not CLINC150, reason="no CLINC150: set INTENT_EVENTS_TEST_CLINC150 to a folder with it in JSON lines"
)
async def test_3200_real_sentences(pg: Database) -> None:
    """Each of CLINC150 is one row, one key and one span; what is said of their quality is what the rows say."""
    folder = Path(CLINC150)
    lines = (folder / "utterances.jsonl").read_text("utf-8").splitlines()
    meant = [json.loads(line)["expected_verb"] for line in lines]
    with OtlpReceiver() as backend:
        done = run_demo(
            *("--registry", str(folder / "registry.jsonl"), "--utterances", str(folder / "utterances.jsonl")),
            *("--format", "json"),
            INTENT_EVENTS_DSN=pg.dsn,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.endpoint,
        )
        assert done.returncode == 0, done.stderr
        assert backend.intent_spans == 3200
    told = json.loads(done.stdout)
    assert [told[name] for name in ("utterances", "rows", "distinct_event_ids", "otlp_intent_spans")] == [3200] * 4
    rows = await pg.fetch(_AS_TAKEN)
    assert len(rows) == len({row["event_id"] for row in rows}) == len(lines) == 3200
    outcomes = Counter(row["outcome"] for row in rows)
    assert told["outcomes"] == outcomes
    assert_rates(told, outcomes)
    # Rows are in the order in which the utterances were said.
    hits = [row["best"] == verb for row, verb in zip(rows, meant, strict=True) if verb is not None]
    assert len(hits) == 3000
    assert told["top1_accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert told["top1_accuracy"] > 0.8, "of 150 verbs that one"


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
