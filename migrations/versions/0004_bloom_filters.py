# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - Alembic loads this file by its path, and sorts by its number
"""Indexes of fingerprints and sessions that cost a large table no more than an empty one."""

from alembic import op

from intent_events.store.revisions import no_way_back, run_sql_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the SQL file of this revision."""
    run_sql_file(op.get_context(), "0004_bloom_filters.sql")


def downgrade() -> None:
    """Refuse: migrations go forward only."""
    no_way_back(revision)
