# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""Whoever waits for a record is told once it is settled, from threads and tasks, and never longer than asked."""

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from intent_events import IntentTrace, delivery
from intent_events.delivery import Delivery, drop, dropped, ending, persist, settle, settle_keys, track

FOREVER_S = 60.0


def state(delivery: Delivery) -> tuple[bool, bool, bool]:
    """What is known of a record."""
    return delivery.persisted, delivery.committed, delivery.settled


def test_the_states_of_a_record() -> None:
    """A record is open, then committed or given up; what was given up may be committed by a later try."""
    one, other = track(uuid4()), track(uuid4())
    assert state(one) == (False, False, False)
    settle([one.event_id], committed=True)
    assert state(one) == (True, True, True)
    settle([one.event_id, other.event_id], committed=False)
    assert state(one) == (True, True, True)
    assert state(other) == (False, False, True)
    settle([other.event_id], committed=True)
    assert state(other) == (True, True, True)


def test_unknown_and_forgotten_records_are_passed_over() -> None:
    """Records of other processes, and those whose trace nobody holds any more, are nobody's business."""
    event_id = track(uuid4()).event_id
    gc.collect()
    settle([event_id, UUID(int=1)], committed=True)
    held = track(uuid4())
    settle(iter([event_id, held.event_id]), committed=True)
    assert held.committed


def test_forgotten_records_take_no_memory() -> None:
    """However many records are tracked, only those that somebody holds are remembered, and those that are open."""
    held = [track(uuid4()) for _ in range(3000)]
    for _ in range(50_000):
        track(uuid4())
    assert len(delivery._live) <= 2 * len(held) + 2048
    settle([each.event_id for each in held], committed=True)
    assert all(each.committed for each in held)
    assert not delivery._live.keys() & {each.event_id.int for each in held}


@pytest.mark.parametrize("committed", [True, False])
def test_a_thread_that_waits(committed: bool) -> None:  # noqa: FBT001 - a table of cases
    """It wakes when the record is settled, and is told whether the row is there."""
    trace = IntentTrace(delivery=track(uuid4()))
    assert trace.delivery is not None
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(trace.wait_committed, FOREVER_S) for _ in range(3)]
        settle([trace.delivery.event_id], committed=committed)
        assert [answer.result() for answer in waiting] == [committed] * 3
    assert trace.wait_committed(FOREVER_S) is committed
    assert (trace.telemetry_persisted, trace.telemetry_committed) == (committed, committed)


