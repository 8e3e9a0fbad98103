# SPDX-License-Identifier: Apache-2.0
"""Storing what dead processes left in a spool, by a process that records nothing itself; and telling whose it is."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from opentelemetry.instrumentation.utils import suppress_instrumentation

from intent_events.store.write import Writer
from intent_events_exporter.flush import Flush, Tally
from intent_events_exporter.spool import Orphans, Round, Spool, SpoolError
from intent_events_exporter.spool.folder import Home, check, database_of, is_for, owners_in
from intent_events_exporter.spool.look import look_at

DOOR: Final = "drain"
"""Who stores, as ``agent.dead_letters`` names it."""

_STATEMENT_S: Final = 30.0
_NO_ROOM_NEEDED: Final = 1


class Waiting(NamedTuple):
    """What waits of some processes.

    Attributes:
        processes: how many of them left something.
        bytes: its size.
        oldest_age_s: seconds since the oldest of it was appended; None when nothing waits.
    """

    processes: int = 0
    bytes: int = 0
    oldest_age_s: float | None = None


class Estate(NamedTuple):
    """What waits in a spool, by whose it is.

    Attributes:
        living: of processes that have their folder locked: they store it themselves, or are adopting it.
        dead: of processes that are gone.
        elsewhere: the same, of those whose records are for another database.
        databases: these other databases, in words.
    """

    living: Waiting = Waiting()
    dead: Waiting = Waiting()
    elsewhere: Waiting = Waiting()
    databases: frozenset[str] = frozenset()


def estate_in(folder: Path, database: str | None = None) -> Estate:
    """What waits in a spool, by whether its process lives.

    Each folder in which something waits is locked for a moment, as an adopter would do.

    Args:
        folder: of the spool; nothing waits when it is missing.
        database: the one that is asked for, in words; None for any.

    Raises:
        OSError: it cannot be read: not this user's, or the disk fails.
    """
    living, dead, elsewhere = Waiting(), Waiting(), Waiting()
    databases: set[str] = set()
    for owner in owners_in(folder):
        with suppress(FileNotFoundError):  # its process has stored everything and ended meanwhile
            seen = look_at(owner)
            if not seen.bytes:
                continue
            home = Home.take(owner)
            if home is None:
                living = _plus(living, seen.bytes, seen.oldest_age_s)
                continue
            named = None if is_for(owner, database) else database_of(owner)
            home.let_go()
            if named is None:
                dead = _plus(dead, seen.bytes, seen.oldest_age_s)
            else:
                elsewhere = _plus(elsewhere, seen.bytes, seen.oldest_age_s)
                databases.add(named)
    return Estate(living, dead, elsewhere, frozenset(databases))


class Salvage:
    """Moves what dead processes left to Postgres, with one connection.

    Attributes:
        tally: what became of their records so far.
        adopted: how many processes had left something.
        problems: what kept records from being read, one line each.
        in_time: False when the time was up before everything was stored.
    """

    def __init__(self, folder: Path, dsn: str, *, timeout_s: float, database: str | None = None) -> None:
        """Prepare it; nothing is opened or connected before :meth:`run`.

        Args:
            folder: of the spool.
            dsn: address of Postgres.
            timeout_s: seconds that all of it may take.
            database: whose records are taken, in words; None for all.
        """
        self._folder = folder
        self._database = database
        self._timeout_s = timeout_s
        # Half of the time at most: a server that does not answer is then named, with the remedy.
        self._writer = Writer(dsn, door=DOOR, timeout_s=min(timeout_s / 2, _STATEMENT_S))
        self.tally = Tally()
        self.adopted = 0
        self.problems: list[str] = []
        self.in_time = True

    async def run(self) -> None:
        """Store everything that the dead left. Cancelled at any point, what is not stored stays where it was.

        Raises:
            OSError: the folder of the spool cannot be used: not this user's, or its disk fails.
            RetryableError: Postgres did not take it.
            PermanentError: Postgres refuses even dead letters.
            SettingsError: the address cannot be used.
        """
        if not self._folder.exists():
            return
        check(self._folder)
        spool = Spool(self._folder, max_bytes=_NO_ROOM_NEEDED)
        spool.database = self._database
        try:
            with suppress_instrumentation():  # our own statements are no traffic of anybody's
                async with asyncio.timeout(self._timeout_s):
                    # Once each: what is still there afterwards cannot be read, and the next one's turn comes.
                    turns = Round()
                    while (orphans := spool.adopt(turns)) is not None:
                        await self._store(orphans)
        except TimeoutError:  # the time is up
            self.in_time = False
        finally:
            await self._writer.close()

    async def _store(self, orphans: Orphans) -> None:
        self.adopted += 1
        try:
            await Flush(orphans, [self._writer], self.tally).run()
        except SpoolError as error:  # the disk fails: it waits for another time
            self.problems.append(str(error))
        finally:
            orphans.close()


def _plus(waiting: Waiting, size: int, age_s: float | None) -> Waiting:
    oldest = max((age for age in (waiting.oldest_age_s, age_s) if age is not None), default=None)
    return Waiting(waiting.processes + 1, waiting.bytes + size, oldest)
