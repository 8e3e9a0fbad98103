# SPDX-License-Identifier: Apache-2.0
"""What a dead process left in the spool, taken over by a living one."""

from collections import deque
from pathlib import Path
from typing import Self

from intent_events.instrument.troubles import trouble
from intent_events_exporter.spool.chain import Batch, Chain, Position
from intent_events_exporter.spool.file import Segment
from intent_events_exporter.spool.folder import Home, check, is_for, owners_in, segments_in


class Round:
    """One round of adopting: the folders of the spool are listed once, and each is come to once."""

    def __init__(self) -> None:
        self._ahead: deque[Path] | None = None

    def ahead(self, folder: Path) -> deque[Path]:
        """The folders that are still to come; whoever comes to one takes it out.

        Raises:
            OSError: the folder of the spool cannot be read.
        """
        if self._ahead is None:
            self._ahead = deque(owners_in(folder))
        return self._ahead


class Orphans:
    """The segments of one dead process, held under its lock. For one thread.

    Attributes:
        owner: name of its folder.
    """

    def __init__(self, home: Home, chain: Chain) -> None:
        self.owner = home.path.name
        self._home = home
        self._chain = chain

    @classmethod
    def adopt(cls, folder: Path, left_alone: set[str], turns: Round, database: str | None = None) -> Self | None:
        """Take over what one dead process left; None when none left anything.

        Folders of the dead in which nothing waits are removed on the way.

        Args:
            folder: of the spool.
            left_alone: owners that are passed over; one that left nothing but segments of a newer form is added to it.
            turns: the round that this is a part of.
            database: where records would go; those that are for another one are left to its processes. None for any.
        """
        try:
            check(folder)
            owners = turns.ahead(folder)
        except OSError:  # missing, or another user may have planted what is there; append() says so
            return None
        while owners:
            path = owners.popleft()
            if path.name in left_alone:
                continue
            home = None
            try:
                home = Home.take(path) if is_for(path, database) else None
                if home is None:
                    continue
                chain, newer = _found(folder, path)
            except OSError:  # too many files are open, or the disk fails: another time
                if home is not None:
                    home.let_go()
                continue
            if not chain.done():
                return cls(home, chain)
            chain.tidy()
            home.remove()
            if newer:
                left_alone.add(path.name)
                trouble("intent-events: the spool holds segments of a newer version, which are left alone: update")
        return None

    def read(self, max_records: int, max_bytes: int) -> Batch:
        """The next records after those read before; see :meth:`Spool.read`.

        Raises:
            SpoolError: the disk fails.
        """
        return self._chain.read(max_records, max_bytes)

    def release(self, end: Position) -> None:
        """Everything before the end of this batch is stored; see :meth:`Spool.release`."""
        self._chain.release(end)

    def rewind(self) -> None:
        """Read again what is not released."""
        self._chain.rewind()

    def close(self) -> None:
        """Remove the folder when everything is released, else leave it to the next adopter."""
        self._chain.tidy()
        self._chain.let_go()
        self._home.remove()

    def let_go(self) -> None:
        """Close every descriptor and have nothing to read any more; in a forked child, whose parent goes on."""
        self._chain.let_go()
        self._home.let_go()


def _found(folder: Path, owner: Path) -> tuple[Chain, bool]:
    """The segments of an owner, and whether there are others of a newer form."""
    segments: list[Segment] = []
    newer = False
    for path in segments_in(owner):
        try:
            segment = Segment.found(path)
        except OSError:  # too many files are open, or the disk fails: it stays, for another time
            continue
        if segment is None:
            newer = True
        else:
            segments.append(segment)
    return Chain(folder, segments), newer
