# SPDX-License-Identifier: Apache-2.0
"""Which spans are records, and why the others are not. Pure."""

from enum import StrEnum

from intent_events.semconv import RECORD, ROOT, Record
from intent_events.spans import SpanView


class Skipped(StrEnum):
    """Why a span is no record."""

    STRANGER = "stranger"
    """It carries nothing of the span contract."""

    NESTED = "nested"
    """It belongs to an utterance whose root span is the record."""

    RECORD_UNKNOWN = "record_unknown"
    """Its ``intent.record`` names a table that this version does not know."""


_RECORDS = {record.value: record for record in Record}


def select(span: SpanView) -> Record | Skipped:
    """Which record the span is, or why it is none.

    A span is an utterance when ``intent.root`` is true, whatever its parent is; replies and outcomes say so in
    ``intent.record``.
    """
    attributes = span.attributes
    root = attributes.get(ROOT)
    kind = attributes.get(RECORD)
    if kind is None:
        if root is True:
            return Record.UTTERANCE
        return Skipped.STRANGER if root is None else Skipped.NESTED
    # A type derived from str may hash as it likes: the text itself is looked up.
    record = _RECORDS.get(str.__str__(kind)) if issubclass(type(kind), str) else None
    if record is None:
        return Skipped.RECORD_UNKNOWN
    if record is Record.UTTERANCE and root is not True:
        return Skipped.NESTED
    return record
