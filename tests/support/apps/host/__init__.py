# SPDX-License-Identifier: Apache-2.0
"""An orchestrator under load, on which faults are tried: it says which utterances it handled, and what that cost it.

With ``HOST_CLOCK=stepping`` its wall clock steps back and forth, for everything that is imported after this.
"""

import os
import time
from itertools import cycle
from typing import Final

_STEPS_S: Final = cycle((0, 3_600, -86_400, 30 * 86_400, -1, -3_600))
_real: Final = time.time_ns


def _stepping() -> int:
    return _real() + next(_STEPS_S) * 1_000_000_000


if os.environ.get("HOST_CLOCK") == "stepping":
    time.time_ns = _stepping
    time.time = lambda: _stepping() / 1e9
