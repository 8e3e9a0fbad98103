# SPDX-License-Identifier: Apache-2.0
"""A sampler that lets no record fall out: what the host's sampler drops is recorded, but not sent to the backend."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from intent_events.semconv import RECORD, ROOT, SPAN_NAME


class IntentSampler(Sampler):
    """Turns DROP into RECORD_ONLY for the spans of records; every other decision is the delegate's.

    Such a span reaches span processors and no exporter, and its children and the services behind it are not sampled
    either: the backend sees what it saw before. Put it outside of any ``ParentBased``, which would not ask it for spans
    with a parent.
    """

    def __init__(self, delegate: Sampler) -> None:
        """Ask this sampler first."""
        self._delegate = delegate

    @property
    def delegate(self) -> Sampler:
        """Who decides."""
        return self._delegate

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The delegate's decision, but for records that it drops."""
        result = self._delegate.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.DROP and _is_record(name, attributes):
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """Name of the sampler and of its delegate."""
        return f"IntentSampler{{{self._delegate.get_description()}}}"


def _is_record(name: str, attributes: Attributes) -> bool:
    """Whether a span will be a record, as far as can be told when it starts: nested calls say that they are none."""
    if attributes:
        if RECORD in attributes:
            return True
        root = attributes.get(ROOT)
        if root is not None:
            return root is True
    return name == SPAN_NAME
