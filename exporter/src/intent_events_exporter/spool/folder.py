# SPDX-License-Identifier: Apache-2.0
"""The folder of the spool, the folder of each process in it, and the lock that tells the living from the dead."""

import fcntl
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Final, Self
from uuid import uuid4
from weakref import WeakSet

ASIDE: Final = "aside"
"""Name of the folder in the spool's that keeps what is no record any more."""
SEGMENT: Final = ".spool"
"""How the names of segments end."""

_LOCK: Final = "lock"
_DATABASE: Final = "database"
_DATABASE_MOST_BYTES: Final = 1024
_OWNER_CHARS: Final = frozenset("0123456789abcdef")
_OWNER_LENGTH: Final = 32
_ASIDE_MOST_BYTES: Final = 16 << 20
_TRIES: Final = 20
_PRIVATE: Final = 0o700
_OTHERS: Final = 0o077
_SHARED: Final = stat.S_ISVTX | stat.S_IWOTH
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW

_opening: Final = RLock()
_held: Final[WeakSet["Home"]] = WeakSet()


class Home:
    """The folder of one process in the spool, held under its lock.

    The lock belongs to an open file: it goes when the last process that has it open closes it, which a forked child
    does at once. It is never unlocked by a call, since a child's call would let go its parent's.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        _held.add(self)

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make a folder that no process has had before.

        Args:
            folder: of the spool; made when missing.

        Raises:
            OSError: that is not possible, or :func:`prepare` refuses the folder.
        """
        prepare(folder)
        for _ in range(_TRIES):
            path = folder / uuid4().hex
            path.mkdir(mode=_PRIVATE)
            with suppress(FileNotFoundError):  # an adopter took it for what a dead process left, and removed it
                home = cls._under_lock(path, os.O_CREAT | os.O_EXCL)
                if home is not None:
                    return home
        raise BlockingIOError(f"the spool {folder} is busy: adopters took every new folder in it; it is tried again")

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Take the folder of a process over; None when the process lives or another one was faster.

        Raises:
            OSError: its lock cannot be opened.
        """
        if path.lstat().st_uid != os.geteuid():  # planted, before the folder was this user's alone
            return None
        try:
            return cls._under_lock(path, 0)
        except FileNotFoundError:  # it is just being made or removed, or its maker died before it had a lock
            with suppress(OSError):  # it holds something, or is gone
                path.rmdir()
            return None

    @classmethod
    def _under_lock(cls, path: Path, flags: int) -> Self | None:
        with _opening:
            lock = _lock_in(path, flags)
            return None if lock is None else cls(path, lock)

    def keep(self) -> bool:
        """Keep the lock from looking forgotten to those who clean up, and make another if it is gone all the same.

        Returns:
            False when that is not possible, and the folder cannot be kept.
        """
        try:
            os.utime(self._lock)
            if os.fstat(self._lock).st_nlink:
                return True
            with _opening:
                again = _lock_in(self.path, os.O_CREAT | os.O_EXCL)
                if again is not None:
                    os.close(self._lock)
                    self._lock = again
                return again is not None
        except FileNotFoundError:  # the whole folder is gone
            return False
        except OSError:  # the disk fails or is read-only, and says so to whoever writes to it
            return True

    def let_go(self) -> None:
        """Close the lock, so that what is there can be adopted once nobody has it open. Any number of times."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def name_database(self, database: str) -> None:
        """Write down which database the records are for; see :func:`database_of`.

        Raises:
            OSError: that is not possible.
        """
        fresh = self.path / f"{_DATABASE}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _OPEN, 0o600)
        try:
            os.write(fd, database.encode()[:_DATABASE_MOST_BYTES])
        finally:
            os.close(fd)
        fresh.replace(self.path / _DATABASE)

    def remove(self) -> None:
        """Remove the folder when no segment is in it, and let the lock go."""
        with suppress(OSError):  # removed by somebody else, or not removable: an adopter tries again
            if self._lock >= 0 and not any(True for _ in segments_in(self.path)):
                for name in (_DATABASE, f"{_DATABASE}.new"):
                    (self.path / name).unlink(missing_ok=True)
                (self.path / _LOCK).unlink()
                self.path.rmdir()
        self.let_go()


def prepare(folder: Path) -> None:
    """Make the folder of the spool when it is missing, and see that it is this user's alone.

    One that was there is closed to others when it is empty, as a volume is that was mounted for us, or holds nothing
    but a spool. Any other one may be in use by somebody else, who would be locked out: /tmp, /data or /var/lib for root
    in a container.

    Raises:
        OSError: that is not possible. PermissionError, without an ``errno`` and with a text that says all, when the
            folder belongs to somebody else, who may have planted it, or is not for the spool alone.
    """
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    except OSError as error:  # no right, no room, or a file in the way: of the folder, even if a parent is at fault
        raise OSError(error.errno, error.strerror, str(folder)) from error
    with _opened(folder) as (opened, mode):
        if why := _unfit(opened, mode):
            raise _shared(folder, why)
        if mode & _OTHERS:
            os.fchmod(opened, mode & _PRIVATE)


def unfit(folder: Path) -> str:
    """Why :func:`prepare` would refuse a folder of this user's; empty when it would not. Nothing is changed.

    Raises:
        OSError: it cannot be looked at.
    """
    with _opened(folder) as (opened, mode):
        return _unfit(opened, mode)


