"""SQL of what is left of a run's attempts, for all statements that end one."""

from __future__ import annotations

from typing import Final

ENDED_ATTEMPT: Final = """
    COALESCE(r.attempts, '[]') || jsonb_build_object(
        'attempt', r.attempt, 'worker_id', r.worker_id, 'started_at', r.started_at, 'ended_at', clock_timestamp(),
        'outcome', {outcome}, 'error', {error})"""
"""SQL: the history of a run's attempts with the present one at its end."""
BURIED: Final = """
    INSERT INTO job_dead_letters (run_id, job_type, job_id, user_id, scheduled_for, reason, attempt, error,
                                  error_details, attempts, job_snapshot, priority, max_attempts)
    SELECT run_id, job_type, job_id, user_id, scheduled_for, reason, attempt, error, error_details,
           COALESCE(attempts, '[]'), job_snapshot, priority, max_attempts
    FROM ended WHERE status = 'FAILED' ON CONFLICT DO NOTHING"""
"""SQL: the dead letters of those runs of the common table expression ``ended`` that have failed for good."""
