# SPDX-License-Identifier: Apache-2.0
"""Untouched orchestrators are recorded by the names of their handlers, and left as they were afterwards."""

import asyncio
import importlib
import importlib.metadata
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

import intent_events
from intent_events import HandlerMapping, IntentEventsInstrumentor, instrument
from intent_events.errors import SettingsError
from unit.traced import SETTINGS, TROUBLES, UTTERANCE, Traced

SOURCE = """
import asyncio

class Orchestrator:
    def handle(self, utterance):
        return ("handle", self, utterance)

    @classmethod
    def of_class(cls, utterance):
        return (cls, utterance)

    @staticmethod
    def static(utterance):
        return utterance

    async def answer(self, utterance):
        return await asyncio.to_thread(lambda: self.search(utterance))

    def search(self, utterance):
        return utterance

    class Inner:
        def handle(self, utterance):
            return utterance

class Heir(Orchestrator):
    pass

class Slotted:
    __slots__ = ()

    def handle(self, utterance):
        return utterance

def handle(utterance):
    return utterance

def stream(utterance):
    yield utterance

orchestrator = Orchestrator()
slotted = Slotted()
not_callable = 3
"""
TARGETS = [
    "Orchestrator.handle",
    "Orchestrator.of_class",
    "Orchestrator.static",
    "Orchestrator.answer",
    "Orchestrator.Inner.handle",
    "Heir.search",
    "handle",
    "stream",
    "orchestrator.search",
]

