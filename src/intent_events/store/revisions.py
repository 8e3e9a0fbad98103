# SPDX-License-Identifier: Apache-2.0
"""The revisions of the schema: SQL files in ``migrations/sql``, counted by Alembic in ``agent.schema_version``."""

from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, cast

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from intent_events.errors import PermanentError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import AdaptedConnection

SCHEMA: Final = "agent"
"""Schema of every table, view and function of ours."""

VERSION_TABLE: Final = "schema_version"
"""Table in :data:`SCHEMA` that holds the revision."""


def alembic_config() -> Config:
    """Alembic's configuration: where the revisions stand, and no ``alembic.ini``.

    Raises:
        PermanentError: the migrations are not there.
    """
    folder = _folder()
    if not folder.is_dir():
        raise PermanentError(f"no migrations in {folder}: install intent-events anew")
    config = Config()
    # A percent sign in the path would be read as the start of a variable.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def all_revisions() -> tuple[str, ...]:
    """The revisions that this version of intent-events knows, newest first.

    Raises:
        PermanentError: the migrations are not there.
    """
    scripts = ScriptDirectory.from_config(alembic_config())
    return tuple(script.revision for script in scripts.walk_revisions())


def run_revisions(context: EnvironmentContext) -> None:
    """Run the outstanding revisions; called by Alembic's ``env.py``."""
    connection = cast("Connection | None", context.config.attributes.get("connection"))
    if connection is None and not context.is_offline_mode():
        raise PermanentError("migrations run through `intent-events migrate`, not through alembic")
    context.configure(
        connection=connection,
        dialect_name="postgresql",
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        # The transaction is ours, around all of it.
        transactional_ddl=False,
    )
    context.run_migrations()


def run_sql_file(context: MigrationContext, name: str) -> None:
    """Run a file of ``migrations/sql``, or print it in offline mode; called by the revisions.

    Args:
        context: Alembic's, from ``op.get_context()``.
        name: name of the file.
    """
    sql = (_folder() / "sql" / name).read_text(encoding="utf-8")
    if context.as_sql:
        context.impl.static_output(sql)
        return
    assert context.connection is not None  # noqa: S101 - online mode has one; tells the type checker
    # The driver itself, in the same transaction: SQLAlchemy prepares what it runs, and that is one statement at a time.
    adapted = cast("AdaptedConnection", context.connection.connection.dbapi_connection)
    adapted.run_async(lambda driver: driver.execute(sql))


def no_way_back(revision: str) -> NoReturn:
    """Refuse a downgrade; called by the revisions."""
    raise PermanentError(f"revision {revision} cannot be taken back: restore a backup from before the migration")


def _folder() -> Path:
    shipped = Path(__file__).parent / "migrations"
    return shipped if shipped.is_dir() else Path(__file__).parents[3] / "migrations"
