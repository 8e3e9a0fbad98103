# SPDX-License-Identifier: Apache-2.0
"""Records are numbered in their process without gaps, and a forked child is a process of its own."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from intent_events import record_outcome, record_reply, recording
from intent_events.instrument.recorder import EMITTER
from unit.traced import UTTERANCE, Traced


def test_every_record_has_the_next_number(traced: Traced) -> None:
    """Utterances, replies and outcomes are counted together, so that a gap is a loss."""
    first = EMITTER.next_number()
    with recording(UTTERANCE):
        record_outcome(UUID(int=1), "picked")
    record_reply(UUID(int=1), "hello")
    assert [row.emitter_seq for row in traced.records()] == [first + 1, first + 2, first + 3]
    assert {str(row.emitter_id) for row in traced.records()} == {EMITTER.emitter_id}


def test_numbers_of_threads_do_not_meet() -> None:
    """Threads that record at the same time have each another number."""
    first = EMITTER.next_number()
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(EMITTER.next_number) for _ in range(200)]
    assert sorted(number.result() for number in asked) == list(range(first + 1, first + 201))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_another_emitter() -> None:
    """A child begins at 1 under an id of its own, and its parent goes on as before."""
    before, number = EMITTER.emitter_id, EMITTER.next_number()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, json.dumps([EMITTER.emitter_id, EMITTER.next_number()]).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        emitter_id, first = json.load(pipe)
    assert os.waitpid(child, 0)[1] == 0
    assert UUID(emitter_id) != UUID(before)
    assert first == 1
    assert (EMITTER.emitter_id, EMITTER.next_number()) == (before, number + 1)
