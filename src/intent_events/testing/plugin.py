# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin, found by its entry point."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from intent_events.instrument import HandlerMapping
    from intent_events.settings import RecordSettings
    from intent_events.testing.proof import Proof


class Prove(Protocol):
    """What the fixture ``intent_events_proof`` gives."""

    def __call__(
        self,
        targets: str | Collection[str] = (),
        *,
        mapping: "HandlerMapping | None" = None,
        stages: Mapping[str, str] | None = None,
        vocabulary: Collection[str] = (),
        settings: "RecordSettings | None" = None,
        dsn: str | None = None,
    ) -> AbstractContextManager["Proof"]:
        """Instrument the orchestrator for a block, and fail at its end when anything leaked.

        Args:
            targets: handlers to wrap, ``pkg.mod:Class.method``; none for an orchestrator that records by itself.
            mapping: where the handlers keep things, when they have other names.
            stages: stages to wrap, by their names.
            vocabulary: words that previews may show besides the shipped ones.
            settings: what is kept of a text; default the environment, with a key of the test's own.
            dsn: a migrated Postgres to store the records in and to look through; none is needed.
        """
        ...


@pytest.fixture
def intent_events_proof(tmp_path_factory: pytest.TempPathFactory) -> Prove:
    """Shows that an orchestrator leaves one record an utterance, from one place, and what was said nowhere."""
    try:
        from intent_events.testing.proof import prove  # noqa: PLC0415 - tests that do not ask for it must not pay for it
    except ModuleNotFoundError as error:  # installed without what the proof needs
        missing = error.name or "a module"
        pytest.fail(f"intent_events_proof needs {missing}: pip install 'intent-events[testing]'", pytrace=False)

    def folder() -> "Path":
        return tmp_path_factory.mktemp("intent-events-proof")

    def begin(targets: str | Collection[str] = (), **asked: object) -> AbstractContextManager["Proof"]:
        return prove(folder(), [targets] if isinstance(targets, str) else list(targets), **asked)  # pyright: ignore[reportArgumentType] - as Prove says

    return begin
