# SPDX-License-Identifier: Apache-2.0
"""Commands run in this process, as they are typed."""

from typer.testing import CliRunner, Result

from intent_events.cli.app import app


def run(*arguments: str, **environment: str) -> Result:
    """Run ``intent-events`` with these arguments and variables; what it did not expect is raised."""
    result = CliRunner().invoke(app, list(arguments), env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
