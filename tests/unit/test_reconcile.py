# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the loss ledger, on random lives of processes."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intent_events import semconv
from intent_events.review.ledger_model import Account
from intent_events.review.reconcile import GRACE, Spooled, account_of, claim_of, is_living, spooled_of
from intent_events.spans import SpanView
from intent_events.store.ledger import Claim
from support.histories import EMITTER, HERE, START, STEPS, History, Step, live

STEP = st.tuples(st.sampled_from(STEPS), st.integers(0, 10_000))
LIVES = st.lists(STEP, max_size=60)
TOLD = st.sampled_from([None, 0, 2])
"""How many dropped numbers a heartbeat tells: all of them, none as in earlier versions, or the highest two."""
EVER = (START - timedelta(days=1), START + timedelta(days=1))


def reconciled(history: History, edges: tuple[int, int] | None = None) -> tuple[Claim, Account]:
    """The account of a history, for a window of minutes since its start or for all of its time."""
    since, until = EVER if edges is None else (START + timedelta(minutes=edge) for edge in edges)
    signs, spooled = history.signs(since, until), history.spooled()
    claim = claim_of(signs, spooled, history.true_time)
    return claim, account_of(signs, claim, history.tally(claim), spooled, history.true_time)


def adds_up(account: Account) -> bool:
    """Whether every number is in one place, and no count is below zero."""
    parts = (account.stored, account.spooled, account.dropped, account.dead, account.underway, account.missing)
    return account.emitted == sum(parts) and min(parts) >= 0


def without(steps: list[Step], *names: str) -> list[Step]:
    """A life in which none of this happens."""
    return [step for step in steps if step[0] not in names]


@given(LIVES, st.booleans(), st.sampled_from([HERE, "elsewhere"]), st.integers(-100, 100), st.integers(1, 200), TOLD)
@example([("emit", 0), ("beat", 0), ("emit", 0), ("emit", 0), ("store", 1)], False, "elsewhere", 0, 60, None)  # noqa: FBT003 - as drawn
def test_nothing_is_called_missing_that_is_not(
    steps: list[Step],
    killed: bool,  # noqa: FBT001 - as hypothesis gives it
    host: str,
    begin: int,
    length: int,
    told: int | None,
) -> None:
    """Whatever a process did, in any window and with any clock: as long as nothing was lost, nothing is missing."""
    if told is not None:  # of what is only counted, what is taken back cannot be told from what was forgotten
        steps = without(steps, "leak_here")
    history = live(steps, killed=killed, host=host, told=told)
    for edges in (None, (begin, begin + length)):
        _, account = reconciled(history, edges)
        assert account.missing == 0
        assert adds_up(account)
        assert account.gaps == ()


@given(LIVES, st.sets(st.integers(1, 60), min_size=1), TOLD)
@example([("drop", 0), ("emit", 0), ("beat", 0), ("leak", 0)], {2}, None)
@example([("drop", 0), ("emit", 0), ("beat", 0), ("leak_here", 0)], {1, 2}, None)
def test_what_is_removed_is_found_and_named(steps: list[Step], removed: set[int], told: int | None) -> None:
    """Of a dead process each removed row, dead letter or spooled record is missing, and the gaps hold its number.

    A drop hides none of them, also when another door has stored what was dropped; where it is only counted, it may.
    """
    if told is not None:
        steps = without(steps, "leak", "leak_here")
    copies = any(name == "fork_copy" for name, _ in steps)
    # A copy explains one open number: in full only where the numbers before and after it are known.
    history = live([*steps, ("beat", 0)] if copies else steps, killed=True, told=told)
    history.lose(removed)
    claim, account = reconciled(history)
    expected = {number for number in history.lost if claim.base < number <= claim.due}
    assert account.missing == len(expected)
    assert adds_up(account)
    if account.gap_ranges == len(account.gaps):
        named = {number for first, last in account.gaps for number in range(first, last + 1)}
        assert expected <= named
        assert named - expected == set() or (account.dropped and told is not None) or account.unnumbered
    if history.beats:
        assert {number for number in history.lost if number <= history.beats[-1].emitted} <= expected


@given(LIVES, st.sets(st.integers(1, 60), min_size=1))
def test_of_a_living_process_what_was_due_is_found(steps: list[Step], removed: set[int]) -> None:
    """Of a living process everything up to its last but one heartbeat is claimed, and later numbers are under way."""
    history = live(without(steps, "leak_here", "fork_copy", "step_clock"), killed=False)
    history.lose(removed)
    claim, account = reconciled(history)
    due = history.beats[-2].emitted if len(history.beats) > 1 else 0
    assert account.missing == len({number for number in history.lost if number <= due})
    unsaid = {number for number in history.dropped if number > history.beats[-1].emitted}
    unsaid -= {number for number, _ in history.rows if number}
    assert account.underway == len({number for number in history.lost | unsaid if due < number <= claim.top})


