# SPDX-License-Identifier: Apache-2.0
"""The writer when Postgres is away, not ready or unwilling: it says so, keeps secrets, and works again afterwards."""

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.errors import IntentEventsError, RetryableError, SettingsError
from intent_events.store.write import Writer, Written
from support.outages import frozen
from support.postgres import Database, address
from support.records import utterances

_COUNT: Final = "SELECT count(*) FROM agent.intent_events"


@pytest.fixture
async def writer(writer_dsn: str) -> AsyncIterator[Writer]:
    """A writer with the rights of ``intent_writer`` alone."""
    writer = Writer(writer_dsn, door="exporter", timeout_s=20.0)
    yield writer
    await writer.close()


@pytest.mark.parametrize("connected", [False, True], ids=["unconnected", "connected"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("ALTER TABLE agent.intent_outcomes RENAME TO lost", "intent-events migrate"),
        ("ALTER TABLE agent.intent_events RENAME TO lost", "intent-events migrate"),
        ("ALTER SCHEMA agent RENAME TO lost", "intent-events migrate"),
        ("ALTER TABLE agent.intent_events RENAME COLUMN outcome TO lost", "outcome"),
        ("REVOKE INSERT ON agent.intent_events FROM intent_writer", "permission denied for table intent_events"),
        ("REVOKE USAGE ON SCHEMA agent FROM intent_writer", "permission denied for schema agent"),
    ],
)
async def test_a_database_that_is_not_ready(
    pg: Database, writer: Writer, damage: str, says: str, *, connected: bool
) -> None:
    """A table, column or permission that is missing is said by its name; the same writer works once it is back."""
    if connected:
        assert await writer.write(utterances(0, 5)) == Written(stored=5)
    await pg.execute(damage)
    if connected and "intent_outcomes" in damage:  # of no use to this batch, and a connection looks once
        assert await writer.write(utterances(5, 10)) == Written(stored=5)
        return
    for _ in range(2):
        with pytest.raises(RetryableError, match=says):
            await writer.write(utterances(0, 10))
    await pg.execute(MENDING[damage])
    expected = Written(stored=5, duplicates=5) if connected else Written(stored=10)
    assert await writer.write(utterances(0, 10)) == expected
    assert await pg.fetchval(_COUNT) == 10


MENDING: Final = {
    "ALTER TABLE agent.intent_outcomes RENAME TO lost": "ALTER TABLE agent.lost RENAME TO intent_outcomes",
    "ALTER TABLE agent.intent_events RENAME TO lost": "ALTER TABLE agent.lost RENAME TO intent_events",
    "ALTER SCHEMA agent RENAME TO lost": "ALTER SCHEMA lost RENAME TO agent",
    "ALTER TABLE agent.intent_events RENAME COLUMN outcome TO lost": (
        "ALTER TABLE agent.intent_events RENAME COLUMN lost TO outcome"
    ),
    "REVOKE INSERT ON agent.intent_events FROM intent_writer": "GRANT INSERT ON agent.intent_events TO intent_writer",
    "REVOKE USAGE ON SCHEMA agent FROM intent_writer": "GRANT USAGE ON SCHEMA agent TO intent_writer",
}


async def test_a_column_that_a_newer_version_made_is_left_alone(pg: Database, writer: Writer) -> None:
    """A table with more columns than this version knows takes its rows, so that migrating before upgrading is safe."""
    await pg.execute("ALTER TABLE agent.intent_events ADD COLUMN of_the_future text DEFAULT 'later'")
    assert await writer.write(utterances(0, 3)) == Written(stored=3)
    assert await pg.fetchval("SELECT count(*) FROM agent.intent_events WHERE of_the_future = 'later'") == 3


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_server_that_went_away(own_server: EmbeddedPostgres, end: str) -> None:
    """A server that is stopped or killed is a retryable error, and the same writer works once it is back."""
    writer = Writer(own_server.dsn(user="writer"), door="exporter", timeout_s=20.0)
    assert await writer.write(utterances(0, 5)) == Written(stored=5)
    own_server.stop_server() if end == "stop" else own_server.kill_server()
    for _ in range(2):
        with pytest.raises(RetryableError, match=r"is it running|broke the connection off"):
            await writer.write(utterances(0, 10))
    own_server.start_server()
    assert await writer.write(utterances(0, 10)) == Written(stored=5, duplicates=5)
    await writer.close()


async def test_a_connection_that_the_server_ended(pg: Database, writer: Writer) -> None:
    """A connection that an administrator or a pooler ended costs at most one retry."""
    await writer.write(utterances(0, 5))
    await pg.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'intent-events'")
    try:
        written = await writer.write(utterances(0, 10))
    except RetryableError:  # the writer had not heard of it yet
        written = await writer.write(utterances(0, 10))
    assert written == Written(stored=5, duplicates=5)