@pytest.mark.parametrize("committed", [True, False])
async def test_tasks_that_wait(committed: bool) -> None:  # noqa: FBT001 - a table of cases
    """They wake when another thread settles the record, and their event loop runs meanwhile."""
    trace = IntentTrace(delivery=track(uuid4()))
    assert trace.delivery is not None
    waiting = [asyncio.create_task(trace.committed(FOREVER_S)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await asyncio.to_thread(settle, [trace.delivery.event_id], committed=committed)
    assert await asyncio.gather(*waiting) == [committed] * 3
    assert await trace.committed(FOREVER_S) is committed


@pytest.mark.parametrize("timeout_s", [0, -1, 0.001])
async def test_nobody_waits_longer_than_asked(timeout_s: float) -> None:
    """When the time is up the answer is what is known, and nothing is left of the waiting."""
    record = track(uuid4())
    for _ in range(5):
        assert await record.wait_async(timeout_s) is False
        assert record.wait(timeout_s) is False
    assert not record.take_waiters()


async def test_a_settled_record_needs_no_time() -> None:
    """Whoever asks with no time at all is told what is known already."""
    record = track(uuid4())
    settle([record.event_id], committed=True)
    assert record.wait(0)
    assert await record.wait_async(0)


async def test_a_task_that_is_cancelled_while_it_waits() -> None:
    """Cancellation goes through, and nothing is left of the waiting."""
    record = track(uuid4())
    task = asyncio.create_task(record.wait_async(FOREVER_S))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not record.take_waiters()


def test_an_event_loop_that_is_gone() -> None:
    """Settling a record that a closed event loop waited for fails nobody, the others least of all."""
    record = track(uuid4())
    waiters: list[Any] = []

    async def wait() -> None:
        task = asyncio.create_task(record.wait_async(FOREVER_S))
        await asyncio.sleep(0)
        waiters.extend(record.take_waiters())
        task.cancel()

    asyncio.run(wait())
    woken = threading.Event()
    for notify in [*waiters, woken.set]:
        record.when_settled(notify)
    settle([record.event_id], committed=True)
    assert woken.is_set()


def test_a_waiter_that_raises_keeps_nobody_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    """What one waiter does wrong reaches neither the others nor whoever delivers."""
    one, other = track(uuid4()), track(uuid4())
    told: list[str] = []

    def fail() -> None:
        raise KeyError("assign")

    one.when_settled(fail)
    other.when_settled(lambda: told.append("other"))
    settle([one.event_id, other.event_id], committed=True)
    assert told == ["other"]
    assert caplog.messages == ["intent-events: whoever waited for a record failed (KeyError)"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_inherit_a_held_lock() -> None:
    """A fork while another thread settles leaves the child able to wait and to settle."""
    record = track(uuid4())
    with vars(delivery)["_lock"]:
        child = os.fork()
        if child == 0:
            settle([record.event_id], committed=True)
            os._exit(0 if record.wait(0) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_one_door_gives_up_another_may_have() -> None:
    """A record that is durable in a spool stays so, unsettled, when another door gives it up; refused it is settled."""
    event_id = uuid4()
    delivery = track(event_id)
    ending(str(event_id), delivery)
    persist(str(event_id))
    ending(str(event_id), None)
    settle([event_id], committed=False)
    assert (delivery.persisted, delivery.settled) == (True, False)
    settle_keys([event_id.int], committed=False, refused=True)
    assert (delivery.persisted, delivery.settled, delivery.committed) == (False, True, False)


def test_what_one_door_drops_another_may_store() -> None:
    """A dropped record counts by its reason until it is a row or a dead letter, even if another door gives it up."""
    for key, reason in ((1, "spool_full"), (2, "spool_full"), (3, "disk_full"), (3, "disk_full")):
        drop(key, reason, 10 + key)
    first = {"spool_full": 2, "disk_full": 1}, {"spool_full": [(11, 12)], "disk_full": [(13, 13)]}
    assert dropped() == first
    settle_keys([1, 2, 3], committed=False)
    assert dropped() == first
    settle_keys(iter([1, 7]), committed=True)
    settle_keys([3], committed=False, refused=True)
    assert dropped() == ({"spool_full": 1}, {"spool_full": [(12, 12)]})


def test_what_was_dropped_long_ago_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the oldest dropped records are forgotten, so that they take a bounded room; none is uncounted."""
    monkeypatch.setattr(delivery, "_MOST_DROPPED", 100)
    for key in range(1_000):
        drop(key, "spool_full" if key % 2 else "disk_full", key + 1)
        assert len(vars(delivery)["_dropped"]) <= 100
    assert dropped().counts == {"spool_full": 500, "disk_full": 500}
    settle_keys(range(990, 1_000), committed=True)
    assert dropped().counts == {"spool_full": 495, "disk_full": 495}


def test_of_many_ranges_the_newest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that follow each other are one range, in whatever order they come; beyond the bound the lowest go."""
    monkeypatch.setattr(delivery, "_MOST_RANGES", 3)
    for number in (9, 2, 1, 5, 7, 8):
        drop(number, "spool_full", number)
    drop(6, "disk_full", 6)
    counts, numbers = dropped()
    assert counts == {"spool_full": 6, "disk_full": 1}
    assert numbers == {"spool_full": [(5, 5), (7, 9)], "disk_full": [(6, 6)]}


def test_a_forked_child_has_dropped_nothing() -> None:
    """A child that is forked begins to count anew."""
    drop(1, "spool_full", 1)
    child = os.fork()
    if child == 0:
        os._exit(len(dropped().counts))
    assert os.waitpid(child, 0)[1] == 0
    assert dropped().counts == {"spool_full": 1}
