# SPDX-License-Identifier: Apache-2.0
"""All commands in one application: the composition root."""

from typing import Annotated

import typer

from intent_events.cli.demo import demo
from intent_events.cli.migrate import migrate
from intent_events.cli.report import report
from intent_events.version import __version__

app = typer.Typer(
    name="intent-events",
    help="See what an orchestrator made of its utterances. Every flag has an environment variable, named in its help.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with local variables would show addresses and texts
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    *,
    _asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for command in (demo, migrate, report):
    app.command()(command)
