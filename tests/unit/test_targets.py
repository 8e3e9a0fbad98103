# SPDX-License-Identifier: Apache-2.0
"""Handlers are wrapped by their names, now or when they are imported, and left as they were afterwards."""

import asyncio
import importlib
import sys
from types import ModuleType
from typing import Any

import pytest

from intent_events import IntentEventsInstrumentor
from unit.orchestrators import TARGETS, Make, Start
from unit.traced import UTTERANCE, Traced


def everything_in(module: ModuleType) -> dict[str, Any]:
    """Every attribute of a module, its classes and its objects, by name, as it stands in their dictionaries."""
    found = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    for name in ("Orchestrator", "Orchestrator.Inner", "Heir", "orchestrator"):
        holder: Any = module
        for part in name.split("."):
            holder = getattr(holder, part)
        own: dict[str, Any] = {**vars(holder)}
        found |= {f"{name}.{key}": value for key, value in own.items() if not key.startswith("__")}
    return found


def exercise(module: Any) -> int:
    """Call every target; how many calls that were."""
    thing, heir = module.Orchestrator(), module.Heir()
    assert thing.handle(UTTERANCE) == ("handle", thing, UTTERANCE)
    assert module.Orchestrator.handle(thing, UTTERANCE) == ("handle", thing, UTTERANCE)
    assert module.Orchestrator.of_class(UTTERANCE) == (module.Orchestrator, UTTERANCE)
    assert module.Heir.of_class(UTTERANCE) == (module.Heir, UTTERANCE)
    assert thing.static(UTTERANCE) == module.Orchestrator.static(UTTERANCE) == UTTERANCE
    assert asyncio.run(thing.answer(UTTERANCE)) == UTTERANCE
    assert module.Orchestrator.Inner().handle(UTTERANCE) == UTTERANCE
    assert heir.search(UTTERANCE) == UTTERANCE
    assert module.handle(UTTERANCE) == UTTERANCE
    assert list(module.stream(UTTERANCE)) == [UTTERANCE]
    assert module.orchestrator.search(UTTERANCE) == UTTERANCE
    return 12


@pytest.mark.parametrize("imported_before", [True, False])
def test_targets_of_every_kind(imported_before: bool, module: Make, instrumentor: Start, traced: Traced) -> None:  # noqa: FBT001 - a table
    """Each target is recorded once a call, whether its module was imported before or is later."""
    name = module()
    if imported_before:
        importlib.import_module(name)
    instrumentor(targets=[f"{name}:{path}" for path in TARGETS])
    calls = exercise(importlib.import_module(name))
    assert len(traced.roots) == len(traced.spans) == calls
    assert {row.utterance_preview for row in traced.rows} == {"assign <name?> <number> as custodian"}


def test_uninstrument_leaves_everything_as_it_was(module: Make, instrumentor: Start, traced: Traced) -> None:
    """Afterwards every function, method and class holds what it held before, and works the same."""
    name = module()
    orchestrator = importlib.import_module(name)
    before = everything_in(orchestrator)
    instrumentor(targets=[f"{name}:{path}" for path in TARGETS]).uninstrument()
    after = everything_in(orchestrator)
    assert after.keys() == before.keys()
    assert [key for key in before if after[key] is not before[key]] == []
    exercise(orchestrator)
    assert not traced.spans


def test_again_and_again(module: Make, instrumentor: Start, traced: Traced) -> None:
    """Instrumenting anew records each call once, with the targets of that time."""
    name = module()
    instrumentor(targets=[f"{name}:handle"]).uninstrument()
    instrumentor(targets=[f"{name}:Orchestrator.handle"])
    orchestrator = importlib.import_module(name)
    orchestrator.handle(UTTERANCE)
    assert not traced.spans
    orchestrator.Orchestrator().handle(UTTERANCE)
    assert len(traced.spans) == 1
    IntentEventsInstrumentor().uninstrument()
    instrumentor(targets=[f"{name}:handle"])
    orchestrator.handle(UTTERANCE)
    assert len(traced.spans) == 2


