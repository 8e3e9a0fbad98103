# SPDX-License-Identifier: Apache-2.0
"""One log line a trouble: what telemetry could not do, said once a minute and never in the host's way."""

from contextlib import suppress
from logging import getLogger
from time import monotonic
from typing import Final

_LOGGER: Final = getLogger("intent_events")
_QUIET_S: Final = 60.0
_MOST: Final = 1_000
_last: Final[dict[str, float]] = {}


def trouble(message: str, error: BaseException | None = None) -> None:
    """Log a warning; the same message is then silent for a minute.

    Args:
        message: what happened and what to do; constant text, so that it can be told apart and holds no data.
        error: what caused it; its type alone is logged, for its text could be the utterance.
    """
    now = monotonic()
    if now - _last.get(message, -_QUIET_S) < _QUIET_S:
        return
    if len(_last) >= _MOST:  # messages are few; should one hold what differs each time, memory stays bounded
        _last.clear()
    _last[message] = now
    with suppress(Exception):  # a handler or a filter of the host's may raise, which must not become a failure of ours
        if error is None:
            _LOGGER.warning("%s", message)
        else:
            _LOGGER.warning("%s (%s)", message, type(error).__name__)
