# SPDX-License-Identifier: Apache-2.0
"""What an operator can meet is in the documentation, or the test fails with the list of what is not."""

import ast
import re
from collections.abc import Iterable
from enum import Enum
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from intent_events import semconv
from intent_events.cli.app import app
from intent_events.instrument.guard import Withheld
from intent_events.privacy.patterns import PersonalKind
from intent_events.rows import RejectReason
from intent_events.settings import SETTINGS, variable_of
from intent_events.sink.answers import Why
from intent_events.store.removal import ERASED
from intent_events.store.write import REFUSED
from intent_events_exporter.metrics import Dropped
from support.postgres import Database

PROJECT: Final = Path(__file__).parents[2]
PAGES: Final = "\n".join(
    page.read_text("utf-8") for page in [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
)
"""README and every page of ``docs/``."""

_INSTRUMENTS: Final = frozenset(
    {
        *("create_counter", "create_histogram", "create_up_down_counter", "create_gauge"),
        *("create_observable_counter", "create_observable_gauge", "create_observable_up_down_counter"),
    }
)


# Blocks of code, and what stands within backticks: a name that is only a word of a sentence is not explained.
_CODE: Final = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_WORDS: Final = frozenset(
    word for code in _CODE.findall(PAGES) for word in re.split(r"[\s`\[\](){}=,;:|\"'<>]+", code)
)  # fmt: skip


def missing(names: Iterable[str]) -> list[str]:
    """Names that no page mentions as code and in full."""
    return sorted(set(names) - _WORDS)


def commands() -> dict[str, TyperCommand]:
    """Every command of ``intent-events`` by its name."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if isinstance(command, TyperCommand)}


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented(name: str) -> None:
    """A command, each of its flags and each of their environment variables are on some page."""
    assert f"intent-events {name}" in PAGES
    options = _options(commands()[name])
    flags = [max(option.opts, key=len) for option in options]
    assert missing([*flags, *(variable for option in options for variable in _variables(option))]) == []


@pytest.mark.parametrize("name", commands())
def test_every_flag_has_an_environment_variable(name: str) -> None:
    """Whatever a flag can say a variable can say, and the help tells its name and its meaning."""
    asked = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    shown = re.sub(r"\W", "", asked.output)
    for option in _options(commands()[name]):
        assert _variables(option), f"{option.opts} has no environment variable"
        assert option.help, f"{option.opts} has no help"
        assert [variable for variable in _variables(option) if variable not in shown] == []


def _options(command: TyperCommand) -> list[TyperOption]:
    return [option for option in command.params if isinstance(option, TyperOption) and not option.is_eager]


def _variables(option: TyperOption) -> list[str]:
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())


def test_every_setting_is_documented() -> None:
    """Every environment variable that is a setting is on some page."""
    assert missing(variable_of(settings, name) for settings in SETTINGS for name in settings.model_fields) == []


def test_every_attribute_is_documented() -> None:
    """Every attribute key of the span contract is spelled out on some page."""
    keys = [value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)]
    lists = [
        prefix + suffix
        for prefix in (semconv.CANDIDATES_PRE, semconv.CANDIDATES_POST)
        for suffix in (semconv.VERBS, semconv.SCORES, semconv.SOURCES, semconv.TOTAL)
    ]
    plain = [key for key in keys if "." in key and key[0] != "." and "/" not in key]
    assert len(plain) > 40
    assert missing([*plain, *lists]) == []


def _values(*enums: type[Enum]) -> list[str]:
    return [str(member.value) for enum in enums for member in enum]


def test_every_label_is_documented() -> None:
    """Every value of every enum of the contract, quality flags among them, is explained on some page."""
    enums: list[type[Any]] = [member for _, member in getmembers(semconv, isclass) if issubclass(member, Enum)]
    ours = [enum for enum in enums if enum.__module__ == semconv.__name__]
    assert len(ours) > 6
    assert missing(_values(*ours)) == []


def test_every_reason_is_documented() -> None:
    """Every reason for which a record is refused or dropped is explained on some page."""
    values = _values(RejectReason, Dropped, Withheld, PersonalKind)
    assert missing([*values, REFUSED, ERASED, *(why.value.label for why in Why)]) == []


def metric_names() -> list[str]:
    """Names of all metrics that the source makes, as its syntax trees spell them."""
    calls = [
        node
        for folder in ("src", "exporter/src")
        for path in (PROJECT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _INSTRUMENTS
    ]
    names = [call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)]
    assert len(names) == len(calls), "a metric's name stands where it is made"
    return [str(name) for name in names]


def test_every_metric_is_documented() -> None:
    """Every metric is on some page."""
    assert len(metric_names()) >= 3
    assert missing(metric_names()) == []


async def test_every_column_is_documented(pg: Database) -> None:
    """Every table, view and column of schema agent is on some page."""
    columns = await pg.fetch(
        "SELECT c.relname::text AS relation, a.attname::text AS name FROM pg_class AS c JOIN pg_attribute AS a"
        " ON a.attrelid = c.oid WHERE c.relnamespace = 'agent'::regnamespace AND c.relkind IN ('r', 'p', 'v')"
        " AND NOT c.relispartition AND a.attnum > 0 AND c.relname <> 'schema_version'"
    )
    relations = {row["relation"] for row in columns}
    assert len(relations) > 9
    assert missing(f"agent.{relation}" for relation in relations) == []
    assert missing(row["name"] for row in columns) == []
