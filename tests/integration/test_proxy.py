# SPDX-License-Identifier: Apache-2.0
import asyncio
import gc
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from support.postgres import Database
from support.proxy import COMMIT, Fault, Proxy
from support.waiting import until, until_async

BROKEN = (asyncpg.PostgresConnectionError, ConnectionError)
"""What a client sees of a connection that broke under a statement."""

ROWS = [(n, "x" * 100) for n in range(5_000)]


@pytest.fixture
def proxy(pg: Database) -> Iterator[Proxy]:
    pg.execute_now("CREATE TABLE public.kept (n int, t text)")
    with Proxy(pg.dsn) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncGenerator[asyncpg.Connection]:
    """A client that says no goodbye: it may be broken by then."""
    connection = await asyncpg.connect(proxy.dsn, timeout=30)
    try:
        yield connection
    finally:
        connection.terminate()


async def backends(pg: Database) -> int:
    """Clients that the server knows of, besides the one that asks."""
    return await pg.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def nobody_left(pg: Database) -> bool:
    return await backends(pg) == 0


async def copy(connection: asyncpg.Connection) -> None:
    await connection.copy_records_to_table("kept", records=ROWS)


def plain_client(proxy: Proxy) -> socket.socket:
    """A client of the bare socket, which has not said a word."""
    client = socket.create_connection(("127.0.0.1", urlsplit(proxy.dsn).port or 0), timeout=30)
    until(lambda: proxy.open, "the proxy took the connection")
    return client


@pytest.mark.parametrize("hops", [1, 2])
async def test_everything_passes(pg: Database, proxy: Proxy, hops: int) -> None:
    """Without a fault nothing is changed, whether the server's socket is of the file system or TCP."""
    with Proxy(proxy.dsn if hops == 2 else pg.dsn) as first:
        async with connected(first) as one, connected(first) as other:
            await copy(one)
            assert await other.fetch("SELECT * FROM kept ORDER BY n") == ROWS
            with pytest.raises(asyncpg.UndefinedTableError):
                await other.execute("SELECT 1 FROM missing")
            assert first.open == first.connections == 2
            assert first.bytes_to_server > len(ROWS) * 100
        assert first.faults == {}
        await until_async(lambda: nobody_left(pg), "the server saw both clients leave")


async def test_a_client_is_refused_encryption(proxy: Proxy) -> None:
    """A client that would rather encrypt goes on without: the proxy has to read what it says."""
    connection = await asyncpg.connect(proxy.dsn.replace("sslmode=disable", "sslmode=prefer"))
    proxy.cut_on(COMMIT, forward=False)
    with pytest.raises(BROKEN):
        await connection.execute("COMMIT")


@pytest.mark.parametrize("target", ["postgresql://127.0.0.1:1/none", "postgresql:///none?host=/nowhere"])
async def test_a_server_that_is_not_there_closes_the_connection(target: str) -> None:
    """A client finds its connection closed when nothing is behind the proxy."""
    with Proxy(target) as nowhere:
        with pytest.raises(BROKEN):
            await asyncpg.connect(nowhere.dsn, user="nobody", timeout=30)
        assert nowhere.connections == 1


async def test_cut(pg: Database, proxy: Proxy) -> None:
    """All that are open are closed on both sides, under a statement too; a new one works."""
    async with connected(proxy) as idle, connected(proxy) as busy:
        statement = asyncio.create_task(busy.execute("SELECT pg_sleep(600)"))
        await until_async(lambda: is_sleeping(pg), "the statement runs")
        proxy.cut()
        with pytest.raises(BROKEN):
            await statement
        await until_async(lambda: is_closed(idle), "the idle client saw it")
        assert proxy.open == 0
        assert proxy.faults == {Fault.CUT: 2}
        await pg.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'")
    async with connected(proxy) as again:
        assert await again.fetchval("SELECT 1") == 1


async def is_sleeping(pg: Database) -> bool:
    return await pg.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") > 0


async def is_closed(connection: asyncpg.Connection) -> bool:
    return connection.is_closed()


def test_cut_is_orderly_and_reset_is_not(proxy: Proxy) -> None:
    """A cut is the end of the stream, a reset an error of the connection."""
    with plain_client(proxy) as client:
        proxy.cut()
        assert client.recv(1) == b""
    with plain_client(proxy) as client:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


