# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from support.postgres import Database
from support.stored import add_event

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = date(2026, 3, 1)


def candidates(*verbs: str) -> str:
    """A candidate column, best first."""
    return json.dumps([{"verb": verb, "score": 1.0, "source": "lexical"} for verb in verbs])


async def rows_of(pg: Database, view: str) -> set[tuple[Any, ...]]:
    """Everything that a view shows."""
    return {tuple(row) for row in await pg.fetch(f"SELECT * FROM agent.{view}")}


@pytest.mark.parametrize("kind", ["r", "p", "v"])
async def test_every_relation_and_column_is_explained(pg: Database, kind: str) -> None:
    """Each table, view and column has a comment, partitions made ahead of time included for their columns."""
    bare = await pg.fetch(
        """
        SELECT relname, attname FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = 'agent'::regnamespace AND relkind = $1 AND NOT relispartition
          AND relname <> 'schema_version'
          AND (col_description(pg_class.oid, attnum) IS NULL OR obj_description(pg_class.oid, 'pg_class') IS NULL)
        """,
        kind.encode(),
    )
    assert [tuple(row) for row in bare] == []


async def test_schema_and_function_are_explained(pg: Database) -> None:
    """The schema and the function have comments too."""
    assert await pg.fetchval("SELECT obj_description('agent'::regnamespace, 'pg_namespace')")
    assert await pg.fetchval("SELECT obj_description('agent.make_partitions(integer)'::regprocedure, 'pg_proc')")


async def test_every_view_has_day_synthetic_and_n(pg: Database) -> None:
    """A reviewer can pick a window and leave synthetic rows out of every view; all of them run on empty tables."""
    views = [
        row[0]
        for row in await pg.fetch(
            "SELECT viewname FROM pg_views WHERE viewname LIKE 'v_intent%' AND definition LIKE '%GROUP BY%'"
        )
    ]
    assert len(views) == 6
    for view in views:
        question = f"SELECT sum(n) FROM agent.{view} WHERE NOT synthetic AND day >= current_date - 7"
        assert await pg.fetchval(question) is None


async def test_top_clarify_verbs(pg: Database) -> None:
    """The verb is the best candidate that policy left, with its runner-up; other outcomes do not count.

    Where there is no list after policy, as without a policy step, it is the best one before it.
    """
    asked = {"outcome": "clarify_verb", "verb_candidates_pre": candidates("z.z")}
    for _ in range(2):
        await add_event(pg, NOON, **asked, verb_candidates_post=candidates("a.a", "b.b", "c.c"))
    await add_event(pg, NOON, **asked, verb_candidates_post=candidates("a.a"), synthetic=True)
    await add_event(pg, NOON, **asked)
    await add_event(pg, NOON, **asked, verb_candidates_post="[]")
    await add_event(pg, NOON, outcome="clarify_verb")
    await add_event(pg, NOON, chosen_verb_fqn="a.a", verb_candidates_post=candidates("a.a", "b.b"))
    assert await rows_of(pg, "v_intent_top_clarify_verbs") == {
        (DAY, False, "a.a", "b.b", 2),
        (DAY, True, "a.a", None, 1),
        (DAY, False, "z.z", None, 1),
        (DAY, False, None, None, 2),
    }


async def test_semreg_overrides(pg: Database) -> None:
    """A demanded verb counts when another one or none was chosen, and not when it was obeyed."""
    await add_event(pg, NOON, forced_verb_fqn="a.a", chosen_verb_fqn="b.b")
    await add_event(pg, NOON, forced_verb_fqn="a.a", outcome="no_allowed_verbs", semreg_mode="deny_all")
    await add_event(pg, NOON, forced_verb_fqn="a.a", chosen_verb_fqn="a.a")
    await add_event(pg, NOON, chosen_verb_fqn="a.a")
    assert await rows_of(pg, "v_intent_semreg_overrides") == {
        (DAY, False, "a.a", "b.b", "applied", "matched", 1),
        (DAY, False, "a.a", None, "deny_all", "no_allowed_verbs", 1),
    }


