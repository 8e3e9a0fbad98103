# SPDX-License-Identifier: Apache-2.0
"""A database as ``doctor`` finds it when nothing is wrong, for tests to change in one place."""

from typing import Final

from intent_events.store.health import WRITTEN, Health, Rights, Role

INSERT: Final = Rights(there=True, may=frozenset({"INSERT"}))
ROLE: Final = Role(
    "app",
    superuser=False,
    may_use=True,
    may_create=False,
    tables=dict.fromkeys(WRITTEN, INSERT),
)
HEALTH: Final = Health(
    role=ROLE,
    reads_version=True,
    reads_rows=True,
    missing_partitions=(),
    row_age_s=10.0,
    beat_age_s=20.0,
    emitters=(),
    dead_letters={},
)
