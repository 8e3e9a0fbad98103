# SPDX-License-Identifier: Apache-2.0
"""Exactly one row per call, for every outcome and every way out of a handler, from the call to a real Postgres."""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import asyncpg
import pytest

from intent_events import Candidate, IntentTrace, Outcome, current_trace, record_utterance, recording, stage
from support.postgres import Database
from support.records import Door, door

_ROWS: Final = "SELECT * FROM agent.intent_events ORDER BY emitter_seq"


@pytest.fixture
def opened(writer_dsn: str) -> Iterator[Door]:
    """The door that records go through, with the rights of ``intent_writer`` alone."""
    with door(writer_dsn, timeout_s=60.0) as opened:
        yield opened


class LedgerClosedError(Exception):
    """A failure of the orchestrator's own."""


def fill(outcome: str) -> IntentTrace:
    """What an orchestrator records on its way."""
    trace = current_trace()
    trace.outcome = outcome
    trace.verb_candidates_pre = [Candidate("cbu.create", 0.75, "lexical"), Candidate("cbu.close", 0.25, "lexical")]
    trace.verb_candidates_post = trace.verb_candidates_pre[:1]
    trace.chosen_verb_fqn = "cbu.create" if outcome == Outcome.MATCHED else None
    trace.semreg_mode = "applied"
    return trace


@record_utterance
def plain(utterance: str, outcome: str) -> IntentTrace:
    """A plain function."""
    return fill(outcome) if utterance else IntentTrace()


@record_utterance
async def asynchronous(utterance: str, outcome: str) -> IntentTrace:
    """A coroutine function."""
    await asyncio.sleep(0)
    return fill(outcome) if utterance else IntentTrace()


@record_utterance
def steps(utterance: str, outcome: str) -> Generator[str, None, IntentTrace]:
    """A generator function."""
    yield utterance
    trace = fill(outcome)
    yield "done"
    return trace


@record_utterance
async def asynchronous_steps(utterance: str, outcome: str) -> AsyncGenerator[str, None]:
    """An asynchronous generator function."""
    yield utterance
    fill(outcome)
    yield "done"


def in_a_block(utterance: str, outcome: str) -> IntentTrace:
    """A context manager."""
    with recording(utterance, session_id="s") as trace:
        fill(outcome)
    return trace


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_every_outcome_of_every_kind_of_handler(pg: Database, opened: Door, outcome: Outcome) -> None:
    """Whatever the outcome is and whatever kind the handler is of, a call leaves one row that says so."""
    plain("one", outcome)
    await asynchronous("two", outcome)
    assert list(steps("three", outcome)) == ["three", "done"]
    assert [item async for item in asynchronous_steps("four", outcome)] == ["four", "done"]
    in_a_block("five", outcome)
    opened.flush()
    rows = await pg.fetch(_ROWS)
    assert [row["outcome"] for row in rows] == [outcome.value] * 5
    assert len({row["event_id"] for row in rows}) == len({row["utterance_hash"] for row in rows}) == 5
    assert {row["chosen_verb_fqn"] for row in rows} == {"cbu.create" if outcome is Outcome.MATCHED else None}
    assert [row["emitter_seq"] for row in rows] == list(range(rows[0]["emitter_seq"], rows[0]["emitter_seq"] + 5))
    assert opened.counted() == {"stored": 5}


@record_utterance
async def failing(utterance: str) -> None:
    """Fail with what was said in the message."""
    await asyncio.sleep(0)
    raise LedgerClosedError(utterance)


@record_utterance
def failing_plainly(utterance: str) -> None:
    """Fail with what was said in the message."""
    raise LedgerClosedError(utterance)


@record_utterance
async def endless(utterance: str, began: asyncio.Event) -> None:
    """Wait for what never comes."""
    began.set()
    await asyncio.Event().wait()
    raise AssertionError(utterance)


@record_utterance
async def impatient(utterance: str) -> None:
    """Give oneself no time."""
    async with asyncio.timeout(0):
        await asyncio.Event().wait()
    raise AssertionError(utterance)


@record_utterance
async def failing_steps(utterance: str) -> AsyncGenerator[str, None]:
    """Fail between two items."""
    yield utterance
    raise LedgerClosedError(utterance)


@record_utterance
async def nested(utterance: str, depth: int) -> IntentTrace:
    """Call oneself, and other handlers, while handling."""
    if depth:
        with stage("discover"):
            await nested(utterance, depth - 1)
        with suppress(LedgerClosedError):
            await failing(utterance)
        plain(utterance, "no_match")
    return fill("matched")


@record_utterance
def given_a_future(utterance: str, pool: ThreadPoolExecutor) -> "Future[str]":
    """Hand the work to a thread and give out its future."""
    return pool.submit(utterance.upper)


async def returns() -> None:
    """Return nothing at all, and what was never filled."""
    plain("", "matched")


async def raises() -> None:
    """Raise, from either kind of handler."""
    for _ in range(2):
        with pytest.raises(LedgerClosedError, match="canary"):
            await failing("canary")
    with pytest.raises(LedgerClosedError, match="canary"):
        failing_plainly("canary")
    with pytest.raises(LedgerClosedError), recording("canary"):
        raise LedgerClosedError


