# SPDX-License-Identifier: Apache-2.0
"""The questions of the loss ledger on a real Postgres, against the model that its arithmetic is tested with."""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from intent_events.errors import UnavailableError
from intent_events.identity import event_id_of, milliseconds_in
from intent_events.review.reconcile import Spooled, claim_of, reconcile
from intent_events.review.windows import Window
from intent_events.store.connect import connect, disconnect
from intent_events.store.heartbeats import Heartbeat, write_heartbeat
from intent_events.store.ledger import GAPS_SHOWN, Claim, Signs, open_ledger, stored_by
from support.histories import HERE, START, STEPS, History, live
from support.postgres import Database
from support.stored import EPOCH, tampering

pytestmark = pytest.mark.postgres

WEEK = (START - timedelta(days=3), START + timedelta(days=4))

ROWS = """
INSERT INTO agent.intent_events
    (event_id, ts, session_id, actor_id, entrypoint, utterance_hash, semreg_mode, outcome, emitter_id, emitter_seq)
SELECT event_id, ts, event_id, 'a', 'chat', '00', 'applied', 'matched', $3, number
FROM unnest($1::uuid[], $2::timestamptz[], $4::bigint[], $5::int[]) AS r (event_id, ts, number, kind) WHERE kind = 0
"""
REPLIES = """
INSERT INTO agent.chat_events (event_id, ts, emitter_id, emitter_seq)
SELECT event_id, ts, $3, number
FROM unnest($1::uuid[], $2::timestamptz[], $4::bigint[], $5::int[]) AS r (event_id, ts, number, kind) WHERE kind = 1
"""
OUTCOMES = """
INSERT INTO agent.intent_outcomes (event_id, ts, kind, emitter_id, emitter_seq)
SELECT event_id, ts, 'picked', $3, number
FROM unnest($1::uuid[], $2::timestamptz[], $4::bigint[], $5::int[]) AS r (event_id, ts, number, kind) WHERE kind = 2
"""
LETTER = """
INSERT INTO agent.dead_letters (dead_letter_id, received_at, ts, door, reason, emitter_id, emitter_seq)
VALUES ($1, $2, $2, 'exporter', 'row_refused', $3, $4)
"""


