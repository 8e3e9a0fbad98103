# SPDX-License-Identifier: Apache-2.0
"""The writer on a real Postgres: what is written is what is read, once, whoever writes it how often."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from itertools import count, pairwise
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from intent_events.errors import RetryableError
from intent_events.semconv import Record
from intent_events.store.write import REFUSED, Writer, Written
from support.postgres import Database
from support.records import follow_up, rejection, utterance, utterances

_COUNT = "SELECT count(*) FROM agent.intent_events"
_TIMEOUT_S = 20.0


@pytest.fixture
async def writer(writer_dsn: str) -> AsyncIterator[Writer]:
    """A writer with the rights of ``intent_writer`` alone."""
    writer = Writer(writer_dsn, door="exporter", timeout_s=_TIMEOUT_S)
    yield writer
    await writer.close()


async def test_every_kind_of_row_in_one_batch(pg: Database, writer: Writer) -> None:
    """One batch may hold rows of all three tables; each goes to its own."""
    rows = [
        *utterances(0, 3),
        *(follow_up(number, Record.REPLY) for number in range(10, 12)),
        follow_up(20, Record.OUTCOME),
    ]
    assert await writer.write(rows) == Written(stored=6)
    counts = await pg.fetchrow(
        "SELECT (SELECT count(*) FROM agent.intent_events) AS events,"
        " (SELECT count(*) FROM agent.chat_events) AS chats,"
        " (SELECT count(*) FROM agent.intent_outcomes) AS outcomes, (SELECT count(*) FROM agent.dead_letters) AS dead"
    )
    assert counts is not None
    assert dict(counts) == {"events": 3, "chats": 2, "outcomes": 1, "dead": 0}


async def test_retries_and_overlapping_batches_give_one_row_each(pg: Database, writer: Writer) -> None:
    """However often and in whatever pieces rows come, each is stored once, and the counts add up to what came."""
    chance = random.Random(2)  # noqa: S311 - which batches overlap, no secret
    came = stored = 0
    for _ in range(30):
        since = chance.randrange(300)
        batch = utterances(since, since + chance.randrange(1, 80))
        chance.shuffle(batch)
        written = await writer.write(batch)
        assert written.stored + written.duplicates == len(batch)
        came, stored = came + len(batch), stored + written.stored
    assert came > stored == await pg.fetchval(_COUNT)
    assert stored == await pg.fetchval("SELECT count(DISTINCT event_id) FROM agent.intent_events")


_TELLS: Final = """
CREATE TABLE public.seen (setting text);
GRANT INSERT ON public.seen TO PUBLIC;
CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON agent.intent_events FOR EACH STATEMENT EXECUTE FUNCTION public.tell()
"""


@pytest.mark.parametrize(("given", "seen"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
async def test_a_commit_that_outlives_the_server(pg: Database, writer_dsn: str, given: str, seen: str) -> None:
    """What a role has switched off for speed is on while records are stored, and what is stricter stays."""
    await pg.execute(_TELLS)
    await pg.execute(f"ALTER ROLE {urlsplit(writer_dsn).username} SET synchronous_commit = {given}")
    writer = Writer(writer_dsn, door="exporter", timeout_s=_TIMEOUT_S)
    for batch in (utterances(0, 3), utterances(2, 5)):  # straight, then through the stage
        await writer.write(batch)
    await writer.close()
    assert {row["setting"] for row in await pg.fetch("SELECT setting FROM public.seen")} == {seen}
    assert await pg.fetchval(_COUNT) == 5


async def test_the_same_row_twice_in_a_batch(pg: Database, writer: Writer) -> None:
    """A batch that holds a row twice stores it once."""
    rows = utterances(0, 50)
    assert await writer.write([*rows, *rows]) == Written(stored=50, duplicates=50)
    assert await pg.fetchval(_COUNT) == 50


async def test_the_first_writing_of_a_row_stays(pg: Database, writer: Writer) -> None:
    """A second row with the same key changes nothing: the tables are append-only."""
    await writer.write([utterance(1, outcome="matched")])
    assert await writer.write([utterance(1, outcome="error")]) == Written(duplicates=1)
    assert await pg.fetchval("SELECT outcome FROM agent.intent_events") == "matched"


async def test_two_writers_at_once_on_the_same_rows(pg: Database, writer_dsn: str) -> None:
    """Two doors that write the same rows in opposite order store each once, and neither waits for the other in vain."""
    writers = [Writer(writer_dsn, door="exporter", timeout_s=_TIMEOUT_S) for _ in range(2)]
    rows = utterances(0, 2000)
    try:
        for shift in range(0, 8000, 2000):
            batch = [utterance(shift + number) for number in range(2000)]
            forth, back = await asyncio.gather(writers[0].write(batch), writers[1].write(batch[::-1]))
            assert forth.plus(back) == Written(stored=2000, duplicates=2000)
    finally:
        for writer in writers:
            await writer.close()
    assert await pg.fetchval(_COUNT) == 4 * len(rows)


@pytest.mark.parametrize("place", [0, 7, 40, 99])
async def test_a_poison_row_costs_its_neighbours_nothing(pg: Database, writer: Writer, place: int) -> None:
    """A row that a constraint refuses becomes one dead letter with reason, fault and without its value."""
    rows = utterances(0, 100)
    other_time = utterance(50_000).ts
    canary = "canary-of-the-poisoned-row"
    rows[place] = utterance(place, ts=other_time, actor_id=canary)
    assert await writer.write(rows) == Written(stored=99, dead=1)
    assert await writer.write(rows) == Written(duplicates=99, dead=1)
    letters = await pg.fetch("SELECT * FROM agent.dead_letters")
    assert len(letters) == 1
    letter = dict(letters[0])
    assert (letter["door"], letter["reason"], letter["payload"]) == ("exporter", REFUSED, None)
    assert letter["detail"] == "CheckViolationError intent_events_ts_is_event_id"
    assert letter["dead_letter_id"] == rows[place].event_id
    assert (letter["trace_id"], letter["service_name"]) == (rows[place].trace_id, "tests")
    assert canary not in str(letter)
    assert await pg.fetchval(_COUNT) == 99


async def test_a_value_that_the_driver_cannot_send_is_a_poison_row_too(pg: Database, writer: Writer) -> None:
    """A row that breaks off the COPY while it is encoded leaves the connection and its neighbours sound."""
    beyond, wrong_type, no_text = (
        utterance(1, verb_candidates_pre_total=1 << 40),
        utterance(2, outcome=7),
        utterance(3, actor_id="lone \ud800 surrogate"),
    )
    written = await writer.write([utterance(0), beyond, wrong_type, no_text, utterance(4)])
    assert written == Written(stored=2, dead=3)
    assert await pg.fetchval(_COUNT) == 2
    assert await pg.fetchval("SELECT count(*) FROM agent.dead_letters WHERE reason = $1", REFUSED) == 3


async def test_every_row_may_be_poison(pg: Database, writer: Writer) -> None:
    """A batch of nothing but refused rows ends, and each is a dead letter."""
    other_time = utterance(50_000).ts
    rows = [utterance(number, ts=other_time) for number in range(33)]
    assert await writer.write(rows) == Written(dead=33)
    assert await pg.fetchval("SELECT count(*) FROM agent.dead_letters") == 33


async def test_rejections_become_dead_letters_once(pg: Database, writer: Writer) -> None:
    """A record that could not become a row is kept with its reason, once whatever the retries."""
    rejections = [rejection(number) for number in range(3)]
    for _ in range(2):
        assert (await writer.write([], rejections)).dead == 3
    letters = await pg.fetch("SELECT reason, detail, ts, door FROM agent.dead_letters")
    assert [dict(letter) for letter in letters] == [
        {"reason": "time_out_of_range", "detail": "utterance", "ts": None, "door": "exporter"}
    ] * 3


async def test_rejections_survive_a_poison_row_beside_them(pg: Database, writer: Writer) -> None:
    """When a batch is taken apart its rejections are written once all the same."""
    rows = utterances(0, 9)
    rows[4] = utterance(4, ts=utterance(50_000).ts)
    assert await writer.write(rows, [rejection(1), rejection(2)]) == Written(stored=8, dead=3)
    reasons = await pg.fetch("SELECT reason, count(*) AS n FROM agent.dead_letters GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in reasons] == [(REFUSED, 1), ("time_out_of_range", 2)]


async def test_a_fresh_connection_for_each_transaction(pg: Database, writer: Writer) -> None:
    """Behind a pooler each transaction may meet another server connection: the stage is made where it is missing."""
    for since, until in pairwise(range(0, 60, 10)):
        assert await writer.write(utterances(since, until)) == Written(stored=10)
        await writer.close()
    assert await pg.fetchval(_COUNT) == 50


async def test_a_connection_that_others_used_before(pg: Database, writer: Writer) -> None:
    """Behind a pooler the stage may be there already, or swept away between two transactions."""
    await writer.write(utterances(0, 10))
    connection = writer._connection  # pyright: ignore[reportPrivateUsage] - a pooler does this from outside
    assert connection is not None
    assert await writer.write(utterances(5, 15)) == Written(stored=5, duplicates=5)
    await connection.execute("DISCARD ALL")
    assert await writer.write(utterances(10, 20)) == Written(stored=5, duplicates=5)
    assert not connection.is_closed(), "the same connection served all three"
    assert await pg.fetchval(_COUNT) == 20


async def test_no_row_of_one_batch_is_left_in_the_stage_for_the_next(pg: Database, writer: Writer) -> None:
    """A batch that was refused leaves nothing on the connection that the next one would store."""
    poison = utterance(0, ts=utterance(50_000).ts)
    await writer.write([poison])
    assert await writer.write(utterances(1, 4)) == Written(stored=3)
    assert await pg.fetchval(_COUNT) == 3


class CancelledAt:
    """Awaits a coroutine and cancels its task when it waits for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], nth: int) -> None:
        self._coroutine = coroutine
        self._left = nth

    def __await__(self) -> Generator[Any, Any, object]:
        """Step through the coroutine as a task does."""
        step: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            try:
                waited_for = step()
            except StopIteration as stop:
                return stop.value
            self._left -= 1
            task = asyncio.current_task()
            if self._left == 0 and task is not None:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, None)