async def test_reset(pg: Database, proxy: Proxy) -> None:
    """A statement under way fails, the server sees its client gone, and a new connection works."""
    async with connected(proxy) as connection:
        await connection.execute("BEGIN; INSERT INTO kept VALUES (1)")
        statement = asyncio.create_task(connection.execute("SELECT pg_sleep(1)"))
        await until_async(lambda: is_sleeping(pg), "the statement runs")
        proxy.reset()
        with pytest.raises(BROKEN):
            await statement
    assert proxy.faults == {Fault.RESET: 1}
    await until_async(lambda: nobody_left(pg), "the server saw its client gone")
    async with connected(proxy) as again:
        assert await again.fetchval("SELECT count(*) FROM kept") == 0


async def test_stall(pg: Database, proxy: Proxy) -> None:
    """Nothing passes, not even of new connections, until it is resumed; then nothing is missing."""
    async with connected(proxy) as connection:
        await connection.execute("SELECT 1")
        proxy.stall()
        sent = proxy.bytes_to_server
        statement = asyncio.create_task(connection.execute("INSERT INTO kept VALUES (1)"))
        newcomer = asyncio.create_task(asyncpg.connect(proxy.dsn, timeout=60))
        await until_async(lambda: met(proxy, Fault.STALL, 2), "both had something to say")
        assert proxy.bytes_to_server == sent
        assert await pg.fetchval("SELECT count(*) FROM kept") == 0
        assert not statement.done()
        assert not newcomer.done()
        proxy.resume()
        await statement
        await (await newcomer).close()
    assert await pg.fetchval("SELECT count(*) FROM kept") == 1


async def test_a_stall_holds_what_is_under_way(proxy: Proxy) -> None:
    """A COPY that is stalled in its middle goes on where it was."""
    async with connected(proxy) as connection:
        proxy.slow(200_000)
        copying = asyncio.create_task(copy(connection))
        await until_async(lambda: met(proxy, Fault.SLOW), "the COPY is under way")
        proxy.stall()
        sent = proxy.bytes_to_server
        await until_async(lambda: met(proxy, Fault.STALL), "it is held")
        assert proxy.bytes_to_server == sent
        assert not copying.done()
        proxy.resume()
        await copying
        assert await connection.fetchval("SELECT count(*) FROM kept") == len(ROWS)


async def met(proxy: Proxy, fault: Fault, n: int = 1) -> bool:
    return proxy.faults[fault] >= n


async def test_a_time_out_of_the_client_is_met(proxy: Proxy) -> None:
    """A client that waits with a bound gives up while the proxy is stalled."""
    async with connected(proxy) as connection:
        proxy.stall()
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT 1", timeout=0.2)
        assert proxy.faults[Fault.STALL] >= 1


async def test_slow(proxy: Proxy) -> None:
    """Bytes pass a few at a time, and all of them arrive once it is resumed."""
    async with connected(proxy) as connection:
        proxy.slow(1_000)
        answer = asyncio.create_task(connection.fetchval("SELECT repeat('x', 1000000)"))
        await until_async(lambda: met(proxy, Fault.SLOW), "bytes pass")
        assert not answer.done()
        proxy.resume()
        assert await answer == "x" * 1_000_000
        assert proxy.faults == {Fault.SLOW: 1}


async def test_half_open(pg: Database, proxy: Proxy) -> None:
    """The server sees its client gone, the client sees nothing at all; a new connection works."""
    async with connected(proxy) as connection:
        await connection.execute("SELECT 1")
        proxy.half_open()
        await until_async(lambda: nobody_left(pg), "the server saw its client gone")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.create_task(answer_of(connection))), 0.3)
        assert not connection.is_closed()
        assert proxy.faults == {Fault.HALF_OPEN: 1}
        assert proxy.open == 0
        async with connected(proxy) as again:
            assert await again.fetchval("SELECT 1") == 1


async def answer_of(connection: asyncpg.Connection) -> str | None:
    try:
        return await connection.execute("SELECT 1")
    except BROKEN:  # the test is over and ends the connection
        return None


async def test_refuse_and_accept(proxy: Proxy) -> None:
    """New connections are refused and old ones go on, until they are taken again at the same address."""
    address = proxy.dsn
    async with connected(proxy) as old:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(address, timeout=30)
        assert await old.fetchval("SELECT 1") == 1
        proxy.accept()
        assert proxy.dsn == address
        async with connected(proxy) as new:
            assert await new.fetchval("SELECT 1") == 1
    assert proxy.connections == 2


