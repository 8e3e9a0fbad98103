# SPDX-License-Identifier: Apache-2.0
"""Runs the host: ``python -m host LOG``. Each line of its standard input is a command, answered by a line of JSON.

``say N [SCOPE]`` and ``talk RATE``, ``hush``, ``watch``, ``flush SECONDS``, ``report``; ``end HOW`` ends it, and is
not answered.
"""

import asyncio
import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from host.desk import Users
from host.log import Log
from host.telemetry import Telemetry
from support.priority import first


async def serve(log: Path) -> None:
    """Obey until told to end, or until nobody is left to tell."""
    if os.environ.get("HOST_FIRST"):
        first()
    users, telemetry, notes = Users(log), Telemetry(), Log(log)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    watch = asyncio.create_task(users.watch())
    answer({"ready": os.getpid()})
    try:
        while line := (await commands.readline()).decode().split():
            match line:
                case ["say", n, *scope]:
                    await users.say(int(n), *scope)
                case ["talk", rate]:
                    users.talk(float(rate))
                case ["hush"]:
                    await users.hush()
                case ["watch"]:
                    await users.begin_anew()
                case ["flush", timeout_s]:
                    flushed = await asyncio.to_thread(telemetry.flush, float(timeout_s))
                    notes.told(telemetry.counted())
                    answer({"flushed": flushed})
                    continue
                case ["end", how]:
                    await end(how, users)
                    return
                case _:
                    answer({**users.numbers(), "threads": threading.active_count(), **telemetry.counted()})
                    continue
            answer({"handled": users.handled})
    finally:
        users.stop()
        watch.cancel()
        pipe.close()


async def end(how: str, users: Users) -> None:
    """End in this way; by itself when there is nothing more to do."""
    match how:
        case "_exit":
            os._exit(0)
        case "sys.exit":
            sys.exit(3)
        case "raise":
            raise RuntimeError("a failure of the host's own")
        case "open":
            await users.leave_open()
        case _:
            assert how == "return"


def answer(said: dict[str, Any]) -> None:
    """Answer a command."""
    with suppress(BrokenPipeError):  # whoever asked is gone
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
