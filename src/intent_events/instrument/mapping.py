# SPDX-License-Identifier: Apache-2.0
"""Where a handler keeps what is recorded: its text, who asked, and the trace in its result."""

import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path
from re import compile as compile_pattern
from typing import Any, Final, cast

from intent_events.errors import SettingsError
from intent_events.instrument.troubles import trouble
from intent_events.mending import field_of
from intent_events.semconv import Outcome, Stage
from intent_events.trace import TRACE_FIELDS, IntentTrace

ROLES: Final = ("utterance", "text", "message", "query")
"""Names under which the text is looked for, in this order."""

CONTEXTS: Final = ("ctx", "context")
"""Arguments in whose attributes or keys the fields are looked for next."""

FROM_ARGUMENTS: Final = (
    "session_id",
    "actor_id",
    "entrypoint",
    "scope",
    "subject_ref_type",
    "subject_ref_id",
    "synthetic",
)
"""Fields that are taken from the arguments, or from a context argument, by their names."""

_UTTERANCE: Final = "utterance"
_OUTCOME: Final = "outcome"
_OUTCOMES: Final = frozenset(outcome.value for outcome in Outcome)
_MARKS: Final = tuple(name for name in TRACE_FIELDS if name not in {_OUTCOME, *FROM_ARGUMENTS})
_PLACE: Final = compile_pattern(r"\((at (?:line \d+, column \d+|end of document))\)$")

_KNOWN: Final[dict[str, frozenset[str] | None]] = {
    "arguments": frozenset({_UTTERANCE, *TRACE_FIELDS}),
    "result": frozenset({"trace", *TRACE_FIELDS}),
    "outcomes": None,
    "stages": frozenset(stage.value for stage in Stage),
}

_Path = str | Sequence[str]


@dataclass(frozen=True, slots=True)
class HandlerMapping:
    """Where an orchestrator with other names keeps things; what is not said here is found by its usual name.

    Attributes:
        arguments: field (or ``utterance``) -> path, which begins with the name of an argument: ``"q.message"``, or
            its parts.
        result: field -> path within the result; ``trace`` names where the trace itself is.
        outcomes: outcome label of the orchestrator -> ours.
        stages: stage -> target that is wrapped as its child span.
    """

    arguments: Mapping[str, _Path] = field(default_factory=dict[str, _Path])
    result: Mapping[str, _Path] = field(default_factory=dict[str, _Path])
    outcomes: Mapping[str, str] = field(default_factory=dict[str, str])
    stages: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Check the names, since a misspelt one would lose what it stands for at every call.

        Raises:
            SettingsError: a field or stage does not exist.
        """
        for table, names in (("arguments", self.arguments), ("result", self.result), ("stages", self.stages)):
            for name in names:
                _check(table, name, "the mapping")

    def trace_in(self, result: object) -> object:
        """The trace of the orchestrator's own that a result is or has; None without one."""
        return _resolve(result, self.result["trace"]) if "trace" in self.result else find_trace(result, self.outcomes)

    def apply(self, found: object, result: object) -> object:
        """What to record, as an object or mapping with the fields of an IntentTrace; None when there is nothing.

        Args:
            found: the trace that the result has.
            result: what the handler gave.
        """
        if not self.outcomes and not self.result:
            return found
        mapped = {name: _resolve(result, path) for name, path in self.result.items() if name != "trace"}
        if not self.outcomes and not mapped:
            return found
        fields = {name: field_of(found, name) for name in TRACE_FIELDS}
        fields |= {name: value for name, value in mapped.items() if value is not None}
        label = getattr(fields["outcome"], "value", fields["outcome"])
        fields["outcome"] = self.outcomes.get(label, label) if isinstance(label, str) else label
        if isinstance(found, IntentTrace):
            for name, value in fields.items():
                setattr(found, name, value)
            return found
        return fields


def load_mapping(path: str | PathLike[str]) -> HandlerMapping:
    """Read a mapping file.

    Args:
        path: TOML with the tables ``[arguments]``, ``[result]``, ``[outcomes]`` and ``[stages]``, each optional.

    Raises:
        SettingsError: the file cannot be read, or names a table, field or stage that does not exist.
    """
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # not there, not UTF-8, no TOML, or nested beyond reading
        at = _PLACE.search(str(error))  # and nothing else of its text, which could hold what stands there
        why = type(error).__name__ + (f" {at[1]}" if at else "")
        raise SettingsError(f"the mapping file {path} cannot be read ({why}): give a readable TOML file") from error
    read: dict[str, dict[str, str]] = {}
    for table, entries in tables.items():
        if table not in _KNOWN:
            raise SettingsError(f"the mapping file {path} has a table [{table}]: only {', '.join(_KNOWN)} are known")
        if not isinstance(entries, dict):
            raise SettingsError(f"the mapping file {path} gives {table} a value: make it a table [{table}]")
        for name, where in cast("dict[str, object]", entries).items():
            _check(table, name, f"the mapping file {path}")
            if not isinstance(where, str) or not where:
                raise SettingsError(f"the mapping file {path} gives {name} in [{table}] no text: write it as a string")
            read.setdefault(table, {})[name] = where
    return HandlerMapping(
        arguments=read.get("arguments", {}),
        result=read.get("result", {}),
        outcomes=read.get("outcomes", {}),
        stages=read.get("stages", {}),
    )