@pytest.mark.parametrize("n_bytes", [1, 1_000, 300_000])
async def test_cut_after(pg: Database, proxy: Proxy, n_bytes: int) -> None:
    """A COPY is cut at the very byte, wherever messages begin and end; nothing of it is stored, and the next one is."""
    async with connected(proxy) as connection:
        await connection.fetch("SELECT * FROM kept")
        sent = proxy.bytes_to_server
        proxy.cut_after(n_bytes)
        with pytest.raises(BROKEN):
            await copy(connection)
    assert proxy.bytes_to_server == sent + n_bytes
    assert proxy.faults == {Fault.CUT_AFTER: 1}
    await until_async(lambda: nobody_left(pg), "the server saw its client gone")
    assert await pg.fetchval("SELECT count(*) FROM kept") == 0
    async with connected(proxy) as again:
        await copy(again)
    assert await pg.fetchval("SELECT count(*) FROM kept") == len(ROWS)


@pytest.mark.parametrize("forward", [False, True])
async def test_cut_on_commit(pg: Database, proxy: Proxy, forward: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The client hears of no answer in either case; the row is there exactly when the server got the COMMIT."""
    proxy.cut_on(COMMIT, forward=forward)
    async with connected(proxy) as connection:
        await connection.execute("BEGIN")
        await connection.execute("CREATE TEMP TABLE stage (n int) ON COMMIT DELETE ROWS")
        await connection.execute("INSERT INTO kept VALUES (1)")
        assert proxy.faults == {}
        with pytest.raises(BROKEN):
            await connection.execute("COMMIT")
    assert proxy.faults == {Fault.CUT_ON: 1}
    await until_async(lambda: nobody_left(pg), "the server saw its client gone")
    assert await pg.fetchval("SELECT count(*) FROM kept") == int(forward)
    async with connected(proxy) as again:
        await again.execute("BEGIN")
        await again.execute("COMMIT")


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("pattern", [b"INSERT INTO kept", b"needle"])
@pytest.mark.parametrize("cache", [0, 100])
async def test_cut_on_a_statement_with_arguments(
    pg: Database,
    proxy: Proxy,
    pattern: bytes,
    cache: int,
    forward: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A statement is found by its text or by a value, when it runs and not when it is prepared, however long ago."""
    connection = await asyncpg.connect(proxy.dsn, statement_cache_size=cache)
    await connection.execute("INSERT INTO kept VALUES ($1, $2)", 1, "hay")
    proxy.cut_on(pattern, forward=forward)
    with pytest.raises(BROKEN):
        await connection.execute("INSERT INTO kept VALUES ($1, $2)", 2, "needle")
    connection.terminate()
    assert proxy.faults == {Fault.CUT_ON: 1}
    await until_async(lambda: nobody_left(pg), "the server saw its client gone")
    assert await pg.fetchval("SELECT max(n) FROM kept") == 1 + forward


async def test_the_whole_answer_is_waited_for(pg: Database, proxy: Proxy) -> None:
    """The work of a forwarded statement is done by the time the client is cut, however much is said before."""
    proxy.cut_on(b"RAISE NOTICE", forward=True)
    async with connected(proxy) as connection:
        with pytest.raises(BROKEN):
            await connection.execute(
                "DO $$ BEGIN RAISE NOTICE 'soon'; PERFORM pg_sleep(0.5); INSERT INTO kept VALUES (1); END $$"
            )
        assert await pg.fetchval("SELECT count(*) FROM kept") == 1


async def test_cut_on_copied_data(pg: Database, proxy: Proxy) -> None:
    """A value in the data of a COPY is found, too, and happens once."""
    proxy.cut_on(b"needle", forward=False)
    async with connected(proxy) as connection:
        with pytest.raises(BROKEN):
            await connection.copy_records_to_table("kept", records=[*ROWS, (1, "needle")])
    async with connected(proxy) as again:
        await again.copy_records_to_table("kept", records=[(1, "needle")])
    assert proxy.faults == {Fault.CUT_ON: 1}
    assert await pg.fetchval("SELECT count(*) FROM kept") == 1


async def test_nothing_is_left(pg: Database) -> None:
    """The end of the block ends thread, tasks and sockets, whatever is open, held or under way."""
    before = set(threading.enumerate())
    with Proxy(pg.dsn) as proxy:
        stalled = await asyncpg.connect(proxy.dsn)
        proxy.half_open()
        cut = await asyncpg.connect(proxy.dsn)
        proxy.stall()
        statement = asyncio.create_task(cut.execute("SELECT 1"))
        await until_async(lambda: met(proxy, Fault.STALL), "a byte is held")
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) <= before
    gc.collect()  # a task or a socket that is left complains now, which fails the test
    with pytest.raises(BROKEN):
        await statement
    await until_async(lambda: is_closed(stalled), "the half-open client saw the end")
    await until_async(lambda: nobody_left(pg), "the server saw its clients gone")
