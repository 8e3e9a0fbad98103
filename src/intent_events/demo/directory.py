# SPDX-License-Identifier: Apache-2.0
"""The directory of records: a back end that orchestrator turns depend on, part of which is out of order for good."""

from collections.abc import Iterable
from typing import Final

LEGACY_PREFIX: Final = "LGY-"
"""Records with this prefix live in the legacy ledger."""


class LedgerUnreachableError(ConnectionError):
    """The legacy ledger does not answer.

    Its message quotes what was asked, as messages of back ends do: nothing that records utterances may keep it.
    """


class Directory:
    """Looks records up before something is staged for them."""

    def look_up(self, references: Iterable[str], question: str) -> None:
        """Make sure that the records can be reached.

        Args:
            references: what stands in the arguments.
            question: what was said, for the back end's own log.

        Raises:
            LedgerUnreachableError: one of them lives in the legacy ledger.
        """
        for reference in references:
            if reference.startswith(LEGACY_PREFIX):
                raise LedgerUnreachableError(f"legacy ledger refused the look-up made for: {question}")