def _check(table: str, name: str, whose: str) -> None:
    names = _KNOWN[table]
    if names is not None and name not in names:
        raise SettingsError(f"{whose} maps {name} in [{table}]: it knows {', '.join(sorted(names))}")


def find_trace(result: object, labels: Collection[str] = ()) -> object:
    """The trace that a result is or has under ``trace``; None when it has none.

    A result is a trace itself when it says an outcome: one of the contract or of ``labels``, or any label beside a
    field that only a trace has. Fields of arguments, which a reply may repeat, do not make one.

    Args:
        result: what the handler gave.
        labels: outcomes of the orchestrator's own.
    """
    if isinstance(result, IntentTrace):
        return result
    if result is None or isinstance(result, (str, bytes, int, float)):
        return None
    trace = field_of(result, "trace")
    if not (trace is None or isinstance(trace, (str, bytes, int, float)) or callable(trace)):
        return trace
    label = field_of(result, _OUTCOME)
    if label is None:
        return None
    label = getattr(label, "value", label)
    if issubclass(type(label), str):
        spelled = str.__str__(cast("str", label))
        if spelled in _OUTCOMES or spelled in labels:
            return result
    return result if any(field_of(result, mark) is not None for mark in _MARKS) else None


class ArgumentReader:
    """Reads the text and the fields of one handler's arguments, by the positions that its signature gives them."""

    __slots__ = ("_defaults", "_mapping", "_names")

    def __init__(self, handler: Callable[..., object], mapping: HandlerMapping) -> None:
        """Read the arguments of this handler.

        Args:
            handler: the function as it is called: bound when it is a method.
            mapping: where things are when they have other names.
        """
        self._mapping = mapping
        self._names, self._defaults = _parameters(handler)

    def read(self, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[object, dict[str, Any]]:
        """The raw text, and the fields that are known before the handler runs.

        Args:
            args: positional arguments, without ``self``.
            kwargs: arguments by name.
        """
        given: dict[str, object] = {**self._defaults, **kwargs}
        given.update(zip(self._names, args, strict=False))
        mapped = self._mapping.arguments
        text = _resolve(given, mapped[_UTTERANCE]) if _UTTERANCE in mapped else _text_among(given)
        fields: dict[str, Any] = {name: value for name in FROM_ARGUMENTS if (value := given.get(name)) is not None}
        for name in CONTEXTS:
            context = given.get(name)
            if context is not None:
                _take_missing(fields, context)
        for name, path in mapped.items():
            if name != _UTTERANCE:
                fields[name] = _resolve(given, path)
        return text, fields


def _text_among(given: Mapping[str, object]) -> object:
    for role in ROLES:
        value = given.get(role)
        if issubclass(type(value), str):
            return value
    return None


def _take_missing(fields: dict[str, Any], context: object) -> None:
    for name in FROM_ARGUMENTS:
        if name not in fields:
            value = field_of(context, name)
            if value is not None:
                fields[name] = value


def _parameters(handler: Callable[..., object]) -> tuple[tuple[str, ...], dict[str, object]]:
    """Names of the parameters that may be given by position, and what stands for those that are not given."""
    try:
        parameters = signature(handler).parameters.values()
    except (TypeError, ValueError):  # a built-in without a signature: its arguments are read by name only
        trouble("intent-events: a handler has no signature, so only its named arguments are recorded")
        return (), {}
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(parameter.name for parameter in parameters if parameter.kind in kinds)
    return names, {each.name: each.default for each in parameters if each.default is not Parameter.empty}


def _resolve(root: object, path: _Path) -> object:
    value = root
    for part in path.split(".") if isinstance(path, str) else path:
        if part.isdecimal() and issubclass(type(value), (list, tuple)):
            items = cast("Sequence[object]", value)
            value = items[int(part)] if int(part) < len(items) else None
        else:
            value = field_of(value, part)
    return value
