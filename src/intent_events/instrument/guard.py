# SPDX-License-Identifier: Apache-2.0
"""The span of an utterance as the code within it sees it: what may leave on it is a closed list.

The orchestrator's code finds our span as the current one, and could put anything on it: a message, an utterance. What
it sets stays when it is a field of a trace of the right kind, or a key that the settings allow; all else is counted.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from opentelemetry.trace import Span, SpanContext, Status, StatusCode
from opentelemetry.util import types

from intent_events import columns, semconv
from intent_events.columns import Attribute
from intent_events.mending import value
from intent_events.trace import TRACE_FIELDS

_OURS: Final = ("intent.", semconv.SESSION_ID, semconv.ERROR_TYPE)
_SETTABLE: Final[dict[str, Attribute]] = {
    columns.UTTERANCE[name].key: columns.UTTERANCE[name]
    for name in TRACE_FIELDS
    if name in columns.UTTERANCE and name != "actor_id"
}


class Withheld(StrEnum):
    """Why something that was set on our span did not stay."""

    UNKNOWN = "unknown"
    """The key is under ``intent.`` and none of the span contract."""

    RESERVED = "reserved"
    """The recorder alone sets it: fingerprints, previews, ids, the actor."""

    REFUSED = "refused"
    """The value is not of the attribute's kind."""

    FOREIGN = "foreign"
    """The key is not ours, and the settings do not allow it."""

    TEXT = "text"
    """An event, a name of the span, a description of its status: text that could be the utterance."""


EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_ESCAPED: Final = "exception.escaped"

Withhold = Callable[[Withheld], None]


def type_of(error: BaseException) -> str:
    """Class of an exception as ``error.type`` spells it: with its module unless it is a built-in one."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class GuardedSpan(Span):
    """Stands for a span of ours while it is current; only whoever made the span can end it."""

    __slots__ = ("_allowed", "_span", "_withhold")

    def __init__(self, span: Span, withhold: Withhold, allowed: frozenset[str] = frozenset()) -> None:
        """Stand for a span.

        Args:
            span: the span.
            withhold: told of all that does not stay.
            allowed: keys of the host's that may stay.
        """
        self._span = span
        self._withhold = withhold
        self._allowed = allowed

    def __getattr__(self, name: str) -> Any:
        """What an SDK's span has beside, such as its name."""
        return getattr(self._span, name)

    def get_span_context(self) -> SpanContext:
        """Ids of the span."""
        return self._span.get_span_context()

    def is_recording(self) -> bool:
        """Whether the span is recording."""
        return self._span.is_recording()

    def end(self, end_time: int | None = None) -> None:
        """Nothing: the recording ends its span."""

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        """Set those that may stay."""
        for key, given in attributes.items():
            self.set_attribute(key, given)

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        """Set the attribute when it may stay."""
        if not self._span.is_recording():
            return
        clean, why = self._judge(key, value)
        if why is None:
            self._span.set_attribute(key, clean)
        else:
            self._withhold(why)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Count the event: its name and its attributes could be any text."""
        del name, attributes, timestamp
        self._withhold(Withheld.TEXT)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """Add the link by its ids alone."""
        self._span.add_link(context)
        if attributes:
            self._withhold(Withheld.FOREIGN)

    def update_name(self, name: str) -> None:
        """Count the name: the span has its own."""
        del name
        self._withhold(Withheld.TEXT)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status by its code alone."""
        code = status.status_code if isinstance(status, Status) else status
        self._span.set_status(code)
        if description or (isinstance(status, Status) and status.description):
            self._withhold(Withheld.TEXT)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002 - the signature is the API's
    ) -> None:
        """Record the exception by its type alone; its message and its stack could hold the utterance."""
        said = {EXCEPTION_TYPE: type_of(exception), EXCEPTION_ESCAPED: str(escaped)}
        self._span.add_event("exception", said, timestamp)
        if attributes:
            self._withhold(Withheld.FOREIGN)

    def _judge(self, key: str, given: Any) -> tuple[Any, Withheld | None]:
        if not isinstance(key, str) or not key.startswith(_OURS):  # pyright: ignore[reportUnnecessaryIsInstance] - callers need not be typed
            return given, None if key in self._allowed else Withheld.FOREIGN
        attribute = _SETTABLE.get(key)
        if attribute is None:
            return None, Withheld.RESERVED if key in columns.KEYS or key == semconv.STAGE else Withheld.UNKNOWN
        clean = value(attribute, given, set())
        return str(clean) if isinstance(clean, UUID) else clean, Withheld.REFUSED if clean is None else None
