# SPDX-License-Identifier: Apache-2.0
"""The exporter in processes that fork and end."""

import json

import pytest

from support.postgres import Database
from support.processes import APPS, run_app
from support.records import HASH_KEY

# Python 3.12 and later warn of every fork of a process with threads, which is what these tests are about.
QUIET_FORK = {"PYTHONWARNINGS": "default,ignore::DeprecationWarning"}


@pytest.mark.parametrize("end", ["exit", "_exit"])
async def test_parent_and_child_of_a_fork_both_deliver(pg: Database, writer_dsn: str, end: str) -> None:
    """A fork in the middle costs nothing: one row each, and the child leaves the parent's connection alone."""
    await pg.execute("ALTER TABLE agent.intent_events ADD COLUMN backend integer DEFAULT pg_backend_pid()")
    ran = run_app(str(APPS / "forking.py"), end, env={"INTENT_EVENTS_DSN": writer_dsn, **QUIET_FORK})
    assert ran.returncode == 0, ran.stderr
    child, parent = (json.loads(line) for line in ran.stdout.splitlines())
    assert (child["name"], child["results"]) == ("child", ["SUCCESS"])
    # One is left: the end by which others wake the event loop. The connection ends with the parent.
    assert child["inherited"] <= 1
    assert (parent["name"], parent["results"]) == ("parent", ["SUCCESS", "SUCCESS"])
    rows = await pg.fetch(
        "SELECT event_id::text, emitter_id, emitter_seq, backend FROM agent.intent_events ORDER BY ts"
    )
    before, in_child, after = rows
    assert [row["event_id"] for row in rows] == [parent["events"][0], child["events"][0], parent["events"][1]]
    assert before["emitter_id"] == after["emitter_id"] != in_child["emitter_id"]
    assert [row["emitter_seq"] for row in rows] == [1, 1, 2]
    assert before["backend"] == after["backend"] != in_child["backend"]
    assert ran.stderr == "", "neither process complains"


async def test_no_thread_can_be_started_at_the_end(pg: Database, writer_dsn: str) -> None:
    """A first export while the interpreter ends stores its row on the thread that it is called on."""
    env = {"INTENT_EVENTS_DSN": writer_dsn, "INTENT_EVENTS_HASH_KEY": HASH_KEY}
    ran = run_app(str(APPS / "threadless.py"), env=env)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert await pg.fetchval("SELECT count(*) FROM agent.intent_events") == 1


def test_a_fork_in_the_middle_of_an_utterance() -> None:
    """A child handles utterances whatever the parent's other threads held at the moment of the fork."""
    ran = run_app(str(APPS / "forking.py"), "busy", env=QUIET_FORK)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "40", "")