def test_twice_at_once(module: Make, instrumentor: Start, traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """A second ``instrument()`` without an ``uninstrument()`` is refused as OpenTelemetry does, and changes nothing."""
    name = module()
    one, other = instrumentor(targets=[f"{name}:handle"]), instrumentor(targets=[f"{name}:handle"])
    assert one is other
    assert "already instrumented" in caplog.text
    importlib.import_module(name).handle(UTTERANCE)
    assert len(traced.spans) == 1
    one.uninstrument()
    one.uninstrument()


def test_a_target_that_is_named_twice(module: Make, instrumentor: Start, traced: Traced) -> None:
    """A target counts once; a single text is a single target."""
    name = module()
    instrumentor(targets=[f"{name}:handle", f"{name}:handle"])
    importlib.import_module(name).handle(UTTERANCE)
    assert len(traced.spans) == 1
    IntentEventsInstrumentor().uninstrument()
    instrumentor(targets=f"{name}:handle")
    importlib.import_module(name).handle(UTTERANCE)
    assert len(traced.spans) == 2


def test_no_targets_wrap_nothing(module: Make, instrumentor: Start, traced: Traced) -> None:
    """Without targets nothing is wrapped."""
    name = module()
    orchestrator = importlib.import_module(name)
    before = everything_in(orchestrator)
    instrumentor()
    assert everything_in(orchestrator) == before
    assert not traced.spans


def test_a_handler_that_somebody_else_wrapped_since(module: Make, instrumentor: Start, traced: Traced) -> None:
    """What was wrapped after us stays in place; beneath it nothing is recorded any more."""
    name = module()
    orchestrator: Any = importlib.import_module(name)
    made = instrumentor(targets=[f"{name}:handle"])
    ours = orchestrator.handle

    def theirs(utterance: str) -> tuple[str, str]:
        return "theirs", ours(utterance)

    orchestrator.handle = theirs
    orchestrator.handle("hello")
    made.uninstrument()
    assert orchestrator.handle("hello") == ("theirs", "hello")
    assert len(traced.spans) == 1


@pytest.mark.parametrize(
    ("target", "log"),
    [
        ("handle", "'handle' is not of the form pkg.mod:Class.method"),
        (":handle", "is not of the form"),
        ("{module}:", "is not of the form"),
        ("{module}:hundle", "{module}:hundle names nothing that can be called: check its spelling"),
        ("{module}:Orchestrator.hundle", "names nothing that can be called"),
        ("{module}:Orchestra.handle", "names nothing that can be called"),
        ("{module}:not_callable", "names nothing that can be called"),
        ("{module}:slotted.handle", "{module}:slotted.handle cannot be wrapped (TypeError)"),
        ("builtins:str.upper", "builtins:str.upper cannot be wrapped (TypeError)"),
    ],
)
def test_a_target_that_cannot_be_wrapped(
    target: str, log: str, module: Make, instrumentor: Start, traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with what is wrong; the module is imported, and the other targets are recorded."""
    name = module()
    instrumentor(targets=[target.format(module=name), f"{name}:handle"])
    orchestrator = importlib.import_module(name)
    assert log.format(module=name) in caplog.text
    assert orchestrator.handle(UTTERANCE) == UTTERANCE
    assert len(traced.spans) == 1


def test_a_target_in_the_script_itself(instrumentor: Start, caplog: pytest.LogCaptureFixture) -> None:
    """What the script has not defined yet cannot be wrapped by its name: the line names the decorator."""
    instrumentor(targets=["__main__:no_such_handler"])
    assert (
        "the target __main__:no_such_handler names nothing yet: put @record_utterance on a handler in the script "
        "itself, or move it to a module" in caplog.text
    )


def test_a_target_that_the_script_has_defined(
    instrumentor: Start, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the script when it instruments itself is wrapped."""

    def handle(utterance: str) -> str:
        return utterance

    main: Any = sys.modules["__main__"]
    monkeypatch.setattr(main, "handle_of_a_script", handle, raising=False)
    made = instrumentor(targets=["__main__:handle_of_a_script"])
    main.handle_of_a_script(UTTERANCE)
    made.uninstrument()
    assert len(traced.roots) == 1


def test_a_module_that_raises_when_it_is_looked_into(
    module: Make, instrumentor: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A lazy module whose attributes cannot be had is imported all the same."""
    name = module("def __getattr__(name):\n    raise ImportError('assign')\n")
    instrumentor(targets=[f"{name}:handle"])
    importlib.import_module(name)
    assert f"{name}:handle cannot be wrapped (ImportError)" in caplog.text
    assert "assign" not in caplog.text


def test_a_module_that_is_never_imported(instrumentor: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A target whose module nobody imports waits, and imports nothing by itself."""
    instrumentor(targets=["no_such_package.module:handle"])
    assert not caplog.records
