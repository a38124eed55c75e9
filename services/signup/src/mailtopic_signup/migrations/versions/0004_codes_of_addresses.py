"""Codes belong to addresses: a seed, the short code's challenge, and when codes expire."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPTIONAL: dict[str, sa.types.TypeEngine[Any]] = {
    "code_seed": sa.LargeBinary(16),
    "code_key_id": sa.String(64),
    "short_for": sa.String(32),
}
_TIMES = ("short_until", "long_until")


def upgrade() -> None:
    """Add columns with defaults, because the version before continues to write rows."""
    for name, kind in _OPTIONAL.items():
        op.add_column("address_limits", sa.Column(name, kind))
    for name in _TIMES:
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column("address_limits", column)
    op.add_column("challenges", sa.Column("mailbox_key", sa.String(32)))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("challenges", "mailbox_key")
    for name in (*_OPTIONAL, *_TIMES):
        op.drop_column("address_limits", name)
