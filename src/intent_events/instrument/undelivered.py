# SPDX-License-Identifier: Apache-2.0
"""Why a process stores no rows, and what its host can do about it: one line for each case."""

from enum import Enum
from threading import Event
from typing import Final

_WITH_THE_REST: Final = "with intent-events-exporter installed and INTENT_EVENTS_DSN set"


class Undelivered(Enum):
    """Why no delivery is attached; the value says what to do."""

    NOT_INSTRUMENTED = (
        f"call IntentEventsInstrumentor().instrument() first, or run under opentelemetry-instrument, {_WITH_THE_REST}"
    )
    NO_ADDRESS = "set INTENT_EVENTS_DSN"
    NOT_INSTALLED = "install intent-events-exporter and set INTENT_EVENTS_DSN"
    FAILED = "delivery could not be attached, as an earlier line says"
    CHOSEN = (
        "set up an OpenTelemetry SDK that samples them, or let IntentEventsInstrumentor().instrument() attach delivery"
    )
    """The host delivers by itself, or not at all."""


_TOLD_OTHERWISE: Final = frozenset({Undelivered.FAILED, Undelivered.CHOSEN})
"""Nothing to say where spans are recorded: a line has said it, or the host knows."""

_has_door: Final = Event()


def note_door() -> None:
    """Say that this process has made a door of its own, an exporter or a processor: it may well store rows."""
    _has_door.set()


def no_span(why: Undelivered) -> str:
    """What to say of an utterance of which no span is recording.

    Args:
        why: why no delivery is attached.
    """
    return f"intent-events: no span is recording, so utterances are not stored: {why.value}"


def spans_only(why: Undelivered) -> str | None:
    """What to say of an utterance whose span is recording; None when there is nothing to say.

    Args:
        why: why no delivery is attached.
    """
    if why in _TOLD_OTHERWISE or _has_door.is_set():  # in doubt better no line than a wrong one
        return None
    return (
        "intent-events: utterances are recorded as spans only, and this process stores no rows: "
        f"{why.value}. A sink that gets these spans stores them all the same"
    )
