# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a request to what is written: the sink's half of the way that the exporter's spans go.

``select`` says which spans are records, ``rows`` and ``store.seal`` what their rows are. A span that cannot be decoded
becomes a dead letter with its bytes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from intent_events.instrument.troubles import trouble
from intent_events.mending import text
from intent_events.rows import Rejection, RejectReason
from intent_events.select import select
from intent_events.semconv import SCOPE, Record
from intent_events.sink import json_request, protobuf
from intent_events.sink.protobuf import Framed, Frames, UndecodableError
from intent_events.spans import SpanView
from intent_events.store.copy_format import Sealed
from intent_events.store.seal import sealed_of

LONGEST_PAYLOAD: Final = 1 << 20
"""Bytes of a span that a dead letter keeps; of a longer one it keeps as many, from the beginning."""

_AT_ONCE: Final = 64


class Format(NamedTuple):
    """How requests are spelled.

    Attributes:
        frames_in: finds the spans of a request.
        view_in: decodes one of them.
    """

    frames_in: Callable[[bytes], Frames]
    view_in: Callable[[Framed], SpanView]


PROTOBUF: Final = Format(protobuf.frames_in, protobuf.view_in)
JSON: Final = Format(json_request.frames_in, json_request.view_in)


class Allows(Protocol):
    """Says whose spans a sender may send."""

    def allows(self, service_name: str | None, scope: object) -> bool:
        """Whether a span of this service and this ``intent.scope`` may be sent."""
        ...


@dataclass(slots=True, repr=False)  # its payloads are nobody's business, and thousands
class Records:
    """What a request brings.

    Attributes:
        spans: how many spans there are.
        rows: what is written.
        rejections: what cannot become a row, and is kept as a dead letter.
        forbidden: records that this sender may not send; nothing of them is kept.
    """

    spans: int = 0
    rows: list[Sealed] = field(default_factory=list[Sealed])
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    forbidden: int = 0

    @property
    def passed_over(self) -> int:
        """Spans that are no records."""
        return self.spans - len(self.rows) - len(self.rejections) - self.forbidden

    def add(self, row: Sealed | Rejection | None) -> None:
        """One more record; None when it is forbidden."""
        if row is None:
            self.forbidden += 1
        elif isinstance(row, Rejection):
            self.rejections.append(row)
        else:
            self.rows.append(row)

    @property
    def size(self) -> int:
        """Bytes that are held until they are written."""
        return sum([len(row.data) for row in self.rows]) + sum([len(each.payload or b"") for each in self.rejections])


async def records_in(data: bytes, form: Format, sender: Allows) -> Records:
    """Records of a request; reads a few at a time, so that nobody else on this loop is held up for long.

    Args:
        data: the request, uncompressed.
        form: how it is spelled.
        sender: who sent it.

    Raises:
        UndecodableError: it is no request of that form.
    """
    total, marked = form.frames_in(data)
    records = Records(total)
    for start in range(0, len(marked), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        _take(marked[start : start + _AT_ONCE], form, sender, records)
    return records


def _take(marked: Sequence[Framed], form: Format, sender: Allows, records: Records) -> None:
    selected: list[tuple[SpanView, Record]] = []
    places: list[Framed] = []
    for framed in marked:
        try:
            view = form.view_in(framed)
            record = select(view)
        except UndecodableError:
            records.add(_undecodable(framed, sender))
            continue
        except Exception as error:  # noqa: BLE001 - what we fail to read must not cost its neighbours, or come for ever
            trouble("intent-events: a span cannot be read and is kept as a dead letter", error)
            records.add(_undecodable(framed, sender))
            continue
        if not isinstance(record, Record):
            continue
        if sender.allows(view.service_name, view.attributes.get(SCOPE)):
            selected.append((view, record))
            places.append(framed)
        else:
            records.add(None)
    for framed, row in zip(places, sealed_of(selected), strict=True):
        records.add(_undecodable(framed, sender) if row is None else row)


def _undecodable(framed: Framed, sender: Allows) -> Rejection | None:
    """Dead letter of a span whose bytes say nothing; None when its sender may not send it."""
    if not sender.allows(framed.service_name, None):
        return None
    service, payload = text(framed.service_name, set()), framed.data[:LONGEST_PAYLOAD]
    return Rejection(RejectReason.UNDECODABLE, None, "0" * 32, "0" * 16, 0, service, payload=payload)
