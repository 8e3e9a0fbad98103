# SPDX-License-Identifier: Apache-2.0
"""The folder of the spool: whose it may be, when it is closed to others, and how one that cannot be used is named."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from intent_events_exporter.spool import Refusal, Spool, SpoolError
from intent_events_exporter.spool.folder import ASIDE
from intent_events_exporter.spool.refusal import refused
from intent_events_exporter.spool.segment import encode_frame, encode_header
from support.spool_process import PLENTY, adopted, drained, left_by_the_dead, spools

_NOBODY = 65_534


def test_nobody_else_may_look(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """Folders are 0700 and files 0600 whatever the umask, and a folder that only a spool is in is closed to others."""
    folder.mkdir(parents=True)
    folder.chmod(0o775)
    before = os.umask(0)
    try:
        left_by_the_dead(folder, encode_header(1) + b"torn")
        spool = new_spool()
        spool.append(b"record")
        adopted(spool)
    finally:
        os.umask(before)
    paths = [folder, *folder.rglob("*")]
    modes = {path.relative_to(folder): stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {path.relative_to(folder): 0o700 if path.is_dir() else 0o600 for path in paths}
    assert sum(path.is_file() for path in paths) == 3


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o2750, 0o777, 0o2777])
def test_a_folder_that_was_made_for_us(folder: Path, spool: Spool, mode: int) -> None:
    """An empty folder that an administrator made for this user is taken, and closed to others."""
    folder.mkdir(parents=True)
    folder.chmod(mode)
    spool.append(b"record")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def _with_a_file(folder: Path) -> None:
    (folder / "others.db").touch()


def _with_a_folder(folder: Path) -> None:
    (folder / "others").mkdir()


def _with_a_link(folder: Path) -> None:
    (folder / ASIDE).symlink_to(folder.parent)


def _with_a_spool(folder: Path) -> None:
    left_by_the_dead(folder, encode_header(1))


def _with_nothing(folder: Path) -> None:
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("mode", "fill"),
    [
        (0o755, _with_a_file),
        (0o750, _with_a_folder),
        (0o711, _with_a_link),
        (0o1777, _with_nothing),
        (0o777, _with_a_spool),
        (0o1755, _with_nothing),
    ],
)
def test_a_folder_that_others_use(folder: Path, spool: Spool, mode: int, fill: Callable[[Path], None]) -> None:
    """It is left as it is, so that nobody is locked out: the record is refused, with the folder and what to do."""
    folder.mkdir(parents=True)
    fill(folder)
    folder.chmod(mode)
    found = sorted(folder.iterdir())
    with pytest.raises(SpoolError) as caught:
        spool.append(b"record")
    assert caught.value.reason is Refusal.SPOOL_UNWRITABLE
    assert str(folder) in str(caught.value)
    assert "set INTENT_EVENTS_SPOOL_DIR to a folder of its own" in str(caught.value)
    assert "chmod 700" in str(caught.value)
    assert "[Errno" not in str(caught.value)
    assert spool.adopt() is None
    spool.refresh()
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert sorted(folder.iterdir()) == found


def test_a_private_folder_with_other_things(folder: Path, spool: Spool) -> None:
    """A folder that is closed to others may hold what it likes: nobody can be locked out of it."""
    folder.mkdir(parents=True, mode=0o700)
    _with_a_file(folder)
    spool.append(b"record")
    assert drained(spool) == [b"record"]


def test_adopting_changes_no_mode(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """What the dead left is found in a folder that others may look into, and the folder stays as it is."""
    left_by_the_dead(folder, encode_header(1) + encode_frame(b"left", 1))
    folder.chmod(0o755)
    assert adopted(new_spool()) == [b"left"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize("below", ["", "spool", "some/where/spool"])
def test_what_cannot_be_used_is_named(tmp_path: Path, below: str) -> None:
    """Whatever is in the way, the line names the folder that is set, in the same words each time."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    with spools(folder) as make:
        said: set[str] = set()
        for _ in range(2):
            with pytest.raises(SpoolError) as caught:
                make().append(b"record")
            said.add(str(caught.value))
    (line,) = said
    assert f"the spool {folder} cannot be used (" in line
    assert "INTENT_EVENTS_SPOOL_DIR" in line


def test_a_file_within_the_spool_is_named_by_the_folder(folder: Path) -> None:
    """Files of a spool have another name each time, so the line names their folder, and a log says it once."""
    owner = folder / ("a" * 32)
    for path in (owner, owner / "lock", owner / "00000001.spool", folder):
        said = str(refused(PermissionError(errno.EACCES, "denied", str(path))))
        assert f"the spool {folder} cannot be used (EACCES)" in said
    assert f"the disk of the spool {folder} is full" in str(refused(OSError(errno.ENOSPC, "full", str(owner))))
    assert "the spool cannot be used (EIO)" in str(refused(OSError(errno.EIO, "failed")))


def test_the_folder_of_another_user_is_refused(folder: Path, spool: Spool) -> None:
    """Nothing is written to a folder of another user's, nor read from it: they may have planted what is there."""
    if os.geteuid():
        spool = Spool(Path("/usr"), max_bytes=PLENTY)
    else:
        left_by_the_dead(folder, encode_header(1) + encode_frame(b"forged", 1))
        os.chown(folder, _NOBODY, _NOBODY)
    with pytest.raises(SpoolError, match=r"belongs to another user: set INTENT_EVENTS_SPOOL_DIR") as caught:
        spool.append(b"record")
    assert caught.value.reason is Refusal.SPOOL_UNWRITABLE
    assert spool.adopt() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_what_another_user_planted_is_not_adopted(folder: Path, spool: Spool) -> None:
    """A folder in ours that belongs to another user is left alone."""
    os.chown(left_by_the_dead(folder, encode_header(1) + encode_frame(b"forged", 1)), _NOBODY, _NOBODY)
    assert spool.adopt() is None
