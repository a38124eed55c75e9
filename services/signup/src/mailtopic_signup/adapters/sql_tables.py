"""The tables. Times are epoch milliseconds.

The outbox's id, aggregatetype, aggregateid, type and payload are named as Debezium's outbox event
router expects them, so that it can replace the publisher.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
)

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("address", String(320), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("verified_at", BigInteger),
)
_confirmed_at = users.c.verified_at
# Only users that never confirmed are ever deleted.
Index(
    "ix_users_unconfirmed",
    users.c.created_at,
    sqlite_where=_confirmed_at.is_(None),
    postgresql_where=_confirmed_at.is_(None),
)

address_limits = Table(
    "address_limits",
    metadata,
    # A mailbox's key, see domain/mailbox.py.
    Column("address_key", String(32), primary_key=True),
    Column("next_mail_at", BigInteger, nullable=False),
    Column("last_mail_id", Uuid, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_failure_at", BigInteger, nullable=False),
    Column("mails_in_hour", Integer, nullable=False, server_default="0"),
    Column("mails_in_day", Integer, nullable=False, server_default="0"),
    Column("last_mail_at", BigInteger, nullable=False, server_default="0"),
    # The time of its latest signup: its limits are kept as long as any challenge.
    Column("asked_at", BigInteger, nullable=False, server_default="0", index=True),
    # The challenge of the latest mail.
    Column("last_challenge_id", String(32)),
    # Its codes are derived from this and the pepper with that id.
    Column("code_seed", LargeBinary(16)),
    Column("code_key_id", String(64)),
    # The challenge of the latest short code; unset once the code was used.
    Column("short_for", String(32)),
    # When the latest codes expire. No short code was mailed after short_until.
    Column("short_until", BigInteger, nullable=False, server_default="0"),
    Column("long_until", BigInteger, nullable=False, server_default="0"),
)

challenges = Table(
    "challenges",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("address_key", String(32), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("locale", String(64), nullable=False),
    # These three and code_until are for the version before 0004, which needs values in them.
    Column("code_for", String(32), nullable=False),
    Column("code_key_id", String(64), nullable=False),
    Column("code_digest", LargeBinary(32), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("resend_after", BigInteger, nullable=False),
    Column("verified_at", BigInteger),
    Column("mail_id", Uuid),
    Column("delivery", String(16), nullable=False),
    Column("delivery_at", BigInteger),
    Column("code_until", BigInteger),
    # The key of its limits; unset by a version before 0004, then address_key is.
    Column("mailbox_key", String(32)),
    Index("ix_challenges_mail_id", "mail_id"),
    Index("ix_challenges_user_id", "user_id"),
    Index("ix_challenges_created_at", "created_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("aggregatetype", String(255), nullable=False),
    Column("aggregateid", String(255), nullable=False),
    Column("type", String(255), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("topic", String(249), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("traceparent", String(64)),
    Column("lease_until", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("published_at", BigInteger),
)
_published_at = outbox.c.published_at
# Partial, so that published rows cost the publisher nothing.
Index(
    "ix_outbox_waiting",
    outbox.c.topic,
    outbox.c.created_at,
    sqlite_where=_published_at.is_(None),
    postgresql_where=_published_at.is_(None),
)
Index(
    "ix_outbox_published",
    _published_at,
    sqlite_where=_published_at.is_not(None),
    postgresql_where=_published_at.is_not(None),
)

idempotent_answers = Table(
    "idempotent_answers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

mails = Table(
    "mails",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("topic", String(249), nullable=False),
    Column("sent_by", String(64), nullable=False),
    Column("recipient_key", String(32), nullable=False),
    Column("recipient", String(320), nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("outcome", String(16)),
    Column("outcome_at", BigInteger),
    Column("smtp", String(32)),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("address_key", String(32), primary_key=True),
    # Redacted: the list can be shown, and lifting a suppression takes the full address.
    Column("recipient", String(320), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("smtp", String(32)),
    Column("bounced_at", BigInteger, nullable=False),
    Column("bypass_after", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False, index=True),
)
