# SPDX-License-Identifier: Apache-2.0
"""SpanView: the one frozen shape that an SDK span and an OTLP span both become."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class SpanView(NamedTuple):
    """A finished span, reduced to what selection and row mapping read.

    Attributes:
        trace_id: 128-bit trace id; 0 when invalid.
        span_id: 64-bit span id; 0 when invalid.
        start_ns: start, nanoseconds since 1970.
        end_ns: end, nanoseconds since 1970.
        attributes: span attributes; the last of duplicate keys.
        sampled: whether the trace goes to the backend; None when the wire does not say.
        service_name: ``service.name`` of the resource.
        dropped_attributes: attributes that the emitter's SDK dropped.
    """

    trace_id: int
    span_id: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    sampled: bool | None = None
    service_name: str | None = None
    dropped_attributes: int = 0
