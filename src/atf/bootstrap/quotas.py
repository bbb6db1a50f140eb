"""What users may have that have no limits of their own."""

from __future__ import annotations

from atf.security.user import Quotas
from atf.settings import Settings


def default_quotas(settings: Settings) -> Quotas:
    """Return what the settings allow one user."""
    return Quotas(
        schedules=settings.user_schedules_limit,
        alerts=settings.user_alerts_limit,
        runs_per_day=settings.user_runs_per_day_limit,
        bots=settings.user_bots_limit,
    )
