"""Every setting of every process, read once from the environment.

Units are in the names; durations become ``timedelta`` where they are used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from atf.errors import ConfigurationError

_DAY: Final = 86_400
"""The longest duration that a setting may have; it also keeps infinity out."""


def default_home() -> Path:
    """Return where ATF keeps its data: /var/lib/atf for root, the user's data folder otherwise.

    Root's own home is closed to the account that PostgreSQL runs as, so root gets a system folder.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/atf")
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "atf"


class Settings(BaseSettings):
    """Settings with their defaults; each is the environment variable ``ATF_<NAME>`` in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="ATF_", env_ignore_empty=True, populate_by_name=True, extra="ignore"
    )

    home: Path = Field(default_factory=default_home)
    database_url: str | None = Field(
        default=None, validation_alias=AliasChoices("ATF_DATABASE_URL", "SCHEDULER_DATABASE_URL")
    )
    database_direct_url: str | None = None
    database_pool_size: int = Field(default=5, ge=1, le=100)
    database_statement_timeout_seconds: float = Field(default=30, gt=0, le=_DAY)
    database_lock_timeout_seconds: float = Field(default=10, gt=0, le=_DAY)
    pg_user: str | None = None
    pg_bindir: Path | None = None
    pg_allow_nobody: bool = False
    data_files: Path | None = None
    poll_interval_seconds: float = Field(
        default=5, gt=0, le=_DAY, validation_alias=AliasChoices("ATF_POLL_INTERVAL", "SCHEDULER_POLL_INTERVAL")
    )
    worker_lease_seconds: float = Field(default=15, ge=1, le=_DAY)
    worker_batch_size: int = Field(default=500, ge=1, le=10_000)
    bars_patience_seconds: float = Field(default=2, gt=0, le=_DAY)
    notification_timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=_DAY,
        validation_alias=AliasChoices("ATF_NOTIFICATION_TIMEOUT", "SCHEDULER_NOTIFICATION_TIMEOUT"),
    )
    notification_retries: int = Field(
        default=3,
        ge=0,
        validation_alias=AliasChoices("ATF_NOTIFICATION_RETRIES", "SCHEDULER_NOTIFICATION_RETRIES"),
    )
    notification_batch_size: int = Field(default=100, ge=1, le=10_000)

    @property
    def data_files_folder(self) -> Path:
        """Where the ``files`` provider looks for bars."""
        return self.data_files or self.home / "bars"


def load_settings() -> Settings:
    """Read the environment; raise ConfigurationError that names the variable if a value is not allowed."""
    try:
        return Settings()
    except ValidationError as exc:
        first = exc.errors()[0]
        variable = _variable(str(first["loc"][0]))
        raise ConfigurationError(f"{variable}: {first['msg']}, got {first['input']!r}") from exc


def _variable(name: str) -> str:
    """Return the environment variable behind a name in pydantic's report, which knows only the first alias."""
    variable = name if name.isupper() else f"ATF_{name.upper()}"
    alias = variable.replace("ATF_", "SCHEDULER_", 1)
    return alias if variable not in os.environ and alias in os.environ else variable