async def is_cancelled() -> None:
    """Cancel the task in which a handler waits."""
    began = asyncio.Event()
    task = asyncio.create_task(endless("one", began))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def wait_until_it_began(utterance: str) -> None:
    """Give a handler time until it has begun, and no longer."""
    began = asyncio.Event()
    async with asyncio.timeout(None) as bound:
        asyncio.create_task(began.wait()).add_done_callback(lambda _: bound.reschedule(0))
        await endless(utterance, began)


async def is_out_of_time() -> None:
    """Let the caller's time run out, and the handler's own."""
    with pytest.raises(TimeoutError):
        await wait_until_it_began("one")
    with pytest.raises(TimeoutError):
        await impatient("two")


async def is_left_by_its_reader() -> None:
    """Leave streams after the first item: closed, broken off, dropped, and never begun."""
    for stream in (steps("one", "matched"), steps("two", "matched")):
        assert next(stream) in {"one", "two"}
        stream.close()
    dropped = steps("three", "matched")
    next(dropped)
    del dropped
    gc.collect()
    never_begun = steps("of which the handler saw nothing", "matched")
    del never_begun
    stream = asynchronous_steps("four", "matched")
    async for _ in stream:
        break
    await stream.aclose()


async def fails_between_items() -> None:
    """Raise in the middle of a stream."""
    with pytest.raises(LedgerClosedError):
        async for _ in failing_steps("one"):
            pass


async def is_thrown_into() -> None:
    """Throw into a stream that does not catch."""
    stream = steps("one", "matched")
    next(stream)
    with pytest.raises(LedgerClosedError):
        stream.throw(LedgerClosedError())


async def calls_itself() -> None:
    """Call handlers from a handler, three deep."""
    await nested("one", 3)


async def runs_in_threads() -> None:
    """Handle in many threads at once."""
    threads = [threading.Thread(target=plain, args=(f"in thread {number}", "matched")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def runs_in_tasks() -> None:
    """Handle in many tasks at once."""
    await asyncio.gather(*(asynchronous(f"in task {number}", "matched") for number in range(50)))


async def gives_a_future() -> None:
    """End when the future that it gave out is done."""
    with ThreadPoolExecutor(1) as pool:
        assert given_a_future("one", pool).result() == "ONE"


_FAILED: Final = ("error", f"{LedgerClosedError.__module__}.LedgerClosedError")

EXITS: Final[dict[Callable[[], Awaitable[None]], list[tuple[str, str | None]]]] = {
    returns: [("unknown", None)],
    raises: [_FAILED] * 4,
    is_cancelled: [("cancelled", None)],
    is_out_of_time: [("cancelled", None), ("error", "TimeoutError")],
    is_left_by_its_reader: [("cancelled", None)] * 4,
    fails_between_items: [_FAILED],
    is_thrown_into: [_FAILED],
    calls_itself: [("matched", None)],
    runs_in_threads: [("matched", None)] * 20,
    runs_in_tasks: [("matched", None)] * 50,
    gives_a_future: [("unknown", None)],
}
"""Ways out of a handler, and the outcome and error code of each row that they leave."""


@pytest.mark.parametrize(("exit_", "expected"), EXITS.items(), ids=[exit_.__name__ for exit_ in EXITS])
async def test_every_exit_leaves_one_row(
    pg: Database, opened: Door, exit_: Callable[[], Awaitable[None]], expected: list[tuple[str, str | None]]
) -> None:
    """However a call ends, it leaves one row with its outcome and the type of its failure, never the message."""
    await exit_()
    opened.flush()
    rows = await pg.fetch(_ROWS)
    assert [(row["outcome"], row["error_code"]) for row in rows] == expected
    assert len({row["event_id"] for row in rows}) == len(expected)
    assert all(row["duration_ms"] >= 0 and row["trace_sampled"] for row in rows)
    assert "canary" not in str([dict(row) for row in rows])
    assert opened.counted() == {"stored": len(expected)}


async def test_a_question_and_its_answer_are_chained(pg: Database, opened: Door) -> None:
    """The utterance that follows a question in a session refers to it; one of another session does not."""

    @record_utterance
    async def converse(utterance: str, session_id: str) -> IntentTrace:
        await asyncio.sleep(0)
        return fill("clarify_verb" if session_id and utterance.endswith("?") else "matched")

    question = await converse("which one?", "a")
    await converse("of another", "b")
    answer = await converse("the first", "a")
    await converse("something else", "a")
    opened.flush()
    rows = await pg.fetch("SELECT event_id, parent_event_id FROM agent.intent_events WHERE parent_event_id IS NOT NULL")
    assert [tuple(row) for row in rows] == [(answer.event_id, question.event_id)]


_KILL: Final = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'intent-events'"


async def test_one_row_each_under_load_with_a_server_that_drops_connections(pg: Database, writer_dsn: str) -> None:
    """Connections that break in the middle of it cost no record and double none."""
    with door(writer_dsn, timeout_s=60.0) as opened:
        killer = await asyncpg.connect(pg.dsn)
        killed = 0
        for _ in range(5):
            flusher = threading.Thread(target=opened.flush)
            await asyncio.gather(*(asynchronous("one", "matched") for _ in range(100)))
            killed += await killer.fetchval(_KILL)
            flusher.start()
            for _ in range(3):
                killed += await killer.fetchval(_KILL)
            flusher.join()
        assert killed > 3
        await killer.close()
        assert len(opened.results) == 5
        counts = opened.counted()
    assert counts["stored"] + counts.get("duplicate", 0) == 500
    rows: list[Any] = await pg.fetch("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM agent.intent_events")
    assert tuple(rows[0]) == (500, 500)
