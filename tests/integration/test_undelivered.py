# SPDX-License-Identifier: Apache-2.0
"""A process that stores no rows says so in one line, with the remedy of its own case; one that does says nothing."""

from typing import Final

import pytest

from support.processes import run_app
from support.records import HASH_KEY

AWAY: Final = "postgresql://nobody@127.0.0.1:1/nowhere"
"""Address at which no Postgres answers."""

HANDLER: Final = """
from opentelemetry import trace as api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from intent_events import IntentEventsInstrumentor, current_trace, record_utterance

def provide(*processors):
    provider = TracerProvider()
    for processor in (SimpleSpanProcessor(InMemorySpanExporter()), *processors):
        provider.add_span_processor(processor)
    api.set_tracer_provider(provider)

@record_utterance
def handle(utterance):
    current_trace().outcome = "matched"
"""
SAY: Final = """
for _ in range(3):
    handle("one")
"""
UNINSTALLED: Final = "import intent_events.instrument.instrumentor as ours\nours.entry_points = lambda group: []\n"
INSTRUMENT: Final = "IntentEventsInstrumentor().instrument()\n"
BROKEN: Final = """
class Broken:
    def load(self):
        raise ImportError("no")
import intent_events.instrument.instrumentor as ours
ours.entry_points = lambda group: [Broken()]
"""

NO_SPAN: Final = "intent-events: no span is recording, so utterances are not stored: "
SPANS_ONLY: Final = "intent-events: utterances are recorded as spans only, and this process stores no rows: "
SINK: Final = ". A sink that gets these spans stores them all the same"
CALL: Final = "call IntentEventsInstrumentor().instrument() first, or run under opentelemetry-instrument, "
THE_REST: Final = "with intent-events-exporter installed and INTENT_EVENTS_DSN set"
INSTALL: Final = "install intent-events-exporter and set INTENT_EVENTS_DSN"

SAID: Final = {
    "no SDK, not instrumented": ("", NO_SPAN + CALL + THE_REST),
    "no SDK, no address": (INSTRUMENT, NO_SPAN + "set INTENT_EVENTS_DSN"),
    "no SDK, no exporter": (UNINSTALLED + INSTRUMENT, NO_SPAN + INSTALL),
    "no SDK, left to the host": (
        "IntentEventsInstrumentor().instrument(delivery=False)\n",
        NO_SPAN + "set up an OpenTelemetry SDK that samples them, "
        "or let IntentEventsInstrumentor().instrument() attach delivery",
    ),
    "an SDK, not instrumented": ("provide()\n", SPANS_ONLY + CALL + THE_REST + SINK),
    "an SDK, not instrumented, the exporter is imported and not used": (
        "provide()\nimport intent_events_exporter\n",
        SPANS_ONLY + CALL + THE_REST + SINK,
    ),
    "an SDK, no address": ("provide()\n" + INSTRUMENT, SPANS_ONLY + "set INTENT_EVENTS_DSN" + SINK),
    "an SDK, no exporter": ("provide()\n" + UNINSTALLED + INSTRUMENT, SPANS_ONLY + INSTALL + SINK),
}
"""Host -> what it does before it handles utterances, and the one line about them."""


def lines_of(code: str, **environment: str) -> list[str]:
    """Log lines of ours of a process that runs this code and then handles three utterances."""
    env = {"INTENT_EVENTS_HASH_KEY": HASH_KEY, "INTENT_EVENTS_SHUTDOWN_TIMEOUT": "100ms", **environment}
    ran = run_app("-c", HANDLER + code + SAY, env=env)
    assert ran.returncode == 0, ran.stderr
    return [line for line in ran.stderr.splitlines() if "intent" in line.lower()]


@pytest.mark.parametrize("host", SAID)
def test_what_a_process_says_that_stores_no_rows(host: str) -> None:
    """One line for three utterances: what is the matter, and what this very host has to do."""
    code, line = SAID[host]
    assert lines_of(code) == [line]


@pytest.mark.parametrize(("sdk", "lines"), [("", 2), ("provide()\n", 1)])
def test_a_delivery_that_could_not_start(sdk: str, lines: int) -> None:
    """The line that says why is enough where spans are recorded; where none is, another one refers to it."""
    said = lines_of(sdk + BROKEN + INSTRUMENT)
    assert len(said) == lines
    assert "delivery could not be attached: see `pip check` and the settings (ImportError)" in said[0]
    assert said[1:] in ([], [NO_SPAN + "delivery could not be attached, as an earlier line says"])


DOORS: Final = {
    "processor": f"IntentEventsSpanProcessor({AWAY!r})",
    "batched exporter": f"BatchSpanProcessor(IntentEventsSpanExporter({AWAY!r}, timeout_s=0.1))",
    "simple exporter": f"SimpleSpanProcessor(IntentEventsSpanExporter({AWAY!r}, timeout_s=0.1))",
    "wrapped exporter": f"BatchSpanProcessor(Both([IntentEventsSpanExporter({AWAY!r}, timeout_s=0.1)]))",
}
WRAPPED: Final = """
from intent_events_exporter import IntentEventsSpanExporter, IntentEventsSpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

class Both(SpanExporter):
    def __init__(self, exporters):
        self.exporters = exporters

    def export(self, spans):
        return [exporter.export(spans) for exporter in self.exporters][-1]
"""


@pytest.mark.parametrize("instrument", ["", INSTRUMENT], ids=["not instrumented", "instrumented"])
@pytest.mark.parametrize("door", DOORS)
def test_a_door_of_the_hosts_own_is_no_trouble(door: str, instrument: str) -> None:
    """Where the host has added one of our doors by itself, nobody says that rows are not stored."""
    said = lines_of(f"{WRAPPED}provide({DOORS[door]})\n{instrument}")
    assert not [line for line in said if "no connection to" not in line and "did not answer in time" not in line]


def test_a_door_that_comes_after_the_instrumentor_is_no_trouble() -> None:
    """What counts is what is there when the first utterance comes."""
    added = f"api.get_tracer_provider().add_span_processor({DOORS['processor']})\n"
    (line,) = lines_of(f"{WRAPPED}provide()\n{INSTRUMENT}{added}")
    assert "no connection to" in line


def test_a_door_that_the_environment_names_says_it_itself() -> None:
    """With OTEL_TRACES_EXPORTER=intent_events and without an address the exporter says so, and nobody else does."""
    env = {
        "OTEL_TRACES_EXPORTER": "intent_events",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
    }
    ran = run_app("-c", HANDLER + SAY, env=env, instrumented=True)
    assert ran.returncode == 0, ran.stderr
    (line,) = (line for line in ran.stderr.splitlines() if "intent" in line.lower())
    assert line == "intent-events: INTENT_EVENTS_DSN is not set. Records are dropped until it is"


@pytest.mark.parametrize(
    "code",
    [
        "provide()\nIntentEventsInstrumentor().instrument(delivery=False)\n",
        "provide()\nIntentEventsInstrumentor().instrument(delivery=False)\nIntentEventsInstrumentor().uninstrument()\n",
    ],
    ids=["left to the host", "and undone"],
)
def test_a_choice_is_no_trouble(code: str) -> None:
    """Who leaves delivery to the host, or undoes it, is not told so."""
    assert lines_of(code) == []


def test_with_an_address_nothing_is_said_of_it() -> None:
    """Where delivery is attached, the one line is about the address."""
    (line,) = lines_of("provide()\n" + INSTRUMENT, INTENT_EVENTS_DSN=AWAY)
    assert "no connection to" in line
