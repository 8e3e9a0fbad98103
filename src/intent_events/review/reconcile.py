# SPDX-License-Identifier: Apache-2.0
"""Reconciling: for each emitter, emitted = stored + spooled + dropped + dead, or the numbers that are nowhere.

The rules, each there so that a loss is found and nothing else is called one:

- The window is widened to the heartbeats around it, since only these say how many records there were.
- Of a process that may live, only what its last but one heartbeat names must be somewhere: the rest may be on its way.
  Of one that is dead, everything that anybody has seen must be.
- The spool is looked at before Postgres is asked, since a record goes from there to here and never back; and both once
  more before anything is called missing.
- A number that was dropped explains itself only, and nothing when another door has stored it all the same.
- Drops whose numbers are not told explain as many open numbers as there are of them: the oldest of very many, those in
  heartbeats of earlier versions, and payloads that nobody could read. So do the copy of a record that a forked child
  stored before its parent did, which has no number, and the spool of another host, as its last heartbeat had it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from intent_events import mending, semconv
from intent_events.identity import parse_uuid
from intent_events.review.ledger_model import Account, Gap, Reconciliation, SpoolSeen, Sums
from intent_events.review.windows import Window
from intent_events.spans import SpanView
from intent_events.store.ledger import Beat, Claim, Signs, Tally, open_ledger

GRACE: Final = timedelta(minutes=5)
"""For how long after its last sign of life a process counts as living; or three of its heartbeats, up to an hour."""

_LONGEST_GRACE: Final = timedelta(hours=1)
_NO_TALLY: Final = Tally()
_MAX_NUMBER: Final = (1 << 63) - 2

Ranges = Sequence[tuple[int, int]]
"""Ranges of numbers, first and last; in order, apart from each other."""


class Spooled(NamedTuple):
    """What waits in the spool of this host.

    Attributes:
        host: name of this host; None when there was no spool to look at.
        numbers: numbers that wait, by emitter.
        records: how many records wait, those without a number included.
        unreadable: how many of them cannot be read.
    """

    host: str | None = None
    numbers: Mapping[UUID, Ranges] = {}
    records: int = 0
    unreadable: int = 0


async def reconcile(
    dsn: str, window: Window, look: Callable[[], Spooled], *, timeout_s: float = 30.0
) -> Reconciliation:
    """Account for the records of a window.

    Args:
        dsn: address of the database.
        window: which records, by the time they began.
        look: looks at the spool of this host; called before Postgres is asked, and again if something is missing.
        timeout_s: seconds that reading may take, each of these two times.

    Raises:
        SettingsError: the address of the database cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    spooled = look()
    edges = window.since, window.until
    async with open_ledger(dsn, timeout_s=timeout_s) as ledger:
        now = ledger.now
        signs = {sign.emitter_id: sign for sign in await ledger.signs(*edges, also=list(spooled.numbers))}
        claims = {emitter: claim_of(sign, spooled, now) for emitter, sign in signs.items()}
        tallies = await ledger.tallies(list(claims.values()), *edges)

    def account(emitter: UUID) -> Account:
        return account_of(signs[emitter], claims[emitter], tallies.get(emitter, _NO_TALLY), spooled, now)

    short = [emitter for emitter in signs if account(emitter).missing]
    if short:
        # What was claimed had been recorded by now, so it must be in this look or after it in Postgres, where rows of
        # every time are read: clocks step, and rows come late.
        again = look()
        for emitter in short:
            claims[emitter] = claims[emitter]._replace(spooled=again.numbers.get(emitter, ()))
        async with open_ledger(dsn, timeout_s=timeout_s) as ledger:
            tallies.update(await ledger.tallies([claims[emitter] for emitter in short]))
    accounts = [one for one in map(account, signs) if one.emitted]
    accounts.sort(key=lambda one: (-one.missing, -one.emitted, one.emitter_id))
    return Reconciliation(
        window=window,
        asked_at=now,
        spool=SpoolSeen(host=spooled.host, records=spooled.records, unreadable=spooled.unreadable),
        total=Sums(**{name: sum(getattr(one, name) for one in accounts) for name in Sums.model_fields}),
        emitters=tuple(accounts),
    )


def spooled_of(records: Iterable[SpanView | None], host: str) -> Spooled:
    """What waits in a spool, by emitter and number.

    Args:
        records: each record in it; None for one that cannot be read.
        host: name of this host, as heartbeats have it.
    """
    numbers: dict[UUID, list[tuple[int, int]]] = {}
    count = unreadable = 0
    for record in records:
        count += 1
        unreadable += record is None
        if record is None:
            continue
        emitter = parse_uuid(record.attributes.get(semconv.EMITTER_ID))
        number = mending.integer(record.attributes.get(semconv.EMITTER_SEQ), set())
        if emitter is None or number is None or not 0 < number <= _MAX_NUMBER:
            continue
        ranges = numbers.setdefault(emitter, [])
        if ranges and ranges[-1][1] == number - 1:  # a spool is mostly in order
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return Spooled(host, {emitter: list(_joined(ranges)) for emitter, ranges in numbers.items()}, count, unreadable)