@pytest.mark.parametrize("connected", [False, True], ids=["unconnected", "connected"])
async def test_a_server_that_does_not_answer(own_server: EmbeddedPostgres, *, connected: bool) -> None:
    """A server that is stopped in its tracks is a retryable error once the time is up, and nothing waits beyond it."""
    writer = Writer(own_server.dsn(user="writer"), door="exporter", timeout_s=1.0)
    if connected:
        await writer.write(utterances(0, 5))
    with frozen(own_server):
        for _ in range(2):
            with pytest.raises(RetryableError, match=r"within 1 s"):
                await writer.write(utterances(0, 10))
    written = await until_written(writer)
    assert written.stored + written.duplicates == 10
    await writer.close()
    assert await Database(own_server.dsn()).fetchval(_COUNT) == 10


async def test_a_lock_that_somebody_holds(pg: Database, writer_dsn: str) -> None:
    """A table that is locked for longer than the time that a statement may take is a retryable error."""
    writer = Writer(writer_dsn, door="exporter", timeout_s=0.5)
    other = await asyncpg.connect(pg.dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE agent.intent_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(RetryableError, match=r"no answer within 0\.5 s"):
            await writer.write(utterances(0, 10))
    await other.close()
    assert await until_written(writer) == Written(stored=10)
    await writer.close()


async def until_written(writer: Writer) -> Written:
    """Try again as an exporter does; a server that has just come back may need a moment more than the writer gives."""
    for _ in range(20):
        try:
            return await writer.write(utterances(0, 10))
        except RetryableError:  # not quite back
            continue
    return await writer.write(utterances(0, 10))


HIDDEN: Final = "pa55-of-the-tests"


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://writer:{HIDDEN}@127.0.0.1:1/nowhere",
        f"postgresql://writer:{HIDDEN}@host.invalid/nowhere",
        f"postgresql://writer:{HIDDEN}@127.0.0.1:port/nowhere",
        f"postgresql://writer:{HIDDEN}@127.0.0.1:1/nowhere?sslmode=bogus",
        f"postgresql://writer:{HIDDEN}/#@127.0.0.1:1/nowhere",
        f"postgresql://writer:x@{HIDDEN}@127.0.0.1/nowhere",
        f"mysql://writer:{HIDDEN}@127.0.0.1/nowhere",
        f"postgresql:///nowhere?user=writer&password={HIDDEN}&host=/nowhere/at/all",
        f"host=/nowhere password={HIDDEN}",
    ],
)
async def test_no_error_holds_a_password(dsn: str) -> None:
    """However an address is wrong, no error, and nothing that is chained to it, repeats the password."""
    writer = Writer(dsn, door="exporter", timeout_s=5.0)
    with pytest.raises((RetryableError, SettingsError)) as raised:
        await writer.write(utterances(0, 1))
    assert_hidden(raised.value)


async def test_a_refused_password_is_not_repeated(own_server: EmbeddedPostgres) -> None:
    """A password that the server refuses stays out of the error; the error names the remedy."""
    rules = own_server.data_dir / "pg_hba.conf"
    rules.write_text("local all writer scram-sha-256\nlocal all postgres trust\n")
    database = Database(own_server.dsn())
    await database.execute("ALTER ROLE writer PASSWORD 'another'")
    await database.execute("SELECT pg_reload_conf()")
    writer = Writer(address(own_server.dsn(), user="writer", password=HIDDEN), door="exporter", timeout_s=20.0)
    with pytest.raises(RetryableError, match="refused this user or password") as raised:
        await writer.write(utterances(0, 1))
    assert_hidden(raised.value)


def assert_hidden(error: BaseException) -> None:
    """Neither the error nor what it is chained to holds the password."""
    assert isinstance(error, IntentEventsError)
    chain: BaseException | None = error
    while chain is not None:
        assert HIDDEN not in f"{chain} {chain!r} {chain.args}"
        chain = chain.__cause__ or chain.__context__


async def test_a_partition_that_is_being_attached(pg: Database, writer: Writer) -> None:
    """A refusal by no CHECK of ours, as while a partition is attached, costs no row: the batch is tried again."""
    await pg.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'violates partition constraint' USING ERRCODE = 'check_violation'; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON agent.intent_events FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(RetryableError, match="partitions"):
        await writer.write(utterances(0, 3))
    await pg.execute("DROP TRIGGER refuse ON agent.intent_events")
    assert await writer.write(utterances(0, 3)) == Written(stored=3)
    assert await pg.fetchval("SELECT count(*) FROM agent.dead_letters") == 0