@pytest.mark.parametrize("after", ["nothing", "a duplicate"])
async def test_a_cancelled_write_never_claims_rows_that_are_not_there(
    pg: Database, writer_dsn: str, after: str
) -> None:
    """Wherever a write is cancelled, the next one on the same writer stores what is missing."""
    for nth in count(1):
        writer = Writer(writer_dsn, door="exporter", timeout_s=_TIMEOUT_S)
        if after == "a duplicate":
            await writer.write([utterance(0), utterance(0)])
        rows = utterances(nth * 100, nth * 100 + 20)
        stepping = CancelledAt(writer.write(rows), nth)

        async def cancelled(stepping: CancelledAt = stepping) -> None:
            await stepping

        (ended,) = await asyncio.gather(asyncio.create_task(cancelled()), return_exceptions=True)
        try:
            written = await writer.write(rows)
        except RetryableError:  # the connection was cut in the middle of a statement: once is enough
            written = await writer.write(rows)
        finally:
            await writer.close()
        ids = [row.event_id for row in rows]
        assert await pg.fetchval(f"{_COUNT} WHERE event_id = ANY($1)", ids) == 20, f"cancelled at wait {nth}"
        assert written.stored + written.duplicates == 20
        if ended is None:  # it was never cancelled: it waits less often than that
            assert nth > 3
            break
