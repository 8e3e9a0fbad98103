# SPDX-License-Identifier: Apache-2.0
"""The same requests to Phoenix, an OTLP receiver with Postgres behind it, on the same server.

It answers before it has stored anything, so the clock runs until its table has every span.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import Any, Final

import asyncpg

from benchmarks.peers import PeerError, environment_of
from benchmarks.sink import requests_of, send_all
from benchmarks.workload import finished_spans

PHOENIX: Final = "20.26.1"
"""Version of ``arize-phoenix`` that is measured."""

_STARTS_S: Final = 180.0
_STORES_S: Final = 600.0
_COUNT: Final = "SELECT count(*) FROM spans"


def measure(dsn: str, n: int, rounds: int) -> list[float]:
    """Spans a second until Phoenix has stored them, for each round.

    Args:
        dsn: address of a database of its own, by TCP.
        n: spans a round.
        rounds: how often.

    Raises:
        PeerError: it cannot be set up, does not start, or does not store what it was given.
    """
    python = environment_of("phoenix", (f"arize-phoenix=={PHOENIX}", "asyncpg", "psycopg[binary]"))
    batches = [requests_of(finished_spans(n)) for _ in range(rounds + 1)]
    with _running(python, dsn) as address:
        speeds = [n / asyncio.run(_round(dsn, address, requests, n)) for requests in batches]
    return speeds[1:]


async def _round(dsn: str, address: str, requests: Sequence[bytes], n: int) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        before: int = await connection.fetchval(_COUNT)
        began = perf_counter()
        await send_all(address, requests)
        while await connection.fetchval(_COUNT) < before + n:
            if perf_counter() - began > _STORES_S:
                raise PeerError(f"Phoenix has not stored {n} spans within {_STORES_S:g} s")
            await asyncio.sleep(0.05)
        return perf_counter() - began
    finally:
        await connection.close()


@contextmanager
def _running(python: Path, dsn: str) -> Generator[str]:
    grpc_port, http_port = _free_port(), _free_port()
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
        environment = {
            **os.environ,
            "PHOENIX_SQL_DATABASE_URL": dsn,
            "PHOENIX_GRPC_PORT": str(grpc_port),
            "PHOENIX_PORT": str(http_port),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_WORKING_DIR": folder,
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        command = [str(python), "-m", "phoenix.server.main", "serve"]
        process: Any = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            deadline = monotonic() + _STARTS_S
            while not _listens(grpc_port):
                if process.poll() is not None or monotonic() > deadline:
                    log.seek(0)
                    raise PeerError(f"Phoenix does not start: {log.read()[-500:].decode(errors='replace')}")
                sleep(0.2)
            yield f"127.0.0.1:{grpc_port}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    print(measure(sys.argv[1], 2000, 3))  # noqa: T201 - to try it alone
