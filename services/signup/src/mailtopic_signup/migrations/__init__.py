"""The tables' history, applied by Alembic.

By hand: ``upgrade`` and ``downgrade`` below, or
``alembic revision --autogenerate`` with this folder as the script location.

During an upgrade pods of two versions share the tables, and after a rollback the older version
has the newer one's. So a migration must be compatible with the version before it: it may add
tables, and columns that have a default or may be null. Unused ones are dropped one version later.
"""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision, within the connection's transaction."""
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the tables back to a revision (``base``: no tables). Their rows are lost."""
    command.downgrade(_config(connection), revision)


def is_newer(connection: Connection) -> bool:
    """Return whether a newer version has migrated the tables already."""
    script = ScriptDirectory.from_config(_config(connection))
    known = {each.revision for each in script.walk_revisions()}
    return not known.issuperset(MigrationContext.configure(connection).get_current_heads())


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files(__name__)))
    config.attributes["connection"] = connection
    return config
