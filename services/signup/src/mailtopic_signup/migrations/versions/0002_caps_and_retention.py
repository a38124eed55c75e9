"""Caps on mails to an address, and the indexes by which old rows are found."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBERS = {
    "mails_in_hour": sa.Integer,
    "mails_in_day": sa.Integer,
    "last_mail_at": sa.BigInteger,
    "asked_at": sa.BigInteger,
}
_INDEXES = {
    "ix_address_limits_asked_at": ("address_limits", "asked_at"),
    "ix_challenges_user_id": ("challenges", "user_id"),
    "ix_challenges_created_at": ("challenges", "created_at"),
}


def upgrade() -> None:
    """Add columns with defaults, because the version before continues to write rows."""
    for name, kind in _NUMBERS.items():
        column = sa.Column(name, kind, nullable=False, server_default="0")
        op.add_column("address_limits", column)
    op.add_column("address_limits", sa.Column("last_challenge_id", sa.String(32)))
    op.add_column("challenges", sa.Column("code_until", sa.BigInteger))
    # Existing rows count as requested now, or today's failures would be forgotten.
    now = sa.bindparam("now", time.time_ns() // 1_000_000, sa.BigInteger)
    limits = sa.table("address_limits", sa.column("asked_at"))
    op.execute(limits.update().values(asked_at=now))
    for name, (table, column_name) in _INDEXES.items():
        op.create_index(name, table, [column_name])
    unconfirmed = sa.text("verified_at IS NULL")
    op.create_index(
        "ix_users_unconfirmed",
        "users",
        ["created_at"],
        sqlite_where=unconfirmed,
        postgresql_where=unconfirmed,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_users_unconfirmed", "users")
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table)
    op.drop_column("challenges", "code_until")
    op.drop_column("address_limits", "last_challenge_id")
    for name in _NUMBERS:
        op.drop_column("address_limits", name)