async def test_semreg_denies(pg: Database) -> None:
    """Each denied verb counts once an utterance with its own reason; a value of another shape does no harm."""
    denied = {"semreg_denied_verbs": '["a.a", "b.b", "a.a"]', "semreg_denied_reasons": '["role", "phase", "role"]'}
    await add_event(pg, NOON, **denied)
    await add_event(pg, NOON, semreg_denied_verbs='["a.a"]')
    for strange in ("{}", '"a.a"', "null", "[]"):
        await add_event(pg, NOON, semreg_denied_verbs=strange)
    assert await rows_of(pg, "v_intent_semreg_denies") == {
        (DAY, False, "a.a", "role", "applied", 1),
        (DAY, False, "b.b", "phase", "applied", 1),
        (DAY, False, "a.a", None, "applied", 1),
    }


async def test_arg_fill_failures(pg: Database) -> None:
    """Each missing argument counts once an utterance; an unrecorded one counts under null, so that none is lost."""
    await add_event(pg, NOON, chosen_verb_fqn="a.a", outcome="clarify_args", missing_args=["role", "role", "fund"])
    await add_event(pg, NOON, chosen_verb_fqn="a.a", outcome="clarify_args")
    await add_event(pg, NOON, chosen_verb_fqn="a.a", outcome="clarify_args", missing_args=[])
    await add_event(pg, NOON, chosen_verb_fqn="b.b", missing_args=["fund"])
    await add_event(pg, NOON, chosen_verb_fqn="b.b", missing_args=[])
    assert await rows_of(pg, "v_intent_arg_fill_failures") == {
        (DAY, False, "a.a", "role", "clarify_args", 1),
        (DAY, False, "a.a", "fund", "clarify_args", 1),
        (DAY, False, "a.a", None, "clarify_args", 2),
        (DAY, False, "b.b", "fund", "matched", 1),
    }


async def test_macro_denies(pg: Database) -> None:
    """Each denied verb of an expansion counts under its macro."""
    macro = {"macro_semreg_checked": True, "macro_denied_verbs": '["b.b"]'}
    await add_event(pg, NOON, **macro, chosen_verb_fqn="m.m", selection_source="macro")
    await add_event(pg, NOON, **macro, forced_verb_fqn="m.m", outcome="no_allowed_verbs")
    await add_event(pg, NOON, macro_semreg_checked=True, macro_denied_verbs="[]")
    assert await rows_of(pg, "v_intent_macro_denies") == {
        (DAY, False, "m.m", "b.b", "matched", 1),
        (DAY, False, "m.m", "b.b", "no_allowed_verbs", 1),
    }


async def test_failure_modes(pg: Database) -> None:
    """Every outcome but the fine ones is a failure mode, one that nobody has heard of too."""
    for outcome in ("matched", "scope_resolved", "awaiting_confirmation"):
        await add_event(pg, NOON, outcome=outcome)
    await add_event(pg, NOON, outcome="error", error_code="TimeoutError")
    await add_event(pg, NOON, outcome="error", error_code="TimeoutError")
    await add_event(pg, NOON, outcome="unheard_of")
    assert await rows_of(pg, "v_intent_failure_modes") == {
        (DAY, False, "error", "TimeoutError", "applied", 2),
        (DAY, False, "unheard_of", None, "applied", 1),
    }


async def test_days_are_utc(pg: Database) -> None:
    """The last millisecond of a day belongs to it, whatever the time zone of the reader."""
    await add_event(pg, datetime(2026, 2, 28, 23, 59, 59, 999000, tzinfo=UTC), outcome="error")
    await add_event(pg, datetime(2026, 3, 1, tzinfo=UTC), outcome="error")
    assert {row[0] for row in await rows_of(pg, "v_intent_failure_modes")} == {date(2026, 2, 28), DAY}
