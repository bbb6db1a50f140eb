"""What an alert remembers between bars, and what it decided.

State lies in typed columns because every evaluation writes it; ``state_json`` is how people see it.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    event,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from atf.storage.tables.metadata import instant, metadata, one_of

alert_states = Table(
    "alert_states",
    metadata,
    Column("schedule_id", Integer, ForeignKey("job_schedules.id"), primary_key=True),
    Column("gate", Text, nullable=False),
    Column("count", Integer, nullable=False, server_default="0"),
    instant("cooldown_until", nullable=True),
    instant("last_bar", nullable=True),
    instant("last_trigger_bar", nullable=True),
    Column("trigger_count", Integer, nullable=False, server_default="0"),
    Column("sides", JSONB, nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False),
    Column("data_status", Text, nullable=False),
    Column("rule_hash", Text, nullable=False),
    Column("version", Integer, nullable=False),
    instant("updated_at", default_now=True),
    instant("history_until"),
    instant("muted_until", nullable=True),
    Column("last_seen", LargeBinary),
    one_of("gate", ("open", "closed")),
    one_of("status", ("ARMED", "PENDING", "TRIGGERED", "COOLDOWN", "COMPLETED", "EXPIRED")),
    one_of("data_status", ("ok", "no_data")),
    postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.05"},
)

alert_triggers = Table(
    "alert_triggers",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("schedule_id", Integer, ForeignKey("job_schedules.id"), nullable=False),
    Column("user_id", Integer, nullable=False),
    Column("rule_hash", Text, nullable=False),
    instant("bar_time"),
    Column("trigger_number", Integer, nullable=False),
    Column("dedup_key", Text, nullable=False, unique=True),
    Column("readings", JSONB, nullable=False),
    Column("is_late", Boolean, nullable=False, server_default=false()),
    Column("run_id", UUID(as_uuid=True)),
    instant("decided_at", default_now=True),
    Column("explanation", JSONB),
    Column("is_muted", Boolean, nullable=False, server_default=false()),
    instant("acknowledged_at", nullable=True),
    instant("live_at", nullable=True),
    UniqueConstraint("schedule_id", "rule_hash", "bar_time"),
    Index(None, "user_id", "decided_at"),
)

STATE_JSON_VIEW = """
CREATE VIEW alert_state_json AS
SELECT schedule_id,
       jsonb_build_object(
         'gate', gate, 'count', count, 'cooldown_until', cooldown_until, 'last_bar', last_bar,
         'last_trigger_bar', last_trigger_bar, 'trigger_count', trigger_count, 'sides', sides,
         'status', status, 'data_status', data_status, 'rule_hash', rule_hash, 'history_until', history_until,
         'muted_until', muted_until, 'version', version, 'updated_at', updated_at) AS state_json
FROM alert_states
"""
event.listen(alert_states, "after_create", DDL(STATE_JSON_VIEW))  # type: ignore[no-untyped-call]
