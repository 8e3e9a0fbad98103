# SPDX-License-Identifier: Apache-2.0
"""A real SDK in memory, modules to instrument; and how property tests run: the same examples everywhere.

``HYPOTHESIS_PROFILE=deep`` searches for new examples instead.
"""

import importlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from intent_events import IntentEventsInstrumentor, native
from support.built import needed
from unit.orchestrators import SOURCE, Make, Start
from unit.traced import SETTINGS, Traced, traced_by

_numbers = itertools.count()
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

settings.register_profile("unit", deadline=None, derandomize=True, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("deep", deadline=None, max_examples=1_000, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))


@pytest.fixture(scope="session")
def compiled() -> None:
    """The extension in C, which a machine without a compiler has not."""
    needed(
        native.pack_rows is not None, "the C code is not built: apt-get install gcc python3-dev, then make clean setup"
    )


@pytest.fixture
def traced() -> Iterator[Traced]:
    """A real SDK in memory, and the recorder of this process that uses it."""
    with traced_by(Traced()) as traced:
        yield traced


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the source of a module that can be imported under the name that is returned."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: list[str] = []

    def make(source: str = SOURCE) -> str:
        names.append(f"orchestrator_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(source, "utf-8")
        importlib.invalidate_caches()
        return names[-1]

    yield make
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def instrumentor(traced: Traced) -> Iterator[Start]:
    """Instruments with the SDK in memory, and takes everything out again."""

    def start(**kwargs: Any) -> IntentEventsInstrumentor:
        made = IntentEventsInstrumentor()
        providers = {"tracer_provider": traced.provider, "meter_provider": traced.meters}
        made.instrument(**({"settings": SETTINGS, "skip_dep_check": True} | providers | kwargs))
        return made

    yield start
    if IntentEventsInstrumentor().is_instrumented_by_opentelemetry:
        IntentEventsInstrumentor().uninstrument()
