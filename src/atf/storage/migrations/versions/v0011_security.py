"""Who may do what and who did it: limits of users, their approval, and the audit log with its triggers."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

USERS = """
ALTER TABLE users
  ADD COLUMN approved_at TIMESTAMP WITH TIME ZONE DEFAULT now(),
  ADD COLUMN schedules_limit INTEGER,
  ADD COLUMN alerts_limit INTEGER,
  ADD COLUMN runs_per_day_limit INTEGER,
  ADD COLUMN cpu_seconds_limit INTEGER,
  ADD COLUMN memory_mib_limit INTEGER;

UPDATE users SET approved_at = created_at;

ALTER TABLE users
  ADD CONSTRAINT users_schedules_limit_check CHECK (schedules_limit >= 0),
  ADD CONSTRAINT users_alerts_limit_check CHECK (alerts_limit >= 0),
  ADD CONSTRAINT users_runs_per_day_limit_check CHECK (runs_per_day_limit >= 0),
  ADD CONSTRAINT users_cpu_seconds_limit_check CHECK (cpu_seconds_limit >= 0),
  ADD CONSTRAINT users_memory_mib_limit_check CHECK (memory_mib_limit >= 0),
  ADD CONSTRAINT users_approved_at_check CHECK (approved_at IS NOT NULL OR NOT is_active);

CREATE TABLE user_run_days (
  user_id INTEGER NOT NULL,
  day DATE NOT NULL,
  runs BIGINT NOT NULL,
  CONSTRAINT user_run_days_pkey PRIMARY KEY (user_id, day),
  CONSTRAINT user_run_days_user_id_fkey FOREIGN KEY(user_id) REFERENCES users (id)
)
"""
AUDIT = r"""
CREATE TABLE audit_log (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
  actor_id INTEGER,
  actor TEXT NOT NULL,
  origin TEXT NOT NULL,
  address TEXT,
  action TEXT NOT NULL,
  object_type TEXT NOT NULL,
  object_id TEXT,
  owner_id INTEGER,
  before JSONB,
  after JSONB,
  outcome TEXT NOT NULL,
  detail TEXT,
  CONSTRAINT audit_log_pkey PRIMARY KEY (id),
  CONSTRAINT audit_log_origin_check CHECK (origin IN ('cli', 'api', 'telegram', 'system', 'database')),
  CONSTRAINT audit_log_outcome_check CHECK (outcome IN ('done', 'refused', 'failed'))
);

CREATE INDEX audit_log_at_idx ON audit_log (at);

CREATE INDEX audit_log_object_type_object_id_idx ON audit_log (object_type, object_id);

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
END $$;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'entries of the audit log are never changed or deleted' USING ERRCODE = 'ATF02';
END $$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM PUBLIC, CURRENT_USER
"""
AUDITED = """
CREATE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION audit_change('user', '{}', '{}');

CREATE TRIGGER job_schedules_audit AFTER INSERT OR UPDATE OF name, target, task_params, cron, timezone, enabled, priority, misfire_grace_seconds, coalesce, max_instances, misfire_policy, calendar, deleted_at, max_runtime_seconds, max_attempts, retry_delay_seconds OR DELETE ON job_schedules FOR EACH ROW EXECUTE FUNCTION audit_change('schedule', '{next_run_at,updated_at,effective_from,version,group_id}', '{}');

CREATE TRIGGER msg_quiet_hours_audit AFTER INSERT OR UPDATE OR DELETE ON msg_quiet_hours FOR EACH ROW EXECUTE FUNCTION audit_change('quiet_hours', '{updated_at}', '{}')
"""


def upgrade() -> None:
    for part in (USERS, AUDIT, AUDITED):
        for statement in part.split(";\n\n"):
            op.execute(statement)


def downgrade() -> None:
    for table in ("users", "job_schedules", "msg_quiet_hours"):
        op.execute(f"DROP TRIGGER {table}_audit ON {table}")
    op.execute("DROP TABLE audit_log, user_run_days")
    op.execute("DROP FUNCTION audit_change(), audit_refuse()")
    op.execute(
        "ALTER TABLE users DROP COLUMN approved_at, DROP COLUMN schedules_limit, DROP COLUMN alerts_limit, "
        "DROP COLUMN runs_per_day_limit, DROP COLUMN cpu_seconds_limit, DROP COLUMN memory_mib_limit"
    )
