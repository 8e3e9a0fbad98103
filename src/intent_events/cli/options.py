# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the address of Postgres, and what an exit code says."""

from enum import IntEnum
from typing import Annotated

import typer

Dsn = Annotated[
    str,
    typer.Option(
        envvar="INTENT_EVENTS_DSN",
        metavar="DSN",
        show_default=False,
        help="postgresql://user:password@host/db. Better set the variable: arguments can be seen in ps.",
    ),
]
"""The flag ``--dsn``."""


class Exit(IntEnum):
    """Exit codes of every command; 0 is fine."""

    FOUND = 1
    """The check found something."""

    WRONG_USE = 2
    """A flag, a variable or a file cannot be used."""

    COULD_NOT_ASK = 3
    """No database, no table or no permission: nothing can be said."""
