# SPDX-License-Identifier: Apache-2.0
import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.leaks import nothing_left_behind
from support.postgres import run_apart

# In a process of its own: in this one, the fixture that watches every test would see the same errors.
UNSEEN = """
import asyncio, gc, sys
from support.leaks import nothing_left_behind

async def fail():
    raise KeyError("lost")

async def callback():
    asyncio.get_running_loop().call_soon({}.__getitem__, "lost")
    await asyncio.sleep(0)

async def task():
    await asyncio.wait([asyncio.create_task(fail())])

with nothing_left_behind():
    asyncio.run(globals()[sys.argv[1]]())
    gc.collect()
"""


@pytest.mark.parametrize("leak", ["callback", "task"])
def test_errors_that_only_the_loop_saw_are_seen(leak: str) -> None:
    """An exception that reaches nobody but an event loop fails the test."""
    tests = Path(__file__).parents[1]
    seen = subprocess.run([sys.executable, "-c", UNSEEN, leak], cwd=tests, check=False, capture_output=True, text=True)
    assert seen.returncode == 1
    assert "errors that nobody handled" in seen.stderr
    assert "KeyError('lost')" in seen.stderr


def test_a_thread_is_seen() -> None:
    """A thread that runs on fails the test, one that is about to end does not."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left-over")
    try:
        with pytest.raises(AssertionError, match="left-over"), nothing_left_behind(grace_s=0.01):
            thread.start()
    finally:
        stop.set()
    with nothing_left_behind():
        threading.Thread(target=sum, args=((),)).start()
    thread.join()


def test_a_process_is_seen() -> None:
    """A process that runs on, or that nobody waited for, fails the test."""
    processes: list[subprocess.Popen[bytes]] = []
    with pytest.raises(AssertionError, match="processes left"), nothing_left_behind():
        processes.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
    for process in processes:
        process.communicate()
    with nothing_left_behind():
        subprocess.run(["true"], check=True)


def test_nothing_left_is_fine() -> None:
    """Ordinary use of an event loop and of its threads leaves nothing."""
    with nothing_left_behind():
        run_apart(asyncio.to_thread(sum, ()))
