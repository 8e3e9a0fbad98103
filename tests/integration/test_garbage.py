# SPDX-License-Identifier: Apache-2.0
"""Streams that nobody reads to their end are closed by the garbage collector, at whatever moment that is."""

from typing import Final

from support.processes import run_app

ABANDONED: Final = """
import gc
import logging
from contextvars import ContextVar

from opentelemetry.sdk.trace import TracerProvider
from intent_events import current_trace, record_utterance
from intent_events.instrument.current import make_recorder, set_recorder
from intent_events.settings import RecordSettings

logging.disable(logging.CRITICAL)
set_recorder(make_recorder(RecordSettings(), tracer_provider=TracerProvider(shutdown_on_exit=False)))

@record_utterance
def handle(utterance):
    while True:
        current_trace().outcome = "matched"
        yield "word"

class Reader:
    def __init__(self):
        self.itself = self
        self.stream = handle("text")
        next(self.stream)

variables = [ContextVar(f"variable-{number}") for number in range(40)]
gc.set_threshold(1, 2, 2)
for turn in range(1000):
    Reader()
    for variable in variables:
        variable.set(turn)
print("survived")
"""


def test_a_stream_that_is_freed_while_a_context_variable_is_set() -> None:
    """With a collection at nearly every allocation, also within ``ContextVar.set``, the interpreter survives."""
    ran = run_app("-c", ABANDONED, env={})
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "survived\n", "")
