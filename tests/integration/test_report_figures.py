# SPDX-License-Identifier: Apache-2.0
"""Every figure of the report against a naive count over the same random rows."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import pytest

from intent_events.identity import event_id_of, milliseconds_in
from intent_events.review.report import FINE, KINDS, report
from intent_events.review.report_model import Report
from intent_events.review.windows import Window
from intent_events.semconv import Outcome
from support.postgres import Database

Keys = tuple[str | None, ...]
Record = dict[str, Any]

UNTIL = datetime(2026, 11, 23, tzinfo=UTC)
WINDOW = Window(since=UNTIL - timedelta(days=7), until=UNTIL)
VERBS = ["cbu.create", "cbu.assign-role", "kyc.open-case", "entité.rename", "[b]odd|verb[/b]", "\x1b[31mred"]
LABELS = [*Outcome, "unknown", "invented_tomorrow"]
FLAGS = ["session_id_derived", "value_cut", "outcome_unknown"]
FOLLOW_UPS = [("executed", None), ("execution_failed", "DslError"), ("execution_failed", None), ("picked", None)]


def seeded(seed: int) -> Random:
    """The same rows in every run."""
    return Random(seed)  # noqa: S311 - test data, no secret


def utterance(random: Random, at: datetime, **given: Any) -> Record:
    """A row of ``agent.intent_events`` that begins at a moment, random where nothing is given."""
    event_id = event_id_of(random.getrandbits(128), random.getrandbits(64), int(at.timestamp() * 1000) * 1_000_000)
    return {
        "event_id": str(event_id),
        "ts": datetime.fromtimestamp(milliseconds_in(event_id) / 1000, UTC).isoformat(),
        "schema_version": 1,
        "session_id": str(event_id),
        "actor_id": "someone",
        "entrypoint": "chat",
        "utterance_hash": "00",
        "synthetic": random.random() < 0.2,
        "scope": random.choice([None, "emea", "apac"]),
        "outcome": random.choice(LABELS),
        "error_code": random.choice([None, None, "KeyError", "TimeoutError"]),
        "semreg_mode": random.choice(["applied", "applied", "deny_all", "unavailable"]),
        "chosen_verb_fqn": random.choice([None, *VERBS]),
        "forced_verb_fqn": random.choice([None, None, *VERBS]),
        "prompt_version": random.choice([None, "v1", "v2"]),
        "verb_candidates_pre": random.choice([None, [], [{"verb": v} for v in few(random, VERBS)]]),
        "verb_candidates_post": random.choice(
            [None, [], *([{"verb": v} for v in few(random, VERBS)] for _ in range(4))]
        ),
        "semreg_denied_verbs": random.choice([None, [], few(random, VERBS), few(random, VERBS), "no list"]),
        "semreg_denied_reasons": random.choice([None, few(random, ["closed", "role"])]),
        "macro_semreg_checked": random.random() < 0.2,
        "macro_denied_verbs": random.choice([None, None, [], few(random, VERBS)]),
        "missing_args": random.choice([None, None, [], few(random, ["role", "date"])]),
        "quality": random.choice([None, [], few(random, FLAGS)]),
        **given,
    }


def few(random: Random, items: Sequence[str]) -> list[str]:
    """One to three items, of which some may be the same."""
    return random.choices(items, k=random.randint(1, 3))


def follow_up(random: Random, of: str | None, at: datetime, kind: str, error: str | None) -> Record:
    """A row of ``agent.intent_outcomes``."""
    event_id = event_id_of(random.getrandbits(128), random.getrandbits(64), int(at.timestamp() * 1000) * 1_000_000)
    return {
        "event_id": str(event_id),
        "ts": datetime.fromtimestamp(milliseconds_in(event_id) / 1000, UTC).isoformat(),
        "intent_event_id": of,
        "schema_version": 1,
        "synthetic": False,
        "kind": kind,
        "error_code": error,
    }


async def store(pg: Database, table: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Put rows into a table as they are."""
    await pg.execute(
        f"INSERT INTO agent.{table} SELECT * FROM jsonb_populate_recordset(NULL::agent.{table}, $1::jsonb)",
        json.dumps(list(records)),
    )


def traffic(random: Random) -> tuple[list[Record], list[Record]]:
    """Utterances in and around the window, and follow-ups of them, of missing ones and of nothing."""
    rows: list[Record] = []
    followed: list[Record] = []
    for _ in range(400):
        at = WINDOW.since + timedelta(seconds=random.uniform(-86_400, 8 * 86_400))
        row = utterance(random, at)
        rows.append(row)
        for kind, error in random.choices(FOLLOW_UPS, k=random.choice([0, 0, 1, 3])):
            later = at + timedelta(seconds=random.uniform(0, 10 * 86_400))
            followed.append(follow_up(random, row["event_id"], later, kind, error))
    lost = utterance(random, WINDOW.since + timedelta(days=1))["event_id"]
    followed += [follow_up(random, of, WINDOW.since + timedelta(days=2), "executed", None) for of in (lost, lost, None)]
    return rows, followed


