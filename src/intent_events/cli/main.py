# SPDX-License-Identifier: Apache-2.0
"""The command ``intent-events``."""

import sys


def run() -> None:
    """Run the command line; says what to install when the extra of a command is missing."""
    try:
        from intent_events.cli.app import app  # noqa: PLC0415 - typer may be missing, and that has to be said kindly
    except ModuleNotFoundError as error:  # the core was installed without its command line
        if error.name is None or error.name.partition(".")[0] == "intent_events":
            raise
        sys.stderr.write(f"intent-events: the command line needs {error.name}: pip install 'intent-events[cli]'\n")
        sys.exit(2)  # as other wrong use: 1 would be what a check has found
    app()
