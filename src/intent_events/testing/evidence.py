# SPDX-License-Identifier: Apache-2.0
"""What was found where a canary may not be, and what of the records is not as it should be. Tells where, never what."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from intent_events.privacy.canaries import Canaries
from intent_events.testing.output import texts_of_error

_HIDDEN: Final = "(holds a canary)"
_MOST_SHOWN: Final = 30
_LONGEST_NAME: Final = 80


class LeakError(AssertionError):
    """An orchestrator does not keep to itself what was said, or does not record it once and from one place."""


class Evidence:
    """Collects findings."""

    def __init__(self, canaries: Canaries) -> None:
        """Look for these canaries."""
        self.canaries: Final = canaries
        self._leaks: dict[str, Counter[str]] = {}
        self._faults: Counter[str] = Counter()

    def look(self, where: str, text: str) -> bool:
        """Look for canaries in a text; whether it has one."""
        names = self.canaries.in_text(text)
        if names:
            where = _HIDDEN if self.canaries.in_text(where) else where
            self._leaks.setdefault(where, Counter()).update(dict.fromkeys(names, 1))
        return bool(names)

    def look_at_error(self, error: BaseException) -> None:
        """Look for canaries in what an exception says, with what led to it."""
        for kind, text in texts_of_error(error):
            self.look(f"text of an exception, {kind}", text)

    def say(self, fault: str) -> None:
        """Something is not as it should be; the text holds no canary."""
        self._faults[fault] += 1

    def shown(self, name: str) -> str:
        """A name as it may be shown: names can hold what was said, too."""
        return _HIDDEN if self.canaries.in_text(name) else name[:_LONGEST_NAME]

    def judge(self) -> None:
        """Say what was found.

        Raises:
            LeakError: there is something.
        """
        __tracebackhide__ = True  # what matters is the message
        if self._leaks or self._faults:
            raise LeakError("\n".join(self._lines())) from None  # what the test itself raised may hold a canary

    def _lines(self) -> Iterator[str]:
        found = [f"{fault}{_times(n)}" for fault, n in self._faults.items()]
        found += [f"{where}: {', '.join(names)}{_times(names.total())}" for where, names in self._leaks.items()]
        if self._leaks:
            yield "what was said was found where it may not be:"
        else:
            yield "utterances are not recorded once and from one place:"
        yield from (f"  - {line}" for line in found[:_MOST_SHOWN])
        if len(found) > _MOST_SHOWN:
            yield f"  - and {len(found) - _MOST_SHOWN} more"


def _times(n: int) -> str:
    return f" ({n} times)" if n > 1 else ""
