# SPDX-License-Identifier: Apache-2.0
"""The utterance that every benchmark records: ten candidates, eight of them allowed, thirty-odd attributes."""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from pydantic import SecretStr

from intent_events.columns import Candidate
from intent_events.instrument import current_trace
from intent_events.instrument.current import make_recorder
from intent_events.instrument.mapping import HandlerMapping
from intent_events.instrument.recorder import Recorder
from intent_events.instrument.wrappers import HandlerWrapper
from intent_events.settings import RecordSettings
from intent_events.trace import IntentTrace

UTTERANCE: Final = "please assign State Street as the custodian of the fund"
ARGUMENTS: Final = {
    "session_id": str(uuid4()),
    "actor_id": "u-17",
    "entrypoint": "chat",
    "scope": "book-1",
    "subject_ref_type": "entity",
    "subject_ref_id": str(uuid4()),
}
_TURNS: Final = 5
_PRE: Final = [Candidate(f"cbu.verb-{place}", 10.0 - place, "lexical") for place in range(10)]


def handle(utterance: str, **_known: str) -> IntentTrace:
    """A handler that does nothing but record: what is left when its time is taken away is telemetry."""
    del utterance
    trace = current_trace()
    trace.semreg_mode = "applied"
    trace.semreg_denied_verbs = ["cbu.verb-8", "cbu.verb-9"]
    trace.semreg_denied_reasons = ["role", "phase"]
    trace.semreg_snapshot_id = "2026-11"
    trace.verb_candidates_pre = _PRE
    trace.verb_candidates_post = _PRE[:8]
    trace.chosen_verb_fqn = "cbu.verb-0"
    trace.selection_source = "discovery"
    trace.outcome = "matched"
    trace.dsl_hash = "ab" * 32
    trace.run_sheet_entry_id = ARGUMENTS["subject_ref_id"]
    trace.prompt_version = "v3"
    trace.boost_version = "b1"
    trace.registry_version = "r1"
    trace.macro_semreg_checked = False
    return trace


class Keep(SpanProcessor):
    """Keeps the spans that ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.spans.append(span)


def recorder_on(provider: TracerProvider) -> Recorder:
    """A recorder with a key, on this provider."""
    return make_recorder(RecordSettings(hash_key=SecretStr("k" * 32)), tracer_provider=provider)


def instrumented(recorder: Recorder) -> HandlerWrapper:
    """What the instrumentor puts around :func:`handle`."""
    return HandlerWrapper(lambda: recorder, HandlerMapping())


def finished_spans(n: int, *, varied: bool = False) -> Sequence[ReadableSpan]:
    """Spans of ``n`` utterances, as the SDK hands them to an exporter.

    Args:
        n: how many.
        varied: no two utterances are alike, and five make a session; else all are the same one of one session.
    """
    kept, provider = Keep(), TracerProvider(shutdown_on_exit=False)  # or the spans live as long as the process
    provider.add_span_processor(kept)
    wrapper = instrumented(recorder_on(provider))
    said, known = UTTERANCE, ARGUMENTS
    for number in range(n):
        if varied:
            said = f"{UTTERANCE} {uuid4()}"
            known = known if number % _TURNS else {**ARGUMENTS, "session_id": str(uuid4())}
        wrapper(handle, None, (said,), known)
    return kept.spans
