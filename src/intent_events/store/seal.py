# SPDX-License-Identifier: Apache-2.0
"""From selected spans to the rows that the writer sends: what both doors do, the exporter and the sink."""

from collections.abc import Sequence

from intent_events.instrument.troubles import trouble
from intent_events.rows import Rejection, payload_of, row_of
from intent_events.semconv import Record
from intent_events.spans import SpanView
from intent_events.store.copy_format import Sealed, seal
from intent_events.store.quick_seal import seal_payloads


def sealed_of(spans: Sequence[tuple[SpanView, Record]]) -> list[Sealed | Rejection | None]:
    """Sealed row of each selected span, or why there is none; None for one of foreign code that cannot be read.

    The same as ``seal(row_of(span, record))``, and quicker.

    Args:
        spans: each with what ``select`` said it is; the more at once the quicker, but nothing else runs meanwhile.
    """
    payloads = {
        place: payload
        for place, (span, record) in enumerate(spans)
        if record is Record.UTTERANCE and (payload := payload_of(span)) is not None
    }
    quick = dict(zip(payloads, seal_payloads(list(payloads.values())), strict=True))
    return [quick.get(place) or sealed_with_care(span, record) for place, (span, record) in enumerate(spans)]


def sealed_with_care(span: SpanView, record: Record) -> Sealed | Rejection | None:
    """The same for one span that needs mending, or may."""
    try:
        row = row_of(span, record)
    except MemoryError:  # no fault of the record's
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one record, it must not hold up the others
        trouble("intent-events: a record cannot be read and is given up", error)
        return None
    return row if isinstance(row, Rejection) else seal(row)