_numbers = itertools.count()
Make = Callable[..., str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the source of a module that can be imported under the name that is returned."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: list[str] = []

    def make(source: str = SOURCE) -> str:
        names.append(f"orchestrator_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(source, "utf-8")
        importlib.invalidate_caches()
        return names[-1]

    yield make
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def instrumentor(traced: Traced) -> Iterator[Callable[..., IntentEventsInstrumentor]]:
    """Instruments with the SDK in memory, and takes everything out again."""

    def start(**kwargs: Any) -> IntentEventsInstrumentor:
        made = IntentEventsInstrumentor()
        providers = {"tracer_provider": traced.provider, "meter_provider": traced.meters}
        made.instrument(**({"settings": SETTINGS, "skip_dep_check": True} | providers | kwargs))
        return made

    yield start
    if IntentEventsInstrumentor().is_instrumented_by_opentelemetry:
        IntentEventsInstrumentor().uninstrument()


Start = Callable[..., IntentEventsInstrumentor]


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


def test_everything_from_the_environment(
    module: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: Traced, instrumentor: Start
) -> None:
    """Targets, mapping, stages, vocabulary and key come from variables alone."""
    name = module()
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(f'[arguments]\nscope = "utterance"\n[stages]\ndiscover = "{name}:Orchestrator.search"\n')
    words = tmp_path / "words.txt"
    words.write_text("zanzibar")
    for variable, value in {
        "INTENT_EVENTS_TARGETS": f"{name}:Orchestrator.answer, {name}:handle",
        "INTENT_EVENTS_MAPPING": str(mapping),
        "INTENT_EVENTS_VOCABULARY": str(words),
        "INTENT_EVENTS_HASH_KEY": "0123456789abcdef",
        "INTENT_EVENTS_HASH_KEY_ID": "k-7",
        "INTENT_EVENTS_SYNTHETIC": "true",
    }.items():
        monkeypatch.setenv(variable, value)
    instrumentor(settings=None)
    orchestrator = importlib.import_module(name)
    asyncio.run(orchestrator.Orchestrator().answer("zanzibar"))
    row = traced.row
    assert (row.scope, row.utterance_preview, row.hash_key_id, row.synthetic) == ("zanzibar", "zanzibar", "k-7", True)
    assert [span.name for span in traced.spans] == ["discover", "handle_utterance"]


def test_settings_that_cannot_be_used(
    module: Make, monkeypatch: pytest.MonkeyPatch, traced: Traced, instrumentor: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable of the wrong form is logged by its name, without its value, and the host runs with the defaults."""
    name = module()
    monkeypatch.setenv("INTENT_EVENTS_SYNTHETIC", "Zebedee")
    instrumentor(settings=None, targets=[f"{name}:handle"])
    importlib.import_module(name).handle(UTTERANCE)
    assert "INTENT_EVENTS_SYNTHETIC" in caplog.text
    assert "Zebedee" not in caplog.text
    assert not traced.row.synthetic
    assert "no INTENT_EVENTS_HASH_KEY, so this process made a key of its own" in caplog.text
    assert (traced.row.hash_key_id or "").startswith("process-")


def test_a_mapping_that_cannot_be_used(
    module: Make, monkeypatch: pytest.MonkeyPatch, traced: Traced, instrumentor: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A mapping file that is not there is logged, and handlers are read by their usual names."""
    name = module()
    monkeypatch.setenv("INTENT_EVENTS_MAPPING", "nowhere.toml")
    instrumentor(settings=None, targets=[f"{name}:handle"])
    importlib.import_module(name).handle(UTTERANCE)
    assert "nowhere.toml" in caplog.text
    assert len(traced.roots) == 1


@pytest.mark.parametrize("variable", ["INTENT_EVENTS_HASH_KEY_FILE", "INTENT_EVENTS_VOCABULARY"])
def test_a_file_that_cannot_be_read(
    variable: str, module: Make, monkeypatch: pytest.MonkeyPatch, traced: Traced, instrumentor: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Without the key or the vocabulary that was asked for nothing of a text is shown, and the log says so."""
    name = module()
    monkeypatch.setenv(variable, "nowhere.txt")
    instrumentor(settings=None, targets=[f"{name}:handle"])
    importlib.import_module(name).handle(UTTERANCE)
    assert "nowhere.txt" in caplog.text
    assert traced.row.utterance_preview is None
    assert len(traced.row.utterance_hash) == 64


def test_words_of_the_host(module: Make, traced: Traced, instrumentor: Start) -> None:
    """Words that the host gives are shown."""
    name = module()
    instrumentor(targets=[f"{name}:handle"], vocabulary=["zanzibar spice"])
    importlib.import_module(name).handle("the spice of Zanzibar")
    importlib.import_module(name).handle("the spice of zanzibar")
    assert [row.utterance_preview for row in traced.rows] == ["the spice of <name?>", "the spice of zanzibar"]


def test_a_mapping_and_stages_of_the_host(module: Make, traced: Traced, instrumentor: Start) -> None:
    """A mapping and stages may be given in code."""
    name = module()
    instrumentor(
        targets=[f"{name}:Orchestrator.answer"],
        mapping=HandlerMapping(arguments={"actor_id": ("utterance",)}),
        stages={"select": f"{name}:Orchestrator.search"},
    )
    asyncio.run(importlib.import_module(name).Orchestrator().answer("hello"))
    assert traced.row.actor_id == "hello"
    assert [span.name for span in traced.spans] == ["select", "handle_utterance"]


def delivery(folder: Path, **points: str) -> None:
    """Install a distribution that delivers, in a folder that is searched for modules."""
    info = folder / "delivery_of_a_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: delivery-of-a-test\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[intent_events_delivery]", *lines, ""]))


DELIVERY = """
from intent_events.errors import SettingsError

calls = []

def attach(tracer_provider, meter_provider):
    calls.append((tracer_provider, meter_provider))
    return lambda: calls.append("detached")

def attach_badly(tracer_provider, meter_provider):
    return lambda: {}["assign"]

def fail(tracer_provider, meter_provider):
    raise KeyError("assign")

def refuse(tracer_provider, meter_provider):
    raise SettingsError("INTENT_EVENTS_X cannot be used")
"""


def test_delivery_is_attached_and_detached(
    module: Make, tmp_path: Path, traced: Traced, instrumentor: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever delivers is called with the providers and undone at the end; one that fails keeps nobody from running."""
    name = module(DELIVERY)
    delivery(
        tmp_path,
        aa=f"{name}:attach",
        bb=f"{name}:attach_badly",
        cc=f"{name}:fail",
        dd=f"{name}:refuse",
        ee="no_such:attach",
    )
    made = instrumentor()
    calls = importlib.import_module(name).calls
    assert calls == [(traced.provider, traced.meters)]
    assert "delivery could not be attached: see `pip check` and the settings (KeyError)" in caplog.text
    assert "INTENT_EVENTS_X cannot be used" in caplog.text
    made.uninstrument()
    assert calls[1:] == ["detached"]
    assert "a delivery could not be detached (KeyError)" in caplog.text
    assert "assign" not in caplog.text


def test_delivery_may_be_left_to_the_host(module: Make, tmp_path: Path, instrumentor: Start) -> None:
    """``delivery=False`` attaches nothing."""
    name = module(DELIVERY)
    delivery(tmp_path, aa=f"{name}:attach")
    instrumentor(delivery=False).uninstrument()
    assert importlib.import_module(name).calls == []


def test_without_an_sdk(module: Make, instrumentor: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Without an SDK the host runs, and one log line says why nothing is stored."""
    name = module()
    TROUBLES.clear()
    instrumentor(targets=[f"{name}:handle"], tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider())
    for _ in range(3):
        assert importlib.import_module(name).handle(UTTERANCE) == UTTERANCE
    assert caplog.text.count("no span is recording, so utterances are not stored") == 1


def test_it_is_an_instrumentor_of_opentelemetry() -> None:
    """``opentelemetry-instrument`` finds it by its entry point, and it needs nothing installed."""
    (point,) = importlib.metadata.entry_points(group="opentelemetry_instrumentor", name="intent_events")
    assert point.load() is IntentEventsInstrumentor
    assert issubclass(IntentEventsInstrumentor, BaseInstrumentor)
    assert list(IntentEventsInstrumentor().instrumentation_dependencies()) == []


@pytest.mark.parametrize("package", [intent_events, instrument])
def test_the_public_surface(package: ModuleType) -> None:
    """What a package exports is what ``__all__`` says, and each of it can be had."""
    public = {
        name for name, value in vars(package).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    exported: list[str] = package.__all__
    assert public | {"__version__"} & set(exported) == set(exported)
    assert exported == sorted(exported)
    assert all(hasattr(package, name) for name in exported)


def test_a_mapping_of_the_wrong_form_is_a_mistake_in_code() -> None:
    """A misspelt stage in code is said where it stands."""
    with pytest.raises(SettingsError, match="fetch"):
        HandlerMapping(stages={"fetch": "a:b"})
