# SPDX-License-Identifier: Apache-2.0
"""Pauses between tries grow with jitter up to a ceiling, and the circuit opens, half opens and closes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from intent_events_exporter.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, OPENS_AFTER, Breaker, Circuit

NOW = st.floats(0, 1e9)
FAILURES = st.integers(1, 5_000)


def longest(_low: float, high: float) -> float:
    """The longest pause that the jitter allows."""
    return high


def shortest(low: float, _high: float) -> float:
    """The shortest one."""
    return low


@given(FAILURES, NOW)
def test_pauses_grow_up_to_the_ceiling(failures: int, now: float) -> None:
    """The longest pause doubles with each failure until the ceiling, and stays there for however long."""
    breaker = Breaker(longest)
    pauses = [breaker.failed(now) for _ in range(failures)]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert max(pauses) <= LONGEST_PAUSE_S
    for earlier, later in pairwise(pauses):
        assert later == min(2 * earlier, LONGEST_PAUSE_S)


@given(FAILURES, NOW)
def test_jitter_takes_off_half_at_most(failures: int, now: float) -> None:
    """A pause is between half of the longest and the longest, whatever chance says."""
    low, high, chance = Breaker(shortest), Breaker(longest), Breaker()
    for _ in range(min(failures, 50)):
        least, most, pause_s = low.failed(now), high.failed(now), chance.failed(now)
        assert least == most / 2
        assert least <= pause_s <= most


def test_processes_do_not_come_back_all_at_once() -> None:
    """Two breakers that failed together wait for different times."""
    assert len({Breaker().failed(0.0) for _ in range(20)}) > 1


@given(NOW, st.floats(0, 100))
def test_the_pause_passes(now: float, elapsed: float) -> None:
    """What is left of a pause shrinks with the clock, is never negative, and survives a question in between."""
    breaker = Breaker(longest)
    assert breaker.wait_s(now) == 0
    until = now + breaker.failed(now)
    assert breaker.wait_s(now + elapsed) == max(until - (now + elapsed), 0.0)
    assert breaker.wait_s(until) == 0
    assert breaker.failing, "that the pause is over says nothing of Postgres"


@given(st.lists(st.booleans(), max_size=40), NOW)
def test_the_circuit(tries: list[bool], now: float) -> None:
    """It is closed until so many tries in a row failed, then open for the pause and half open after it."""
    breaker = Breaker(longest)
    in_a_row = 0
    for success in tries:
        pause_s = 0.0
        if success:
            breaker.succeeded()
            in_a_row = 0
        else:
            pause_s = breaker.failed(now)
            in_a_row += 1
        assert breaker.failing == (in_a_row > 0)
        after = now + pause_s
        if in_a_row < OPENS_AFTER:
            assert breaker.circuit(now) is breaker.circuit(after) is Circuit.CLOSED
        else:
            assert breaker.circuit(now) is (Circuit.OPEN if after > now else Circuit.HALF_OPEN)
            assert breaker.circuit(after) is Circuit.HALF_OPEN


@given(FAILURES, NOW)
def test_a_success_ends_it(failures: int, now: float) -> None:
    """After a success nothing is waited for, and the next failure is a first one."""
    breaker = Breaker(longest)
    for _ in range(failures):
        breaker.failed(now)
    breaker.succeeded()
    assert (breaker.wait_s(now), breaker.failing, breaker.circuit(now)) == (0, False, Circuit.CLOSED)
    assert breaker.failed(now) == FIRST_PAUSE_S


def test_the_states_as_the_metric_shows_them() -> None:
    """The numbers are part of the metric's meaning."""
    assert [int(state) for state in (Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.OPEN)] == [0, 1, 2]


@given(failures=st.integers(1, 20), now=st.floats(0, 1e9))
def test_whoever_waits_hurries_it(failures: int, now: float) -> None:
    """For somebody who waits the next try comes at once, and when it fails the pauses go on growing."""
    breaker = Breaker(lambda _, longest: longest)
    pauses = [breaker.failed(now) for _ in range(failures)]
    breaker.hurry()
    assert breaker.wait_s(now) == 0.0
    assert breaker.failing
    assert breaker.failed(now) >= pauses[-1]
    assert breaker.wait_s(now) > 0
