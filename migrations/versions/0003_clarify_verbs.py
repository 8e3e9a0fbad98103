# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - Alembic loads this file by its path, and sorts by its number
"""Verbs that were asked back about, also of orchestrators without a policy step."""

from alembic import op

from intent_events.store.revisions import no_way_back, run_sql_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the SQL file of this revision."""
    run_sql_file(op.get_context(), "0003_clarify_verbs.sql")


def downgrade() -> None:
    """Refuse: migrations go forward only."""
    no_way_back(revision)
