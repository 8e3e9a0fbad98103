# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - Alembic loads this file by its path
"""What Alembic runs for every command: hands over to ``intent_events.store.revisions``."""

from alembic import context

from intent_events.store.revisions import run_revisions

run_revisions(context)
