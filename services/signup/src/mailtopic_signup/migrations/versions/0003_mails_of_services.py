"""Mails of other services, suppressed recipients, and an outbox that is read topic by topic."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is new."""
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("sent_by", sa.String(64), nullable=False),
        sa.Column("recipient_key", sa.String(32), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("outcome_at", sa.BigInteger),
        sa.Column("smtp", sa.String(32)),
    )
    op.create_index("ix_mails_expires_at", "mails", ["expires_at"])
    op.create_table(
        "suppressions",
        sa.Column("address_key", sa.String(32), primary_key=True),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("smtp", sa.String(32)),
        sa.Column("bounced_at", sa.BigInteger, nullable=False),
        sa.Column("bypass_after", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_suppressions_until", "suppressions", ["until"])
    _index_outbox("ix_outbox_waiting", ["topic", "created_at"], instead_of="ix_outbox_pending")


def downgrade() -> None:
    """Drop it again."""
    _index_outbox("ix_outbox_pending", ["created_at"], instead_of="ix_outbox_waiting")
    for name in ("suppressions", "mails"):
        op.drop_table(name)


def _index_outbox(name: str, columns: list[str], *, instead_of: str) -> None:
    waiting = sa.text("published_at IS NULL")
    op.create_index(name, "outbox", columns, sqlite_where=waiting, postgresql_where=waiting)
    op.drop_index(instead_of, "outbox")