async def put(pg: Database, *histories: History) -> None:
    """Store what processes left behind: rows over the three tables, dead letters, heartbeats."""
    connection = await asyncpg.connect(pg.dsn)
    for history in histories:
        keys: list[UUID] = []
        for place, (_, at) in enumerate(history.rows):
            nanoseconds = ((at - EPOCH) // timedelta(microseconds=1)) * 1000
            keys.append(event_id_of(history.emitter.int, place + 1, nanoseconds))
        times = [EPOCH + timedelta(milliseconds=milliseconds_in(key)) for key in keys]
        kinds = [(number or 0) % 3 for number, _ in history.rows]
        for statement in (ROWS, REPLIES, OUTCOMES):
            numbers = [number for number, _ in history.rows]
            await connection.execute(statement, keys, times, history.emitter, numbers, kinds)
        for number, at in history.letters:
            await connection.execute(LETTER, uuid4(), at, history.emitter, number)
        for beat in history.beats:
            await write_heartbeat(connection, heartbeat(history.emitter, **beat._asdict()), timeout_s=30)
        received = [(beat.received_at, history.emitter, beat.beat) for beat in history.beats]
        update = "UPDATE agent.emitters SET received_at = $1 WHERE emitter_id = $2 AND beat = $3"
        await connection.execute("SET session_replication_role = replica")
        await connection.executemany(update, received)
        await connection.execute("RESET session_replication_role")
    await connection.close()


def heartbeat(emitter: UUID, **fields: object) -> Heartbeat:
    """A heartbeat of a process that has done nothing yet, but for what is given."""
    empty = Heartbeat(emitter, 1, START, START, None, None, None, None, 0, 0, 0, 0, {}, 0)
    return empty._replace(**{name: value for name, value in fields.items() if name in Heartbeat._fields})


@pytest.mark.parametrize("seed", range(6))
async def test_the_ledger_tells_what_the_model_says(pg: Database, seed: int) -> None:
    """For random lives, windows and spools the answers in SQL are those of the model, emitter by emitter."""
    chance = random.Random(seed)  # noqa: S311 - a test's choice
    histories: list[History] = []
    for place in range(8):
        steps = [(chance.choice(STEPS), chance.randrange(10_000)) for _ in range(chance.randrange(60))]
        host = chance.choice([HERE, "elsewhere"])
        told = chance.choice([None, None, 0, 2])
        history = live(steps, killed=chance.random() < 0.5, host=host, emitter=UUID(int=place + 1), told=told)
        history.lose(chance.randrange(60) for _ in range(chance.randrange(6)))
        histories.append(history)
    await put(pg, *histories)
    begin = chance.randrange(-60, 60)
    for since, until in (WEEK, (START + timedelta(minutes=begin), START + timedelta(minutes=begin + 45))):
        async with open_ledger(pg.dsn) as ledger:
            signs = await ledger.signs(since, until, [history.emitter for history in histories])
            assert signs == [history.signs(since, until) for history in histories]
            claims = [
                claim_of(sign, history.spooled(), history.true_time)
                for sign, history in zip(signs, histories, strict=True)
            ]
            tallies = await ledger.tallies(claims)
            assert tallies == {
                claim.emitter_id: history.tally(claim) for claim, history in zip(claims, histories, strict=True)
            }
            assert await ledger.tallies([]) == {}


async def test_only_emitters_of_the_window_are_told_of(pg: Database) -> None:
    """An emitter without a row, dead letter or heartbeat in the window is left out unless it is asked for."""
    old, young = live([("emit", 0), ("store", 0)], killed=True, emitter=UUID(int=1)), History(UUID(int=2))
    young.wait(86_400)
    young.emit()
    young.store(0)
    await put(pg, old, young)
    async with open_ledger(pg.dsn) as ledger:
        edges = START + timedelta(hours=12), START + timedelta(days=2)
        assert [sign.emitter_id for sign in await ledger.signs(*edges)] == [young.emitter]
        also = await ledger.signs(*edges, [old.emitter, UUID(int=3)])
        assert [sign.emitter_id for sign in also] == [old.emitter, young.emitter, UUID(int=3)]
        assert also[2] == Signs(UUID(int=3))


async def test_gaps_are_bounded_and_counted(pg: Database) -> None:
    """However many ranges are missing, twenty are told, and how many there are; numbers may be as large as they get."""
    history = History()
    for _ in range(101):
        history.emit()
        history.store(0)
    history.lose(range(2, 101, 2))
    await put(pg, history)
    most = (1 << 63) - 2
    async with open_ledger(pg.dsn) as ledger:
        claim = Claim(history.emitter, 0, 101, 101)
        tally = (await ledger.tallies([claim]))[history.emitter]
        assert (tally.overdue, tally.gap_ranges, len(tally.gaps)) == (50, 50, GAPS_SHOWN)
        assert tally.gaps[:2] == ((2, 2), (4, 4))
        huge = (await ledger.tallies([claim._replace(top=most, due=most, spooled=[(200, most)])]))[history.emitter]
        assert (huge.open, huge.spooled) == (50 + 98, most - 199)


async def test_rows_far_from_the_window_are_found_before_anything_is_called_missing(pg: Database) -> None:
    """A number whose row bears a time of long ago is accounted for: a clock that stepped is no loss."""
    history = History()
    history.beat()
    for step in range(4):
        history.clock = timedelta(days=-400 if step == 1 else 0)
        history.emit()
        history.store(0)
    history.clock = timedelta()
    history.wait(60)
    history.beat()
    await put(pg, history)
    window = Window(since=START, until=START + timedelta(hours=1))
    ledger = await reconcile(pg.dsn, window, history.spooled)
    assert (ledger.total.emitted, ledger.total.stored, ledger.total.missing) == (4, 4, 0)
    await pg.execute(tampering("DELETE FROM agent.intent_outcomes WHERE emitter_seq = 2"))
    ledger = await reconcile(pg.dsn, window, history.spooled)
    assert (ledger.total.stored, ledger.total.missing, ledger.emitters[0].gaps) == (3, 1, ((2, 2),))


async def test_a_record_on_its_way_is_no_loss(pg: Database) -> None:
    """What was recorded after the first look at the spool is found by the second, before it is called missing."""
    history = live([("beat", 0), *[("emit", 0)] * 4, ("store", 3), ("beat", 0), ("beat", 0)], killed=True)
    await put(pg, history)
    window = Window(since=START, until=START + timedelta(hours=1))
    looks = iter([Spooled(HERE), history.spooled()])
    ledger = await reconcile(pg.dsn, window, lambda: next(looks))
    assert (ledger.total.stored, ledger.total.spooled, ledger.total.missing) == (1, 3, 0)
    ledger = await reconcile(pg.dsn, window, lambda: Spooled(HERE))
    assert (ledger.total.missing, ledger.emitters[0].gaps) == (3, ((1, 3),))


async def test_everything_is_asked_of_one_snapshot(pg: Database) -> None:
    """What is stored after the first question is not seen by the second."""
    history = live([("emit", 0), ("store", 0), ("beat", 0)], killed=True)
    async with open_ledger(pg.dsn) as ledger:
        assert await ledger.signs(*WEEK) == []
        await put(pg, history)
        assert await ledger.signs(*WEEK) == []


async def test_a_heartbeat_needs_insert_only_and_is_stored_once(pg: Database, writer_dsn: str) -> None:
    """The writer's role stores a heartbeat; the same beat again changes nothing, and odd texts are mended."""
    connection = await connect(writer_dsn, timeout_s=30)
    emitter = uuid4()
    beat = heartbeat(emitter, host="a\x00b", service_name="\ud800", emitted=7, dropped={"disk_full": 2, "\x00": 1})
    beat = beat._replace(dropped_numbers={"disk_full": [(2, 2), (4, 6)], "spool_full": []})
    await write_heartbeat(connection, beat, timeout_s=30)
    await write_heartbeat(connection, beat._replace(emitted=8), timeout_s=30)
    await disconnect(connection)
    [row] = await pg.fetch("SELECT * FROM agent.emitters")
    assert (row["emitter_id"], row["beat"], row["emitted"], row["host"], row["pid"]) == (emitter, 1, 7, "ab", None)
    assert row["dropped"] == '{"?": 1, "disk_full": 2, "disk_full 2 4-6": 0}'
    assert row["service_name"] == "?"
    assert row["at"] == row["started_at"] == START
    assert row["received_at"] > START


@pytest.mark.parametrize("table", ["intent_events", "chat_events", "intent_outcomes", "dead_letters", "emitters"])
async def test_a_missing_table_is_could_not_ask(pg: Database, table: str) -> None:
    """Without one of the tables the ledger says that it could not ask, and what to run."""
    await pg.execute(f"DROP TABLE agent.{table} CASCADE")
    with pytest.raises(UnavailableError, match="intent-events migrate"):
        async with open_ledger(pg.dsn) as ledger:
            await ledger.signs(*WEEK)


async def test_rows_of_one_process_are_counted(pg: Database) -> None:
    """stored_by counts the utterances of one process."""
    history = live([("emit", 0), ("emit", 0), ("emit", 0), *[("store", 0)] * 3], killed=True)
    await put(pg, history)
    assert await stored_by(pg.dsn, str(history.emitter)) == (1, 1)
