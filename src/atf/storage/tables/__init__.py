"""The schema as tables, one module a room; a fresh database and an upgraded one must both equal this."""

from atf.storage.tables import (
    accounts,
    alerts,
    health,
    market,
    notifications,
    paper,
    runs,
    schedules,
    secrets,
    security,
    telegram,
    trading,
    users,
)
from atf.storage.tables.metadata import metadata

__all__ = [
    "accounts",
    "alerts",
    "health",
    "market",
    "metadata",
    "notifications",
    "paper",
    "runs",
    "schedules",
    "secrets",
    "security",
    "telegram",
    "trading",
    "users",
]
