# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the address of Postgres, the spool, and what an exit code says."""

from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated

import typer

from intent_events.cli.formats import printable
from intent_events.errors import SettingsError
from intent_events.review.windows import parse_duration
from intent_events.settings import DeliverySettings

Dsn = Annotated[
    str,
    typer.Option(
        envvar="INTENT_EVENTS_DSN",
        metavar="DSN",
        show_default=False,
        help="postgresql://user:password@host/db. Better set the variable: arguments can be seen in ps. "
        "Without both, the file that INTENT_EVENTS_DSN_FILE names has it.",
    ),
]
"""The flag ``--dsn``."""

SpoolDir = Annotated[
    Path | None,
    typer.Option(
        envvar="INTENT_EVENTS_SPOOL_DIR",
        metavar="FOLDER",
        show_default=False,
        help="Spool of this host: that of the service. Its default if not set.",
    ),
]
"""The flag ``--spool-dir``."""


class Shown(StrEnum):
    """How a command prints that has no rows to export."""

    TABLE = "table"
    JSON = "json"


class Exit(IntEnum):
    """Exit codes of every command; 0 is fine."""

    FOUND = 1
    """The check found something."""

    WRONG_USE = 2
    """A flag, a variable or a file cannot be used."""

    COULD_NOT_ASK = 3
    """No database, no table or no permission: nothing can be said."""


def address(dsn: str) -> str:
    """The address of Postgres: that of the flag, else ``INTENT_EVENTS_DSN``, else ``INTENT_EVENTS_DSN_FILE``.

    Args:
        dsn: what :data:`Dsn` gave: the flag, or else the variable.

    Returns:
        Nothing when there is none of them.

    Raises:
        SettingsError: the file cannot be read.
    """
    return dsn or DeliverySettings.from_environment().read_dsn() or ""


def seconds_of(text: str, *, name: str, like: str = "30s or 2m") -> float:
    """Seconds that a duration says.

    Args:
        text: ``30s``, ``2m`` …
        name: the flag and the variable that it came from, for the error.
        like: what to write instead, for the error.

    Raises:
        SettingsError: it is no duration.
    """
    duration = parse_duration(text)
    if duration is None:
        raise SettingsError(f"{name}: {text!r} is no duration; write {like}")
    return duration.total_seconds()


def named_spool(folder: Path | None) -> Path | None:
    """The folder that was named, if any.

    Raises:
        SettingsError: it is missing: the service keeps its own from its first record on, so this is another one.
    """
    if folder is not None and not folder.exists():
        where = printable(str(folder))
        raise SettingsError(f"there is no spool at {where}: check --spool-dir (INTENT_EVENTS_SPOOL_DIR)")
    return folder
