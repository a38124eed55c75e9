"""The first tables: users, limits, challenges, outbox, idempotent answers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_users()
    _create_challenges()
    _create_outbox()
    op.create_table(
        "idempotent_answers",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_idempotent_answers_expires_at", "idempotent_answers", ["expires_at"])


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("address", sa.String(320), nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
    )
    op.create_table(
        "address_limits",
        sa.Column("address_key", sa.String(32), primary_key=True),
        sa.Column("next_mail_at", sa.BigInteger, nullable=False),
        sa.Column("last_mail_id", sa.Uuid, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_failure_at", sa.BigInteger, nullable=False),
    )


def _create_challenges() -> None:
    op.create_table(
        "challenges",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("address_key", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("locale", sa.String(64), nullable=False),
        sa.Column("code_for", sa.String(32), nullable=False),
        sa.Column("code_key_id", sa.String(64), nullable=False),
        sa.Column("code_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("resend_after", sa.BigInteger, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
        sa.Column("mail_id", sa.Uuid),
        sa.Column("delivery", sa.String(16), nullable=False),
        sa.Column("delivery_at", sa.BigInteger),
    )
    op.create_index("ix_challenges_mail_id", "challenges", ["mail_id"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("aggregatetype", sa.String(255), nullable=False),
        sa.Column("aggregateid", sa.String(255), nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("traceparent", sa.String(64)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("published_at", sa.BigInteger),
    )
    pending, published = sa.text("published_at IS NULL"), sa.text("published_at IS NOT NULL")
    op.create_index(
        "ix_outbox_pending",
        "outbox",
        ["created_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_index(
        "ix_outbox_published",
        "outbox",
        ["published_at"],
        sqlite_where=published,
        postgresql_where=published,
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("idempotent_answers", "outbox", "challenges", "address_limits", "users"):
        op.drop_table(name)