def test_a_drop_that_is_stored_all_the_same_explains_nothing() -> None:
    """Five dropped and stored by another door, five lost: five are missing. Without their numbers nobody could tell."""
    for told, missing in ((None, 5), (2, 2), (0, 0)):
        history = History(told=told)
        for _ in range(5):
            history.drop("spool_full")
        for _ in range(5):
            history.emit()
            history.leak(0)
        history.beat()
        history.wait(3600)
        history.lose(range(6, 11))
        _, account = reconciled(history)
        assert (account.stored, account.dropped, account.missing) == (5, 5 - missing, missing)
        assert account.gaps == (((6, 10),) if missing else ())
        assert adds_up(account)


def test_a_drop_that_was_told_before_the_window_explains_nothing_in_it() -> None:
    """Numbers told before the window and forgotten since are no drops of the window, nor is one told late."""
    history = History(told=2)
    for _ in range(4):
        history.drop("spool_full")
    history.beat()
    history.wait(60)
    for _ in range(3):
        history.drop("spool_full")
    history.emit()
    history.lose({8})
    history.beat()
    history.wait(3600)
    _, account = reconciled(history, (0, 600))
    assert (account.emitted, account.dropped, account.missing) == (8, 7, 1)
    _, account = reconciled(history, (1, 600))
    assert (account.emitted, account.dropped, account.missing) == (4, 3, 1)


def test_the_spool_of_another_host_is_believed_as_of_its_heartbeat() -> None:
    """What a heartbeat elsewhere says of its spool explains that many open numbers and no more, and says when."""
    history = History(host="elsewhere")
    for _ in range(10):
        history.emit()
    history.store(0)
    history.beat()
    history.wait(3600)
    _, account = reconciled(history)
    assert (account.stored, account.spooled, account.missing) == (1, 9, 0)
    assert account.spooled_as_of == history.beats[-1].at
    history.store(0)
    assert reconciled(history)[1].spooled == 8


def test_a_spool_of_this_host_is_not_believed_but_looked_at() -> None:
    """What a heartbeat of this host says of its spool explains nothing: its records are there or missing."""
    history = History()
    for _ in range(3):
        history.emit()
    history.beat()
    history.wait(3600)
    assert reconciled(history)[1].spooled == 3
    history.lose({2})
    _, account = reconciled(history)
    assert (account.spooled, account.missing, account.gaps) == (2, 1, ((2, 2),))
    assert account.spooled_as_of is None


def test_without_heartbeats_holes_are_found() -> None:
    """Of an emitter without heartbeats the first number seen is the first of all, and holes are missing."""
    history = History()
    for _ in range(9):
        history.emit()
        history.store(0)
    history.lose({1, 5})
    assert reconciled(history)[1].missing == 0, "it may live: the row may be on its way"
    history.wait(3600)
    claim, account = reconciled(history)
    assert (claim.base, account.missing, account.gaps) == (1, 1, ((5, 5),))


def test_living_is_a_sign_within_the_grace() -> None:
    """A heartbeat or a row within the grace is a sign of life; rare heartbeats stretch the grace to three of them."""
    history = History()
    history.beat()
    history.wait(GRACE.total_seconds() + 1)
    assert not is_living(history.signs(*EVER), history.true_time)
    history.beat()
    history.wait(3 * GRACE.total_seconds())
    assert is_living(history.signs(*EVER), history.true_time)
    history.wait(3600)
    assert not is_living(history.signs(*EVER), history.true_time)


def span(**attributes: object) -> SpanView:
    """A spooled record."""
    return SpanView(1, 1, 0, 1, {key.replace("__", "."): value for key, value in attributes.items()})


@given(st.lists(st.integers(1, 40)))
def test_the_spool_is_read_as_ranges(numbers: list[int]) -> None:
    """Numbers in any order and any repetition become ranges that hold each of them and nothing else."""
    views = [span(intent__emitter__id=str(EMITTER), intent__emitter__seq=number) for number in numbers]
    spooled = spooled_of(views, HERE)
    ranges = spooled.numbers.get(EMITTER, ())
    assert [number for first, last in ranges for number in range(first, last + 1)] == sorted(set(numbers))
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))
    assert spooled.records == len(numbers)


@pytest.mark.parametrize("number", [None, 0, -1, "x", 1 << 63, float("nan")])
def test_a_spooled_record_without_a_usable_number_is_only_counted(number: object) -> None:
    """A record without a number, or with an odd one, is a record of the spool and no number of anybody."""
    views = [span(**{semconv.EMITTER_ID: str(EMITTER), semconv.EMITTER_SEQ: number}), None, span()]
    assert spooled_of(views, HERE) == Spooled(HERE, {}, 3, 1)


def test_emitters_are_told_apart() -> None:
    """Each emitter has numbers of its own."""
    other = UUID(int=1)
    views = [span(intent__emitter__id=str(one), intent__emitter__seq=1) for one in (EMITTER, other, EMITTER)]
    assert spooled_of(views, HERE).numbers == {EMITTER: [(1, 1)], other: [(1, 1)]}
