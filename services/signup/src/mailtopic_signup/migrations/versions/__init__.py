"""One file a revision; Alembic reads them in the order of their down_revision."""
