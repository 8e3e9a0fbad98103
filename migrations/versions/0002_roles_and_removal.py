# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - Alembic loads this file by its path, and sorts by its number
"""Who may do what: roles, views for reviewers, tables that nobody changes, and the two ways to remove rows."""

from alembic import op

from intent_events.store.revisions import no_way_back, run_sql_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the SQL file of this revision."""
    run_sql_file(op.get_context(), "0002_roles_and_removal.sql")


def downgrade() -> None:
    """Refuse: migrations go forward only."""
    no_way_back(revision)
