"""What was done, by whom: the log, and the triggers that write into it."""

from typing import Final

from sqlalchemy import DDL, BigInteger, Column, DateTime, Identity, Index, Integer, Table, Text, event, text
from sqlalchemy.dialects.postgresql import JSONB

from atf.security.audit import AuditOutcome
from atf.security.caller import Origin
from atf.storage.tables.metadata import metadata, one_of

# No foreign keys: an entry outlives what it tells of.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("actor_id", Integer),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("address", Text),
    Column("action", Text, nullable=False),
    Column("object_type", Text, nullable=False),
    Column("object_id", Text),
    Column("owner_id", Integer),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("outcome", Text, nullable=False),
    Column("detail", Text),
    one_of("origin", Origin),
    one_of("outcome", AuditOutcome),
    Index(None, "at"),
    Index(None, "object_type", "object_id"),
)

# Who acts is in settings of the transaction; where there are none, somebody works with SQL beside ATF.
# Arguments: the object's type, the columns that are no change of it, and those whose values are not shown.
AUDIT_CHANGE: Final = """
CREATE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - TG_ARGV[1]::text[] END;
  becomes jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - TG_ARGV[1]::text[] END;
  whole jsonb := coalesce(becomes, was);
  verb text := CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END;
  secret text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    SELECT jsonb_object_agg(key, value), jsonb_object_agg(key, becomes -> key) INTO was, becomes
    FROM jsonb_each(was) WHERE value IS DISTINCT FROM becomes -> key;
    IF was IS NULL THEN
      RETURN NULL;
    END IF;
    IF becomes ->> 'deleted_at' IS NOT NULL THEN
      verb := 'delete';
    END IF;
  END IF;
  FOREACH secret IN ARRAY TG_ARGV[2]::text[] LOOP
    IF was ->> secret IS NOT NULL THEN
      was := was || jsonb_build_object(secret, '***');
    END IF;
    IF becomes ->> secret IS NOT NULL THEN
      becomes := becomes || jsonb_build_object(secret, '***');
    END IF;
  END LOOP;
  INSERT INTO audit_log (actor_id, actor, origin, address, action, object_type, object_id, owner_id,
                         before, after, outcome)
  VALUES (nullif(current_setting('atf.actor_id', true), '')::integer,
          coalesce(nullif(current_setting('atf.actor', true), ''), session_user),
          coalesce(nullif(current_setting('atf.origin', true), ''), 'database'),
          nullif(current_setting('atf.address', true), ''),
          TG_ARGV[0] || '.' || verb, TG_ARGV[0],
          coalesce(whole ->> 'id', whole ->> 'user_id'),
          coalesce(whole ->> 'user_id', CASE TG_TABLE_NAME WHEN 'users' THEN whole ->> 'id' END)::integer,
          was, becomes, 'done');
  RETURN NULL;
END $$
"""
AUDIT_REFUSE: Final = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'entries of the audit log are never changed or deleted' USING ERRCODE = 'ATF02';
END $$
"""
_APPEND_ONLY: Final = (
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
)
_REVOKE: Final = "REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM PUBLIC, CURRENT_USER"


def audited(table: str, object_type: str, *, columns: str = "", ignored: str = "", masked: str = "") -> str:
    """Return the trigger that records each change of a row; updates only if they set one of ``columns``."""
    of = f" OF {columns}" if columns else ""
    return (
        f"CREATE TRIGGER {table}_audit AFTER INSERT OR UPDATE{of} OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION audit_change('{object_type}', '{{{ignored}}}', '{{{masked}}}')"
    )


# Schedules: what a tick advances is no change of theirs, and must not cost a call.
_AUDITS: Final = (
    audited("users", "user"),
    audited(
        "job_schedules",
        "schedule",
        columns="name, target, task_params, cron, timezone, enabled, priority, misfire_grace_seconds, coalesce, "
        "max_instances, misfire_policy, calendar, deleted_at, max_runtime_seconds, max_attempts, "
        "retry_delay_seconds",
        ignored="next_run_at,updated_at,effective_from,version,group_id",
    ),
    audited("msg_quiet_hours", "quiet_hours", ignored="updated_at"),
    # A rotation changes no secret, and is told once, by the master key.
    audited("secrets", "secret", ignored="key_id,wrapped_key,nonce,created_at,updated_at", masked="ciphertext"),
    audited("master_key", "master_key", ignored="is_only,set_at"),
)
for statement in (AUDIT_CHANGE, AUDIT_REFUSE, _APPEND_ONLY, _REVOKE, *_AUDITS):
    event.listen(metadata, "after_create", DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
