# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - Alembic loads this file by its path, and sorts by its number
"""The telemetry tables, their partitions and views, and the role that may write them."""

from alembic import op

from intent_events.store.revisions import no_way_back, run_sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL file of this revision."""
    run_sql_file(op.get_context(), "0001_intent_events.sql")


def downgrade() -> None:
    """Refuse: migrations go forward only."""
    no_way_back(revision)
