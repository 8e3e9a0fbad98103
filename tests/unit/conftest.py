# SPDX-License-Identifier: Apache-2.0
"""A real SDK in memory; and how property tests run: the same examples everywhere.

``HYPOTHESIS_PROFILE=deep`` searches for new examples instead.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from unit.traced import Traced, traced_by

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

settings.register_profile("unit", deadline=None, derandomize=True, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("deep", deadline=None, max_examples=2_000, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))


@pytest.fixture
def traced() -> Iterator[Traced]:
    """A real SDK in memory, and the recorder of this process that uses it."""
    with traced_by(Traced()) as traced:
        yield traced
