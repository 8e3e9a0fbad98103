# SPDX-License-Identifier: Apache-2.0
"""Why a record was not taken."""

import errno
import os
from enum import StrEnum
from pathlib import Path
from typing import Final

from intent_events_exporter.spool.folder import spool_of

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Refusal(StrEnum):
    """Why a record was not taken."""

    SPOOL_FULL = "spool_full"
    """The spool holds as many bytes as it may."""
    DISK_FULL = "disk_full"
    """The disk, the quota or the size of a file is at its limit."""
    SPOOL_UNWRITABLE = "spool_unwritable"
    """The folder cannot be used: read-only, no folder, not ours alone, or its disk fails."""


class SpoolError(Exception):
    """A record was not taken, or the spool cannot be read.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class UnsyncedError(Exception):
    """A record was taken, and survives the death of the process; a loss of power now may lose it."""


def refused(error: OSError, folder: Path | None = None) -> SpoolError:
    """What an error of the file system means for a record.

    Args:
        error: it may name a file of the spool.
        folder: of the spool, for an error that names none.
    """
    if error.errno is None:  # of ours: its text names the folder and the remedy
        return SpoolError(Refusal.SPOOL_UNWRITABLE, str(error))
    name = errno.errorcode.get(error.errno, "an unknown error")
    # The folder alone: what is in it has another name each time, and a log says the same line once.
    named = folder if error.filename is None else spool_of(Path(os.fsdecode(error.filename)))
    place = "" if named is None else f" {named}"
    if error.errno in _FULL:
        return SpoolError(Refusal.DISK_FULL, f"the disk of the spool{place} is full ({name}): make room there")
    text = f"the spool{place} cannot be used ({name}): INTENT_EVENTS_SPOOL_DIR must be a folder of this user's alone"
    return SpoolError(Refusal.SPOOL_UNWRITABLE, text)
