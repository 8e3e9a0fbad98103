# SPDX-License-Identifier: Apache-2.0
"""All commands in one application: the composition root."""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from intent_events.version import __version__

COMMANDS: Final = (
    "demo",
    "doctor",
    "drain",
    "erase",
    "lookup",
    "migrate",
    "reconcile",
    "report",
    "retain",
    "scan",
    "sink",
)
"""Each is the function of that name in the module of that name beside this one."""


class _Lazy(TyperGroup):
    """Imports a command when it is asked for: what one of them needs must not slow down the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        single = _application()
        single.command(cmd_name)(getattr(import_module(f"intent_events.cli.{cmd_name}"), cmd_name))
        return get_command(single)


def _application(**settings: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,  # a traceback with local variables would show addresses and texts
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


app: Final = _application(
    name="intent-events",
    cls=_Lazy,
    help="See what an orchestrator made of its utterances. Every flag has an environment variable, named in its help.",
    no_args_is_help=True,
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
