# SPDX-License-Identifier: Apache-2.0
"""Why a record was not taken."""

import errno
from enum import StrEnum
from typing import Final

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Refusal(StrEnum):
    """Why a record was not taken."""

    SPOOL_FULL = "spool_full"
    """The spool holds as many bytes as it may."""
    DISK_FULL = "disk_full"
    """The disk, the quota or the size of a file is at its limit."""
    SPOOL_UNWRITABLE = "spool_unwritable"
    """The folder cannot be used: read-only, no folder, not ours, or its disk fails."""


class SpoolError(Exception):
    """A record was not taken, or the spool cannot be read.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def refused(error: OSError) -> SpoolError:
    """What an error of the file system means for a record."""
    name = errno.errorcode.get(error.errno or 0, "an unknown error")
    if error.errno in _FULL:
        return SpoolError(Refusal.DISK_FULL, f"the disk of the spool is full ({name}): make room there")
    text = f"the spool cannot be written ({name}): INTENT_EVENTS_SPOOL_DIR must be a folder of this user's alone"
    return SpoolError(Refusal.SPOOL_UNWRITABLE, text)
