# SPDX-License-Identifier: Apache-2.0
"""The handlers, and the users who speak to them from tasks and threads at once."""

import asyncio
import gc
import os
import threading
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from time import monotonic, perf_counter_ns
from typing import Final

from host.log import Log
from intent_events import Candidate, IntentTrace, current_trace

TASKS: Final = 2
THREADS: Final = 2
_FOUND: Final = [Candidate("account.open", 2.0, "word"), Candidate("account.close", 1.0, "word")]
_TICK_S: Final = 0.001
_MOMENT_S: Final = 0.1
_FOR_EVER_S: Final = 3_600


@dataclass
class Answer:
    """What the user is told, how it came to be, and what it would have taken without being recorded."""

    text: str
    trace: IntentTrace
    alone_ns: int


class Desk:
    """Handles utterances."""

    async def handle(self, utterance: str, scope: str) -> Answer:
        """Handle one utterance in a task, which others interrupt."""
        began = perf_counter_ns()
        await asyncio.sleep(0)
        return _answered(utterance, scope, began)

    def handle_now(self, utterance: str, scope: str) -> Answer:
        """Handle one utterance in a thread."""
        return _answered(utterance, scope, perf_counter_ns())

    async def linger(self, utterance: str) -> str:
        """Come to no end, in a task."""
        await asyncio.sleep(_FOR_EVER_S)
        return utterance

    def linger_now(self, utterance: str) -> str:
        """Come to no end, in a thread."""
        time.sleep(_FOR_EVER_S)
        return utterance

    def part(self, utterance: str, scope: str) -> tuple[Answer, int]:
        """Fork in the middle of an utterance, which both processes handle to its end; the process of the child."""
        child = os.fork()
        return _answered(utterance, scope, perf_counter_ns()), child


def _answered(utterance: str, scope: str, began: int) -> Answer:
    trace = current_trace()
    trace.outcome, trace.chosen_verb_fqn = "matched", "account.open"
    trace.semreg_mode, trace.scope = "applied", scope
    trace.verb_candidates_pre = trace.verb_candidates_post = _FOUND
    return Answer(f"said {utterance}", trace, perf_counter_ns() - began)


class Users:
    """Speak to a desk, and write down each utterance that was handled, with what being recorded cost."""

    def __init__(self, log: Path) -> None:
        self._desk = Desk()
        self._log = Log(log)
        self._quiet = threading.Event()
        self._talking: list[asyncio.Task[None]] = []
        self._costs: list[int] = []
        self._late_s = array("f")
        self.handled = 0

    async def say(self, n: int, scope: str = "book") -> None:
        """Say so many things as fast as it goes; a share in each task and thread."""
        speakers = TASKS + THREADS
        shares = [n // speakers + (place < n % speakers) for place in range(speakers)]
        await self._speak(shares, 0.0, scope)

    def talk(self, rate: float) -> None:
        """Begin to say so many things a second, all together; 0 is as fast as it goes."""
        speakers = TASKS + THREADS
        pause_s = speakers / rate if rate else 0.0
        self._quiet.clear()
        self._talking.append(asyncio.create_task(self._speak([1 << 60] * speakers, pause_s, "book")))

    async def hush(self) -> None:
        """End what :meth:`talk` began."""
        self._quiet.set()
        await asyncio.gather(*self._talking)
        self._talking.clear()
        self._quiet.clear()

    def stop(self) -> None:
        """Let no thread speak on."""
        self._quiet.set()

    async def leave_open(self) -> None:
        """Begin an utterance in a task and one in a thread, of which neither comes to its end."""
        self._talking.append(asyncio.create_task(self._linger()))
        threading.Thread(target=self._desk.linger_now, args=("hm",), daemon=True).start()
        await asyncio.sleep(_MOMENT_S)

    def part(self) -> int:
        """Fork in the middle of an utterance, and handle it to its end on both sides."""
        answer, child = self._desk.part("let us part", "book")
        self._note(answer)
        return child

    async def watch(self) -> None:
        """Note how late the event loop is with what is due every millisecond."""
        due = monotonic()
        while True:
            due += _TICK_S
            await asyncio.sleep(max(due - monotonic(), 0.0))
            now = monotonic()
            self._late_s.append(now - due)
            due = now

    async def begin_anew(self) -> None:
        """Forget how late the loop was, and let the garbage collector pass over all that is there already.

        To look through the modules of a process takes it 20 to 30 ms, whoever made the object that was one too many.
        """
        gc.collect()
        gc.freeze()
        await asyncio.sleep(_MOMENT_S)
        del self._late_s[:]

    def numbers(self) -> dict[str, float]:
        """What being recorded cost a handler, in microseconds, and how late the loop was, in milliseconds."""
        costs, late_s = list(self._costs), list(self._late_s)
        parts, late = (quantiles(of if len(of) > 1 else [0, 0], n=1000) for of in (costs, late_s))
        worst_ms = max(late_s, default=0.0) * 1e3
        return {
            "p50_us": parts[499] / 1e3,
            "p99_us": parts[989] / 1e3,
            "late_ms": late[998] * 1e3,
            "worst_ms": worst_ms,
        }

    async def _speak(self, shares: list[int], pause_s: float, scope: str) -> None:
        in_threads = [asyncio.to_thread(self._in_thread, share, pause_s, scope) for share in shares[:THREADS]]
        in_tasks = [self._in_task(share, pause_s, scope) for share in shares[THREADS:]]
        await asyncio.gather(*in_threads, *in_tasks)

    async def _in_task(self, share: int, pause_s: float, scope: str) -> None:
        due = monotonic()
        for number in range(share):
            if self._quiet.is_set():
                return
            began = perf_counter_ns()
            self._note(await self._desk.handle(f"open account {number}", scope), began)
            due += pause_s
            await asyncio.sleep(max(due - monotonic(), 0.0))

    def _in_thread(self, share: int, pause_s: float, scope: str) -> None:
        due = monotonic()
        for number in range(share):
            if self._quiet.is_set():
                return
            began = perf_counter_ns()
            self._note(self._desk.handle_now(f"open account {number}", scope), began)
            due += pause_s
            self._quiet.wait(max(due - monotonic(), 0.0))

    async def _linger(self) -> None:
        await self._desk.linger("hm")

    def _note(self, answer: Answer, began: int | None = None) -> None:
        cost_ns = None if began is None else perf_counter_ns() - began - answer.alone_ns
        if cost_ns is not None:
            self._costs.append(cost_ns)
        self._log.said(answer.trace.event_id, durable=answer.trace.telemetry_persisted, cost_ns=cost_ns)
        self.handled += 1


TARGETS: Final = tuple(f"host.desk:Desk.{name}" for name in ("handle", "handle_now", "linger", "linger_now", "part"))
"""Every handler."""
