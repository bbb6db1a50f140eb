"""How users prove who they are: passwords, sessions, tokens, links, codes. Of a secret there is a hash only."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from atf.security.one_time import IdentityKind, LinkPurpose
from atf.security.session import SessionEnd
from atf.storage.tables.metadata import instant, metadata, one_of
from atf.storage.tables.security import audited

user_passwords = Table(
    "user_passwords",
    metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    instant("changed_at", default_now=True),
)

user_identities = Table(
    "user_identities",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    instant("verified_at", default_now=True),
    one_of("kind", IdentityKind),
    Index("user_identities_kind_value_key", "kind", "value", unique=True),
)

# No foreign key: whoever fails may be nobody here. subject: account:<id>, or address:<address or network>.
sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    instant("last_failed_at", nullable=True),
    Index(None, "last_failed_at"),
)

user_sessions = Table(
    "user_sessions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False, index=True),
    Column("origin", Text, nullable=False),
    Column("address", Text),
    instant("created_at", default_now=True),
    instant("expires_at"),
    instant("ended_at", nullable=True),
    Column("end_reason", Text),
    one_of("end_reason", SessionEnd),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended_at"),
    Index(None, "expires_at"),
)

session_tokens = Table(
    "session_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "session_id", BigInteger, ForeignKey("user_sessions.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("kind", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    instant("expires_at"),
    instant("used_at", nullable=True),  # of refresh tokens
    one_of("kind", ("access", "refresh")),
)

# user_id is NULL for the tokens of services, which are nobody's own.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), index=True),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    instant("created_at", default_now=True),
    instant("expires_at"),
    instant("last_used_at", nullable=True),
    instant("revoked_at", nullable=True),
    CheckConstraint("cardinality(scopes) > 0", name="scopes"),
)

one_time_links = Table(
    "one_time_links",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    instant("created_at", default_now=True),
    instant("expires_at"),
    instant("used_at", nullable=True),
    one_of("purpose", LinkPurpose),
    # One that holds at the most, whoever makes them at the same time.
    Index("one_time_links_open_key", "user_id", "purpose", unique=True, postgresql_where=text("used_at IS NULL")),
)

email_codes = Table(
    "email_codes",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("email", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    instant("created_at", default_now=True),
    instant("expires_at"),
    Column("tries", Integer, nullable=False, server_default="0"),
    instant("used_at", nullable=True),
    Index(None, "user_id", "created_at"),
)

# Hashing a password again at another cost is no change of it, and using a token is none of the token.
_AUDITS: Final = (
    audited("user_passwords", "password", columns="changed_at", ignored="changed_at", masked="hash"),
    audited("user_identities", "identity"),
    audited("api_tokens", "token", columns="revoked_at", ignored="last_used_at", masked="hash"),
    audited("one_time_links", "link", masked="hash"),
)
for statement in _AUDITS:
    event.listen(metadata, "after_create", DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