def check(folder: Path) -> None:
    """See that nobody else may have planted what is in the folder of the spool; nothing is changed.

    Raises:
        OSError: it is missing or no folder. PermissionError, without an ``errno`` and with a text that says all, when
            the folder belongs to somebody else, or everybody may write there.
    """
    with _opened(folder) as (_, mode):
        if mode & _OTHERS and mode & _SHARED:
            raise _shared(folder, "where everybody may write")


def spool_of(path: Path) -> Path:
    """The folder of the spool that one of its files or folders is in; the path itself when it is none of them."""
    if path.suffix == SEGMENT or path.name == _LOCK:
        path = path.parent
    return path.parent if _is_owner_name(path.name) else path


def owners_in(folder: Path) -> Iterator[Path]:
    """Folders of processes, living and dead, by name; none when the spool's is missing.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if _is_owner(entry))
    except FileNotFoundError:  # nothing was spooled yet
        return iter(())
    return (folder / name for name in names)


def database_of(owner: Path) -> str | None:
    """Which database the records of a process are for; None when it did not know.

    Raises:
        OSError: it cannot be read.
    """
    try:
        fd = os.open(owner / _DATABASE, os.O_RDONLY | _OPEN)
    except FileNotFoundError:  # an earlier version made the folder, or there was no address; or all of it is gone
        return None
    try:
        return os.read(fd, _DATABASE_MOST_BYTES).decode(errors="replace") or None
    finally:
        os.close(fd)


def is_for(owner: Path, database: str | None) -> bool:
    """Whether the records of a process may go to this database; when either is not known they may.

    Raises:
        OSError: it cannot be read.
    """
    return database is None or database_of(owner) in {None, _shortened(database)}


def segments_in(owner: Path) -> Iterator[Path]:
    """Segments of a process, oldest first; none when its folder is gone.

    Raises:
        OSError: it cannot be read.
    """
    try:
        names = sorted(name for name in os.listdir(owner) if name.endswith(SEGMENT))  # noqa: PTH208 - names are enough
    except FileNotFoundError:  # removed meanwhile
        return iter(())
    return (owner / name for name in names)


def bytes_in(folder: Path) -> int:
    """Bytes of all files right in a folder; 0 when it is gone."""
    total = 0
    with suppress(OSError), os.scandir(folder) as entries:  # removed meanwhile
        for entry in entries:
            with suppress(OSError):  # the same of a file
                total += entry.stat(follow_symlinks=False).st_size
    return total


def set_aside(folder: Path, name: str, data: bytes) -> bool:
    """Keep bytes that are no record, for somebody to look at; there is room for 16 MiB of them.

    Args:
        folder: of the spool.
        name: tells where they stood, so that they are kept and counted once.
        data: the bytes.

    Returns:
        False when they were set aside before.
    """
    aside = folder / ASIDE
    with suppress(OSError):  # no right or no room; opening the file says the same
        aside.mkdir(mode=_PRIVATE)
    try:
        kept = os.open(aside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    except FileExistsError:  # read once before
        return False
    except OSError:  # no room and no right to keep them: they are counted at least
        return True
    try:
        if bytes_in(aside) + len(data) <= _ASIDE_MOST_BYTES:
            os.write(kept, data)
    except OSError:  # the disk is full: the empty file says that it was
        pass
    finally:
        os.close(kept)
    return True


def _shortened(database: str) -> str:
    return database.encode()[:_DATABASE_MOST_BYTES].decode(errors="replace")


def _lock_in(owner: Path, flags: int) -> int | None:
    """Open and take the lock in a folder; None when somebody else has it, or had it and removed it."""
    lock = os.open(owner / _LOCK, os.O_RDWR | flags | _OPEN, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return lock
    except BlockingIOError:  # somebody else has it
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


@contextmanager
def _opened(folder: Path) -> Generator[tuple[int, int]]:
    """The folder of the spool, open, and its mode.

    Raises:
        OSError: it is missing or no folder; PermissionError when it belongs to somebody else.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
    try:
        found = os.fstat(opened)
        if found.st_uid != os.geteuid():
            raise PermissionError(
                f"the spool cannot be in {folder}, which belongs to another user: "
                "set INTENT_EVENTS_SPOOL_DIR to a folder of this user's own"
            )
        yield opened, stat.S_IMODE(found.st_mode)
    finally:
        os.close(opened)


def _unfit(opened: int, mode: int) -> str:
    if not mode & _OTHERS:
        return ""
    with os.scandir(opened) as entries:
        there = list(entries)
        if mode & stat.S_ISVTX or (there and mode & stat.S_IWOTH):
            return "where everybody may write"
        return "" if all(map(_is_of_a_spool, there)) else "which is open to others and holds more than a spool"


def _shared(folder: Path, why: str) -> PermissionError:
    return PermissionError(
        f"the spool cannot be in {folder}, {why}: set INTENT_EVENTS_SPOOL_DIR to a folder of its own, such as "
        f"{folder / 'intent-events'}, or chmod 700 {folder} when it is for the spool alone"
    )


def _is_owner(entry: os.DirEntry[str]) -> bool:
    return _is_owner_name(entry.name) and entry.is_dir(follow_symlinks=False)


def _is_owner_name(name: str) -> bool:
    return len(name) == _OWNER_LENGTH and _OWNER_CHARS.issuperset(name)


def _is_of_a_spool(entry: os.DirEntry[str]) -> bool:
    return _is_owner(entry) or (entry.name == ASIDE and entry.is_dir(follow_symlinks=False))


def _let_go_all() -> None:
    _opening.release()
    for home in _held:
        home.let_go()


# Nobody forks between the opening of a lock and its being held: the child would keep it without knowing.
os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_let_go_all)