def rows_of(counts: Counter[Keys], n: int, top: int, names: Sequence[str]) -> dict[str, Any]:
    """A section as the report should give it: by count, then by keys with None last."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], [(key is None, key or "") for key in item[0]]))
    return {
        "n": n,
        "rows": [
            {**dict(zip(names, keys, strict=True)), "n": count, "share": count / n} for keys, count in ordered[:top]
        ],
        "beyond": {"rows": len(ordered[top:]), "n": sum(count for _, count in ordered[top:])},
    }


def listed(row: Record, column: str) -> list[str]:
    """The items of a list column; what is no list has none."""
    value = row[column]
    return cast("list[str]", value) if isinstance(value, list) else []


def expected(
    rows: list[Record], followed: list[Record], *, scope: str | None, synthetic: bool, top: int
) -> dict[str, Any]:
    """The report of the window, counted the long way."""
    asked = [
        row
        for row in rows
        if WINDOW.since <= datetime.fromisoformat(row["ts"]) < WINDOW.until and scope in (None, row["scope"])
    ]
    counted = [row for row in asked if synthetic or not row["synthetic"]]
    by_id = {row["event_id"]: row for row in counted}
    modes: Counter[Keys] = Counter()
    hottest: Counter[Keys] = Counter()
    clarify: Counter[Keys] = Counter()
    overrides: Counter[Keys] = Counter()
    lists: dict[str, Counter[Keys]] = {name: Counter() for name in ("denies", "macros", "missing", "quality")}
    for row in counted:
        chosen, forced = row["chosen_verb_fqn"], row["forced_verb_fqn"]
        if row["outcome"] not in FINE:
            modes[row["outcome"], row["error_code"], row["semreg_mode"]] += 1
        if chosen is not None:
            hottest[(chosen,)] += 1
        candidates: list[dict[str, str]] = row["verb_candidates_post"] or []
        verbs = [candidate["verb"] for candidate in candidates]
        if row["outcome"] == "clarify_verb":
            found = row["verb_candidates_pre"] if row["verb_candidates_post"] is None else candidates
            asked_about = [candidate["verb"] for candidate in found or ()]
            clarify[(*asked_about, None)[0], (*asked_about, None, None)[1] if asked_about else None] += 1
        if forced is not None and forced != chosen:
            overrides[forced, chosen] += 1
        reasons = listed(row, "semreg_denied_reasons")
        denied = listed(row, "semreg_denied_verbs")
        lists["denies"].update({(verb, reasons[at] if at < len(reasons) else None) for at, verb in enumerate(denied)})
        macro = chosen or forced or next(iter(verbs), None)
        lists["macros"].update({(macro, verb) for verb in listed(row, "macro_denied_verbs")})
        missing = listed(row, "missing_args") or ([None] if row["outcome"] == "clarify_args" else [])
        lists["missing"].update({(chosen, argument) for argument in missing})
        lists["quality"].update({(flag,) for flag in listed(row, "quality")})
    after = {(f["intent_event_id"], f["kind"], f["error_code"]) for f in followed if f["intent_event_id"] in by_id}
    outcomes = Counter(row["outcome"] for row in counted)
    everything = {row["event_id"] for row in rows}
    return {
        "n": len(counted),
        "outcomes": dict(sorted(outcomes.items(), key=lambda item: (-item[1], item[0]))),
        "rates": rates_of(outcomes),
        "scope": scope,
        "reader_scopes": None,
        "synthetic_included": sum(row["synthetic"] for row in asked) if synthetic else None,
        "left_out": {
            "synthetic": 0 if synthetic else sum(row["synthetic"] for row in asked),
            "orphans": len({f["intent_event_id"] for f in followed} - everything - {None}),
        },
        "unknown_outcomes": sum(row["outcome"] not in set(Outcome) for row in counted),
        "semreg_modes": dict(
            sorted(Counter(row["semreg_mode"] for row in counted).items(), key=lambda item: (-item[1], item[0]))
        ),
        "failure_modes": rows_of(modes, modes.total(), top, ("outcome", "error_code", "semreg_mode")),
        "hottest_verbs": rows_of(hottest, hottest.total(), top, ("verb",)),
        "clarify_verbs": rows_of(clarify, clarify.total(), top, ("verb", "runner_up")),
        "semreg_denies": rows_of(
            lists["denies"], sum(bool(listed(row, "semreg_denied_verbs")) for row in counted), top, ("verb", "reason")
        ),
        "semreg_overrides": rows_of(
            overrides,
            sum(row["forced_verb_fqn"] is not None for row in counted),
            top,
            ("forced_verb", "chosen_verb"),
        ),
        "macro_denies": rows_of(
            lists["macros"],
            sum(row["macro_semreg_checked"] or bool(listed(row, "macro_denied_verbs")) for row in counted),
            top,
            ("macro", "verb"),
        ),
        "missing_args": rows_of(
            lists["missing"],
            sum(row["outcome"] == "clarify_args" or bool(listed(row, "missing_args")) for row in counted),
            top,
            ("verb", "argument"),
        ),
        "prompt_versions": [version(counted, after, name) for name in versions(counted)],
        "follow_ups": rows_of(
            Counter((kind, error) for _, kind, error in after),
            len({of for of, _, _ in after}),
            top,
            ("kind", "error_code"),
        ),
        "quality": rows_of(lists["quality"], len(counted), top, ("flag",)),
    }


def versions(counted: list[Record]) -> list[str | None]:
    """Prompt versions, most frequent first."""
    counts = Counter(row["prompt_version"] for row in counted)
    return sorted(counts, key=lambda name: (-counts[name], name is None, name or ""))


def version(counted: list[Record], after: set[tuple[str, str, str | None]], name: str | None) -> dict[str, Any]:
    """One prompt version, counted the long way."""
    own = [row for row in counted if row["prompt_version"] == name]
    ids = {row["event_id"] for row in own}
    return {
        "prompt_version": name,
        "n": len(own),
        "rates": rates_of(Counter(row["outcome"] for row in own)),
        **{
            wanted: len({of for of, kind, _ in after if of in ids and kind == wanted})
            for wanted in ("picked", "executed", "execution_failed")
        },
    }


def rates_of(outcomes: Counter[str]) -> dict[str, float]:
    """Rates, counted the long way."""
    n = outcomes.total()
    rates = {rate: sum(outcomes[label] for label in labels) / n for rate, labels in KINDS.items()}
    return {
        **rates,
        "other": sum(c for label, c in outcomes.items() if not any(label in k for k in KINDS.values())) / n,
    }


@pytest.mark.parametrize("seed", range(3))
async def test_every_figure_is_the_naive_count(pg: Database, seed: int) -> None:
    """Whatever rows there are, every figure equals the naive count, for every filter and limit."""
    random = seeded(seed)
    rows, followed = traffic(random)
    await store(pg, "intent_events", rows)
    await store(pg, "intent_outcomes", followed)
    for scope, synthetic, top in ((None, False, 10), (None, True, 3), ("emea", False, 1), ("apac", True, 10_000)):
        got = (await report(pg.dsn, WINDOW, scope=scope, synthetic=synthetic, top=top)).model_dump()
        del got["window"]
        want = expected(rows, followed, scope=scope, synthetic=synthetic, top=top)
        for name in ("prompt_versions", "rates"):
            assert flat(got.pop(name)) == pytest.approx(flat(want.pop(name)))
        assert plain(got) == plain(want)


def plain(value: Any) -> Any:
    """The same with lists for tuples, so that the two can be compared."""
    return json.loads(json.dumps(value))


def flat(value: Any) -> dict[str, Any]:
    """Nested figures by path, for an approximate comparison."""
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
    elif isinstance(value, (list, tuple)):
        inner = {str(at): item for at, item in enumerate(cast("Sequence[Any]", value))}
    else:
        return {"": value}
    return {f"{key}.{path}": leaf for key, item in inner.items() for path, leaf in flat(item).items()}


async def asked(pg: Database, since: datetime, until: datetime) -> Report:
    """The report of a window without any filter."""
    return await report(pg.dsn, Window(since=since, until=until), synthetic=True)


async def test_the_first_moment_counts_and_the_last_does_not(pg: Database) -> None:
    """A row at ``since`` is in the window, one at ``until`` is in the next; their follow-ups go with them."""
    random = seeded(1)
    since, until, ms = WINDOW.since, WINDOW.until, timedelta(milliseconds=1)
    rows = [utterance(random, at, outcome="matched") for at in (since - ms, since, until - ms, until)]
    await store(pg, "intent_events", rows)
    await store(pg, "intent_outcomes", [follow_up(random, row["event_id"], until, "executed", None) for row in rows])
    for first, last, n in (
        (since, until, 2),
        (since - ms, until + ms, 4),
        (until, until + ms, 1),
        (since + ms, until, 1),
    ):
        got = await asked(pg, first, last)
        assert (got.n, got.follow_ups.n, got.left_out.orphans) == (n, n, 0)


async def test_a_report_agrees_with_the_views(pg: Database) -> None:
    """The views for people who write SQL count the same failure modes and clarified verbs as the report."""
    random = seeded(2)
    rows = [utterance(random, WINDOW.since + timedelta(minutes=at)) for at in range(200)]
    await store(pg, "intent_events", rows)
    got = await report(pg.dsn, WINDOW, top=1000)
    modes = await pg.fetch(
        "SELECT outcome, error_code, semreg_mode, sum(n)::int FROM agent.v_intent_failure_modes"
        " WHERE NOT synthetic GROUP BY 1, 2, 3"
    )
    assert {tuple(row) for row in modes} == {
        (row.outcome, row.error_code, row.semreg_mode, row.n) for row in got.failure_modes.rows
    }
    verbs = await pg.fetch(
        "SELECT verb_fqn, runner_up_verb_fqn, sum(n)::int FROM agent.v_intent_top_clarify_verbs"
        " WHERE NOT synthetic GROUP BY 1, 2"
    )
    assert {tuple(row) for row in verbs} == {(row.verb, row.runner_up, row.n) for row in got.clarify_verbs.rows}
