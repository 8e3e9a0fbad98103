# SPDX-License-Identifier: Apache-2.0
"""Lives of a process that records, and what they leave behind: the model that the loss ledger is held against."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from intent_events.review.reconcile import Ranges, Spooled
from intent_events.store.ledger import GAPS_SHOWN, Beat, Claim, Signs, Tally

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
HERE = "here"
EMITTER = UUID("00000000-0000-4000-8000-00000000000e")


@dataclass
class History:
    """What one process did, step by step, and what of it can be seen.

    Attributes:
        host: where it runs.
        in_order: whether its spool is stored from the front.
        rows: number and time of its rows; a number of None is that of a forked child's copy.
        letters: number and time of its dead letters.
        waiting: numbers in its spool.
        dropped: numbers that it dropped, with the reason.
        told: how many of these its heartbeats tell, the highest; None tells all, 0 is an earlier version.
        lost: numbers that were given and are nowhere, without anybody having said so.
    """

    emitter: UUID = EMITTER
    host: str = HERE
    in_order: bool = False
    emitted: int = 0
    true_time: datetime = START
    clock: timedelta = timedelta()
    rows: list[tuple[int | None, datetime]] = field(default_factory=list[tuple[int | None, datetime]])
    letters: list[tuple[int, datetime]] = field(default_factory=list[tuple[int, datetime]])
    waiting: dict[int, datetime] = field(default_factory=dict[int, datetime])
    dropped: dict[int, tuple[str, datetime]] = field(default_factory=dict[int, tuple[str, datetime]])
    told: int | None = None
    beats: list[Beat] = field(default_factory=list[Beat])
    lost: set[int] = field(default_factory=set[int])

    @property
    def now(self) -> datetime:
        """The time by its own clock."""
        return self.true_time + self.clock

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.true_time += timedelta(seconds=seconds)

    def emit(self) -> int:
        """Record something: it waits in the spool."""
        self.emitted += 1
        self.waiting[self.emitted] = self.now
        return self.emitted

    def drop(self, reason: str) -> None:
        """Record something that the spool refuses."""
        self.emitted += 1
        self.dropped[self.emitted] = reason, self.now

    def leak(self, choice: int) -> None:
        """Store one of those that were dropped, by a door in another process: nobody here hears of it."""
        numbers = sorted(self.dropped.keys() - {number for number, _ in self.rows})
        if numbers:
            number = numbers[choice % len(numbers)]
            self.rows.append((number, self.dropped[number][1]))

    def leak_here(self, choice: int) -> None:
        """The same by a door in this process, which takes the drop back."""
        numbers = sorted(self.dropped.keys() - {number for number, _ in self.rows})
        if numbers:
            number = numbers[choice % len(numbers)]
            self.rows.append((number, self.dropped.pop(number)[1]))

    def counts(self) -> dict[str, int]:
        """How many it has dropped, by reason."""
        return dict(Counter(reason for reason, _ in self.dropped.values()))

    def numbers(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Which ones, as far as its heartbeats tell."""
        numbers = sorted(self.dropped)[0 if self.told is None else max(len(self.dropped) - self.told, 0) :]
        by_reason: dict[str, list[int]] = {}
        for number in numbers:
            by_reason.setdefault(self.dropped[number][0], []).append(number)
        return {reason: tuple(ranges_of(each)) for reason, each in by_reason.items()}

    def fork_copy(self) -> None:
        """Record something that a forked child, whose copy has no number, stores first."""
        self.emitted += 1
        self.rows.append((None, self.now))

    def pick(self, choice: int) -> int | None:
        """One of the numbers that wait; the first one where they go in order."""
        numbers = sorted(self.waiting)
        return None if not numbers else numbers[0 if self.in_order else choice % len(numbers)]

    def store(self, choice: int) -> None:
        """Store one of those that wait."""
        number = self.pick(choice)
        if number is not None:
            self.rows.append((number, self.waiting.pop(number)))

    def bury(self, choice: int) -> None:
        """Make a dead letter of one of those that wait."""
        number = self.pick(choice)
        if number is not None:
            self.letters.append((number, self.waiting.pop(number)))

    def beat(self) -> None:
        """Write a heartbeat."""
        self.beats.append(
            Beat(
                beat=len(self.beats) + 1,
                at=self.now,
                started_at=START,
                received_at=self.true_time,
                service_name="chat",
                host=self.host,
                pid=7,
                version="1.0",
                emitted=self.emitted,
                spooled=len(self.waiting),
                dropped=self.counts(),
                dropped_numbers=self.numbers(),
            )
        )

    def has_told(self) -> bool:
        """Whether its last heartbeat says what it has dropped by now."""
        if not self.beats:
            return not self.dropped
        return (self.beats[-1].dropped, self.beats[-1].dropped_numbers) == (self.counts(), self.numbers())

    def lose(self, numbers: Iterable[int]) -> None:
        """Remove rows, dead letters and spooled records of these numbers; what it has dropped is explained still."""
        lost = set(numbers)
        there = set(self.waiting) | {number for number, _ in [*self.rows, *self.letters] if number}
        self.lost |= (lost & there) - self.dropped.keys()
        self.rows = [row for row in self.rows if row[0] not in lost]
        self.letters = [letter for letter in self.letters if letter[0] not in lost]
        self.waiting = {number: at for number, at in self.waiting.items() if number not in lost}

    def spooled(self) -> Spooled:
        """What is seen of its spool from host ``here``."""
        if self.host != HERE:
            return Spooled(HERE)
        ranges = ranges_of(self.waiting)
        return Spooled(HERE, {self.emitter: ranges} if ranges else {}, len(self.waiting))

    def signs(self, since: datetime, until: datetime) -> Signs:
        """What the ledger must tell of it."""
        seen = [(number, at) for number, at in [*self.rows, *self.letters] if since <= at < until]
        numbers = [number for number, _ in seen if number is not None]
        inside = [beat for beat in self.beats if since <= beat.at < until]
        earlier = [beat for beat in self.beats if beat.at < since]
        first = inside[0].beat if inside else max((beat.beat for beat in earlier), default=0) + 1
        last = inside[-1].beat if inside else first - 1
        before = [beat for beat in self.beats if beat.beat < first]
        return Signs(
            emitter_id=self.emitter,
            first=min(numbers, default=None),
            last=max(numbers, default=None),
            newest=max((at for _, at in seen), default=None),
            from_start=bool(self.beats) and not before,
            before=before[-1] if before else None,
            inside=tuple(beat for beat in self.beats if first <= beat.beat <= last)[-2:],
            after=tuple(beat for beat in self.beats if beat.beat > last)[:2],
            latest=self.beats[-1] if self.beats else None,
        )

    def tally(self, claim: Claim) -> Tally:
        """What the ledger must count for a claim, when rows of every time are read."""
        numbers = set(range(claim.base + 1, claim.top + 1))
        stored = numbers & {number for number, _ in self.rows if number is not None}
        dead = numbers & {number for number, _ in self.letters} - stored
        holes = numbers - stored - dead
        waiting = {number for first, last in claim.spooled for number in range(first, last + 1)}
        said = {number for first, last in claim.dropped for number in range(first, last + 1)}
        nowhere = holes - waiting - said
        gaps = ranges_of(number for number in nowhere if number <= claim.due)
        return Tally(
            stored=len(stored),
            dead=len(dead),
            spooled=len(holes & waiting),
            open=len(nowhere),
            overdue=sum(last - first + 1 for first, last in gaps),
            unnumbered=sum(1 for number, _ in self.rows if number is None),
            gap_ranges=len(gaps),
            gaps=tuple(gaps[:GAPS_SHOWN]),
            dropped=tuple(ranges_of((holes - waiting) & said)),
        )


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """Numbers as ranges."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


Step = tuple[str, int]
"""What happens next, and a number that it takes: which record, or how many seconds."""

STEPS = (
    *("emit", "emit", "emit", "store", "store", "bury", "drop", "leak", "leak_here"),
    *("fork_copy", "beat", "wait", "step_clock"),
)


def live(
    steps: Sequence[Step], *, killed: bool, host: str = HERE, emitter: UUID = EMITTER, told: int | None = None
) -> History:
    """Live a life; at its end the process lives, or has been dead for hours.

    A process that is killed has told of everything that it dropped: what it had no time to tell of is a loss.
    """
    history = History(emitter=emitter, host=host, in_order=killed and host != HERE, told=told)
    for name, number in steps:
        match name:
            case "wait":
                history.wait(number % 120)
            case "step_clock":
                history.clock = timedelta(minutes=number % 200 - 100)
            case "drop":
                history.drop("disk_full" if number % 2 else "spool_full")
            case "store" | "bury" | "leak" | "leak_here":
                getattr(history, name)(number)
            case _:
                getattr(history, name)()
    if killed:
        if not history.has_told():
            history.beat()
        history.wait(3 * 60 * 60)  # later than its clock can have been, or a record would be a sign of life
    elif not history.beats or history.true_time - history.beats[-1].received_at > timedelta(minutes=1):
        history.beat()
    return history
