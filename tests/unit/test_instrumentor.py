# SPDX-License-Identifier: Apache-2.0
"""The instrumentor works by the environment alone, attaches delivery, and is what OpenTelemetry expects."""

import asyncio
import importlib
import importlib.metadata
import re
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

import intent_events
from intent_events import HandlerMapping, IntentEventsInstrumentor, instrument
from intent_events.errors import SettingsError
from unit.orchestrators import Make, Start
from unit.traced import TROUBLES, UTTERANCE, Traced


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


def test_a_keyword_that_it_does_not_know(
    module: Make, traced: Traced, instrumentor: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt or invented keyword is said by its name, never by its value, and the rest has its effect."""
    name = module()
    instrumentor(target=[f"{name}:handle"], dsn="postgresql://u:hunter2@db/x", targets=[f"{name}:handle"])
    importlib.import_module(name).handle(UTTERANCE)
    (line,) = [record.getMessage() for record in caplog.records if "takes no" in record.getMessage()]
    assert "instrument() takes no dsn, target. It takes targets, mapping, stages, " in line
    assert "INTENT_EVENTS_DSN" in line
    assert "hunter2" not in caplog.text
    assert len(traced.roots) == 1


def test_keywords_are_documented(instrumentor: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Each keyword that the docstring names is known, and each that is known is named there."""
    documented = re.findall(
        r"``(\w+)``", "".join(re.findall(r"^ +\* (.+?):", IntentEventsInstrumentor.__doc__ or "", re.MULTILINE))
    )
    instrumentor(unknown=None)
    (line,) = [record.getMessage() for record in caplog.records if "takes no" in record.getMessage()]
    assert f"It takes {', '.join(documented)}. " in line


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