def claim_of(signs: Signs, spooled: Spooled, now: datetime) -> Claim:
    """Which numbers an emitter must account for.

    Args:
        signs: what is known of it.
        spooled: what waits in the spool of this host.
        now: when Postgres was asked, by its clock.
    """
    waiting = spooled.numbers.get(signs.emitter_id, ())
    beats = _beats(signs)
    seen = [number for number in (signs.first, signs.last) if number is not None]
    if waiting:
        seen += [waiting[0][0], waiting[-1][1]]
    base = min(_base(signs, min(seen, default=1)), _MAX_NUMBER)
    # A heartbeat after the window ends it, whatever the clocks say of later numbers.
    last = [signs.after[0].emitted] if signs.after else [*seen, *(beat.emitted for beat in beats[-1:])]
    top = due = min(max([base, *last]), _MAX_NUMBER)
    if is_living(signs, now):
        due = min(top, max(base, beats[-2].emitted if len(beats) > 1 else base))
    dropped = _joined(each for ranges in beats[-1].dropped_numbers.values() for each in ranges) if beats else ()
    return Claim(signs.emitter_id, base, top, due, waiting, tuple(dropped))


def account_of(signs: Signs, claim: Claim, tally: Tally, spooled: Spooled, now: datetime) -> Account:
    """What became of the records that an emitter must account for.

    Args:
        signs: what is known of it.
        claim: which numbers were looked for.
        tally: where they are.
        spooled: what waits in the spool of this host.
        now: when Postgres was asked, by its clock.
    """
    latest, beats = signs.latest, _beats(signs)
    looked_at = bool(claim.spooled) or (latest is not None and spooled.host is not None and latest.host == spooled.host)
    elsewhere = latest.spooled if latest is not None and not looked_at else 0
    counted = _unnamed(signs.before, beats[-1]) if beats else {}
    missing = max(0, tally.overdue - sum(counted.values()) - tally.unnumbered - elsewhere)
    open_numbers = tally.open - missing
    counted = _at_most(counted, open_numbers)
    open_numbers -= sum(counted.values())
    dropped = dict(Counter(counted) + _named(beats[-1], tally.dropped)) if beats else {}
    unnumbered = min(tally.unnumbered, open_numbers)
    open_numbers -= unnumbered
    elsewhere = min(elsewhere, open_numbers)
    return Account(
        emitter_id=signs.emitter_id,
        service_name=latest.service_name if latest else None,
        host=latest.host if latest else None,
        pid=latest.pid if latest else None,
        version=latest.version if latest else None,
        started_at=latest.started_at if latest else None,
        heartbeat_at=latest.at if latest else None,
        living=is_living(signs, now),
        first=claim.base + 1,
        last=claim.top,
        emitted=claim.top - claim.base,
        stored=tally.stored + unnumbered,
        spooled=tally.spooled + elsewhere,
        dropped=sum(dropped.values()),
        dead=tally.dead,
        underway=open_numbers - elsewhere,
        missing=missing,
        unnumbered=unnumbered,
        spooled_as_of=latest.at if latest and elsewhere else None,
        dropped_by=dropped,
        gap_ranges=tally.gap_ranges if missing else 0,
        gaps=tuple(Gap(*gap) for gap in tally.gaps) if missing else (),
    )


def is_living(signs: Signs, now: datetime) -> bool:
    """Whether a process has shown a sign of life lately: a heartbeat, or a record of the window."""
    grace = GRACE
    beats = _beats(signs)
    if len(beats) > 1:
        grace = min(max(grace, 3 * (beats[-1].received_at - beats[-2].received_at)), _LONGEST_GRACE)
    heard = [signs.latest.received_at] if signs.latest else []
    seen = [signs.newest] if signs.newest else []
    return any(now - grace < sign < now + grace for sign in heard + seen)


def _beats(signs: Signs) -> list[Beat]:
    """The heartbeats around the window, in order."""
    return [*([signs.before] if signs.before else []), *signs.inside, *signs.after]


def _base(signs: Signs, lowest: int) -> int:
    """The number before the first of the window."""
    if signs.before is not None:
        return signs.before.emitted
    return 0 if signs.from_start else max(lowest - 1, 0)


def _unnamed(before: Beat | None, last: Beat) -> dict[str, int]:
    """Records dropped between two heartbeats whose numbers are not told, by reason.

    A number that the first one tells and the second does not was forgotten, or stored after all: it counts as
    forgotten, so that it explains nothing of what came later.
    """
    left: dict[str, int] = {}
    for reason, n in last.dropped.items():
        told = last.dropped_numbers.get(reason, ())
        earlier = before.dropped_numbers.get(reason, ()) if before else ()
        known = _size(told) + (before.dropped.get(reason, 0) if before else 0) - _shared(earlier, told)
        if n > known:
            left[reason] = n - known
    return left


def _named(beat: Beat, ranges: Ranges) -> Counter[str]:
    """How many of these dropped numbers a heartbeat tells, by reason."""
    shared = {reason: _shared(told, ranges) for reason, told in beat.dropped_numbers.items()}
    return Counter(_at_most(shared, _size(ranges)))


def _size(ranges: Ranges) -> int:
    """How many numbers there are in ranges."""
    return sum(last - first + 1 for first, last in ranges)


def _shared(ranges: Ranges, others: Ranges) -> int:
    """How many numbers are in both."""
    return _size(ranges) + _size(others) - _size(tuple(_joined([*ranges, *others])))


def _at_most(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """As much of the counts as adds up to no more than this."""
    left: dict[str, int] = {}
    for reason, n in counts.items():
        if taken := min(n, most):
            left[reason] = taken
            most -= taken
    return left


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges in order, those that touch or overlap as one."""
    reached: tuple[int, int] | None = None
    for first, last in sorted(ranges):
        if reached is None:
            reached = first, last
        elif first <= reached[1] + 1:
            reached = reached[0], max(reached[1], last)
        else:
            yield reached
            reached = first, last
    if reached is not None:
        yield reached
