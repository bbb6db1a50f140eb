"""Every setting of every process, with its default, its limits and what it is for.

Units are in the names; durations become ``timedelta`` where they are used. A field's description is its row in
docs/settings.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from atf.errors import ConfigurationError
from atf.settings.config_file import read_config_file
from atf.settings.environment import given_by_environment
from atf.settings.names import Names, nested, settings_of

_DAY: Final = 86_400
"""The longest duration that a setting may have."""

Seconds = Annotated[float, Field(gt=0, le=_DAY, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, le=_DAY, allow_inf_nan=False)]
"""A duration that may be left out by saying 0."""
Pool = Annotated[int, Field(ge=1, le=1000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
_PUBLIC_URL: Final = re.compile(r"https?://[^\s/?#@]{1,300}(/[^\s?#]{0,300})?")


def default_home() -> Path:
    """Return where ATF keeps its data: /var/lib/atf for root, the user's data folder otherwise.

    Root's own home is closed to the account that PostgreSQL runs as, so root gets a system folder.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/atf")
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "atf"


def home_folder() -> Path:
    """Return ATF's home before all settings are read: the config file may lie in it."""
    named = os.environ.get("ATF_HOME")
    return Path(named) if named else default_home()


def _checked_public_url(url: str) -> str:
    if not _PUBLIC_URL.fullmatch(url):
        raise ValueError("must be an address such as https://atf.example.org, without ? and #")
    return url


def _checked_webhook_url(url: str | None) -> str | None:
    return None if url is None else _checked_public_url(url)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobDefaults(_Part):
    """What a new schedule gets unless it says otherwise."""

    coalesce: bool = Field(default=False, description="whether instants that were missed together make one run")
    max_instances: int = Field(default=3, ge=1, le=1000, description="runs of a schedule at the same time")
    misfire_grace_seconds: Annotated[
        int, Names(variables=("SCHEDULER_MISFIRE_GRACE_TIME",), key="misfire_grace_time")
    ] = Field(default=30, ge=1, le=_DAY, description="how late a run still counts as on time")


class ThreadPool(_Part):
    """The threads of a worker process."""

    type: Literal["threadpool"] = Field(default="threadpool", description="no other type is possible")
    max_workers: Pool = Field(default=20, description="threads of a worker process for handlers that block")


class ProcessPool(_Part):
    """The child processes of a worker process."""

    type: Literal["processpool"] = Field(default="processpool", description="no other type is possible")
    max_workers: Pool = Field(default=5, description="child processes of a worker for heavy handlers")


class Executors(_Part):
    """Where handlers run that must not hold up the event loop."""

    default: ThreadPool = ThreadPool()
    processpool: ProcessPool = ProcessPool()


class JobConfig(_Part):
    """Limits of one kind of job, unless a schedule has its own."""

    max_runtime_seconds: Annotated[Seconds, Names(key="max_runtime")] = Field(
        description="how long a run may take"
    )
    retry_attempts: int = Field(ge=1, le=1000, description="attempts in all, the first one included")
    retry_delay_seconds: Annotated[SecondsOrNone, Names(key="retry_delay")] = Field(
        description="pause before the second attempt; it doubles with each further one"
    )


class JobConfigs(_Part):
    """Limits by kind of job."""

    report_generation: JobConfig = JobConfig(max_runtime_seconds=300, retry_attempts=3, retry_delay_seconds=60)
    data_processing: JobConfig = JobConfig(max_runtime_seconds=600, retry_attempts=2, retry_delay_seconds=120)
    notifications: JobConfig = JobConfig(max_runtime_seconds=30, retry_attempts=5, retry_delay_seconds=10)


class TelegramBotSettings(_Part):
    """Where the process of the bot is found."""

    notification_endpoint: Annotated[
        str, Names(variables=("ATF_NOTIFICATION_ENDPOINT",)), AfterValidator(_checked_public_url)
    ] = Field(
        default="http://localhost:8001/api/notify",
        description="where messages are handed over by HTTP, for programs that do not share the database",
    )


class Settings(BaseSettings):
    """Settings with their defaults; what is passed counts more than the environment, and that more than the file.

    Errors: ConfigurationError if the file cannot be used; pydantic's ValidationError for a value of the
            environment. ``load_settings`` puts both into one sentence.
    """

    model_config = SettingsConfigDict(extra="forbid", nested_model_default_partial_update=True)

    home: Path = Field(default_factory=default_home, description="where ATF keeps its data")
    database_url: Annotated[
        str | None,
        Names(variables=("ATF_DATABASE_URL", "SCHEDULER_DATABASE_URL"), key="database_url", is_secret=True),
    ] = Field(
        default=None,
        repr=False,
        description="the database, in any spelling: `postgresql://`, `+asyncpg`, `+psycopg`; "
        "without one ATF runs its own PostgreSQL",
    )
    database_direct_url: Annotated[str | None, Names(is_secret=True)] = Field(
        default=None,
        repr=False,
        description="beside a pooler in transaction mode: a URL that reaches PostgreSQL itself",
    )
    database_pool_size: int = Field(default=5, ge=1, le=100, description="connections that a process keeps")
    database_statement_timeout_seconds: Seconds = Field(default=30, description="how long a statement may take")
    database_lock_timeout_seconds: Seconds = Field(
        default=10, description="how long a statement waits for another transaction's lock"
    )
    master_key: Annotated[str | None, Names(is_secret=True)] = Field(
        default=None,
        repr=False,
        description="the key that seals secrets: 32 bytes in base64 or hex; better in a file, as other programs "
        "of this account may read the environment",
    )
    master_key_file: Path | None = Field(
        default=None,
        description="file with that key, which only ATF's account may read; without both ATF's own database gets "
        "`master.key` in ATF's home",
    )
    credentials_directory: Annotated[Path | None, Names(variables=("CREDENTIALS_DIRECTORY",))] = Field(
        default=None, description="set by systemd; the key may be the credential `atf-master-key` in it"
    )
    pg_user: str | None = Field(
        default=None,
        description="account that ATF's own server runs as when ATF runs as root; else `postgres` is looked for",
    )
    pg_bindir: Path | None = Field(
        default=None, description="folder with another PostgreSQL's programs than those of the wheel"
    )
    pg_allow_nobody: bool = Field(
        default=False, description="lets root run the server as `nobody` where there is no better account"
    )
    data_files: Path | None = Field(
        default=None, description="folder of the `files` provider; without one `bars` in ATF's home"
    )
    poll_interval_seconds: Annotated[
        Seconds, Names(variables=("ATF_POLL_INTERVAL", "SCHEDULER_POLL_INTERVAL"))
    ] = Field(default=5, description="how often the scheduler looks for due work if no notification comes")
    max_workers: Annotated[Pool, Names(variables=("SCHEDULER_MAX_WORKERS",), key="max_workers")] = Field(
        default=10, description="runs of one job type that a worker process does at the same time"
    )
    job_defaults: JobDefaults = JobDefaults()
    alert_timeout_seconds: Annotated[
        Seconds, Names(variables=("SCHEDULER_ALERT_TIMEOUT",), key="alert_timeout")
    ] = Field(
        default=300,
        description="how long a batch of alerts may be evaluated; what is not done by then fails and is retried",
    )
    data_cache_ttl_seconds: Annotated[
        SecondsOrNone, Names(variables=("SCHEDULER_DATA_CACHE_TTL",), key="data_cache_ttl")
    ] = Field(
        default=60,
        description="how soon at the latest a bar that a provider does not have yet is asked for again",
    )
    data_cache_mib: int = Field(
        default=96, ge=1, le=65_536, description="memory for bars that a process remembers, in MiB"
    )
    providers: str = Field(
        default="files",
        description="sources of bars in the order in which they are asked, with commas: `files`, `yahoo`, "
        "`simulated`, `binance-stream` or an exchange by its name at ccxt, such as `binance` or `kraken`",
    )
    symbol_providers: str = Field(
        default="",
        description="sources of certain symbols, such as `*/USDT=binance,kraken; AAPL=yahoo`; the first pattern "
        "that fits counts",
    )
    symbol_calendars: str = Field(
        default="",
        description="trading calendars of certain symbols, such as `*.L=XLON; EUR/USD=24/5`, where the usual one "
        "does not fit",
    )
    simulation_seed: int = Field(
        default=1, ge=0, le=2**31 - 1, description="what the bars of the provider `simulated` are made of"
    )
    bars_patience_seconds: Seconds = Field(default=2, description="how long a batch waits for a slow provider")
    worker_lease_seconds: float = Field(
        default=15, ge=1, le=_DAY, allow_inf_nan=False, description="how long a dead process keeps what it held"
    )
    worker_batch_size: int = Field(default=500, ge=1, le=10_000, description="runs claimed at once")
    notification_timeout_seconds: Annotated[
        Seconds,
        Names(
            variables=("ATF_NOTIFICATION_TIMEOUT", "SCHEDULER_NOTIFICATION_TIMEOUT"), key="notification_timeout"
        ),
    ] = Field(default=30, description="how long one send of a message may take")
    notification_retries: Annotated[
        int,
        Names(
            variables=("ATF_NOTIFICATION_RETRIES", "SCHEDULER_NOTIFICATION_RETRIES"), key="notification_retries"
        ),
    ] = Field(default=3, ge=0, le=1000, description="tries of a delivery after the first; then it is DEAD")
    notification_batch_size: int = Field(default=100, ge=1, le=10_000, description="deliveries claimed at once")
    telegram_bot: TelegramBotSettings = TelegramBotSettings()
    notification_token: Annotated[str | None, Names(is_secret=True)] = Field(
        default=None,
        repr=False,
        description="the token by which this installation hands messages over by HTTP",
    )
    messages_keep_days: int = Field(
        default=90, ge=1, le=3660, description="how long messages are kept that were delivered or failed"
    )
    telegram_token: Annotated[str | None, Names(is_secret=True)] = Field(
        default=None,
        repr=False,
        description="the bot's token from @BotFather; better kept by `atf secrets set telegram.bot-token "
        "--platform`",
    )
    telegram_api_url: Annotated[str, AfterValidator(_checked_public_url)] = Field(
        default="https://api.telegram.org", description="where Telegram's Bot API is"
    )
    telegram_webhook_url: Annotated[str | None, AfterValidator(_checked_webhook_url)] = Field(
        default=None,
        description="where Telegram reaches this process, such as `https://atf.example.org`, through a "
        "proxy that passes `/telegram/webhook` on; without it the bot polls, which needs no way in",
    )
    telegram_registration: Literal["closed", "approval", "open"] = Field(
        default="closed",
        description="whether strangers become users by the bot: never, once an administrator has let them in, or "
        "as soon as their e-mail address is proved",
    )
    smtp_host: str | None = Field(default=None, description="the mail server; without one there is no e-mail")
    smtp_port: Port = Field(default=587, description="its port: usually 587 for starttls and 465 for tls")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="how the connection is encrypted; none only to this machine"
    )
    smtp_username: str | None = Field(default=None, description="who signs in at the mail server, if it asks")
    smtp_password: Annotated[str | None, Names(is_secret=True)] = Field(
        default=None,
        repr=False,
        description="the password for that; better kept by `atf secrets set smtp.password --platform`",
    )
    smtp_sender: str | None = Field(
        default=None, description="from which address e-mail comes; else the user name"
    )
    smtp_ca_file: Path | None = Field(
        default=None, description="certificates (PEM) to trust for the mail server in place of the system's"
    )
    smtp_allow_clear: bool = Field(
        default=False, description="lets security none send passwords and messages in clear to another machine"
    )
    twilio_account_sid: str | None = Field(
        default=None, description="the account at Twilio; without one there is no SMS"
    )
    twilio_auth_token: Annotated[str | None, Names(is_secret=True)] = Field(
        default=None,
        repr=False,
        description="its token; better kept by `atf secrets set twilio.auth-token --platform`",
    )
    twilio_sender: str | None = Field(default=None, description="the telephone number that SMS come from")
    twilio_url: Annotated[str, AfterValidator(_checked_public_url)] = Field(
        default="https://api.twilio.com", description="where Twilio's API is"
    )
    telegram_groups: bool = Field(default=False, description="whether the bot listens in groups")
    webhook_allowed_networks: str = Field(
        default="",
        description="where webhooks may go beside public addresses: networks, addresses and names of hosts with "
        "commas, such as `192.168.1.0/24, nas.lan`",
    )
    startup_delay_seconds: Annotated[
        SecondsOrNone, Names(variables=("SCHEDULER_STARTUP_DELAY",), key="startup_delay")
    ] = Field(
        default=10, description="how long a started scheduler waits before its first due tick; `/health` answers"
    )
    shutdown_timeout_seconds: Annotated[
        Seconds, Names(variables=("SCHEDULER_SHUTDOWN_TIMEOUT",), key="shutdown_timeout")
    ] = Field(default=30, description="how long a service may take to stop before it is cut off")
    health_check_interval_seconds: Annotated[
        Seconds, Names(variables=("SCHEDULER_HEALTH_CHECK_INTERVAL",), key="health_check_interval")
    ] = Field(default=60, description="time between two health checks of a service")
    health_host: str = Field(
        default="127.0.0.1", description="where health endpoints listen; only addresses of this machine alone"
    )
    scheduler_port: Port = Field(
        default=8002,
        description="port of the scheduler's `/health` and `/stats`; 0 takes any free one, as does a default "
        "that is taken already",
    )
    worker_health_port: Port = Field(default=0, description="port of a worker's `/health`; 0 takes any free one")
    notifications_port: Port = Field(
        default=8001,
        description="port of the notification service; 0 takes any free one, as does a default that is taken "
        "already",
    )
    trading_port: Port = Field(
        default=8003,
        description="port of the trading service's `/health`; 0 takes any free one, as does a default that is "
        "taken already",
    )
    trading_heartbeat_seconds: float = Field(
        default=60.0, gt=0, description="how often the heartbeats of bots are written; three later one is stale"
    )
    trading_poll_seconds: float = Field(
        default=30.0,
        gt=0,
        description="how often bots are looked for in the database, if nothing says it earlier",
    )
    trading_restart_seconds: float = Field(
        default=1.0,
        ge=0,
        description="how long a bot that failed waits before it is started again the first time",
    )
    trading_reconcile_seconds: float = Field(
        default=300.0, gt=0, description="how often the positions of running bots are compared with their venue's"
    )
    public_url: Annotated[str, AfterValidator(_checked_public_url)] = Field(
        default="http://localhost:8000",
        description="where people reach ATF with a browser, for the links that it prints and sends",
    )
    user_pending_runs_limit: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description="ad-hoc runs of one user that may wait at the same time; 0 for any number",
    )
    user_running_runs_limit: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="runs of one job type that one user may have running at the same time; 0 for any number",
    )
    job_memory_mib: int = Field(
        default=1024, ge=64, le=1_048_576, description="memory that a run in a child process may take, in MiB"
    )
    backlog_alert_seconds: Seconds = Field(
        default=300, description="how long runs may wait for a worker before administrators are told"
    )
    user_schedules_limit: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="schedules that one user may have, alerts included; 0 for any number",
    )
    user_alerts_limit: int = Field(
        default=0, ge=0, le=10_000_000, description="alerts that one user may have; 0 for any number"
    )
    user_bots_limit: int = Field(
        default=0, ge=0, le=10_000_000, description="bots that one user may have; 0 for any number"
    )
    user_runs_per_day_limit: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="runs that one user may have a day by UTC, those of schedules and alerts included; 0 for any "
        "number",
    )
    dask_address: str | None = Field(
        default=None,
        description="the scheduler of a Dask cluster, such as `tcp://host:8786`, where heavy handlers run "
        "instead of in child processes of the worker; needs the extra `dask`",
    )
    runs_keep_days: int = Field(
        default=90, ge=1, le=3660, description="how long runs are kept that are no alerts; by whole months"
    )
    alert_runs_keep_hours: int = Field(
        default=24, ge=1, le=87_840, description="how long runs of alerts are kept; by whole days"
    )
    dead_letters_keep_days: int = Field(
        default=90, ge=1, le=3660, description="how long dead letters are kept, and 100 a schedule at most"
    )
    executors: Executors = Executors()
    job_configs: JobConfigs = JobConfigs()

    @property
    def data_files_folder(self) -> Path:
        """Where the ``files`` provider looks for bars."""
        return self.data_files or self.home / "bars"

    @property
    def strategies_folder(self) -> Path:
        """Where the files of a user's own strategies are."""
        return self.home / "strategies"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return what is asked for values, the first counts most."""
        del env_settings, dotenv_settings, file_secret_settings  # they know neither our names nor our file
        return init_settings, _Environment(settings_cls), _File(settings_cls)


class _WholeSource(PydanticBaseSettingsSource):
    """A source that answers for all fields at once, in ``__call__``."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        raise AssertionError("pydantic asks this source for all values at once")


class _Environment(_WholeSource):
    def __call__(self) -> dict[str, Any]:
        given = given_by_environment(settings_of(self.settings_cls))
        return nested({setting: variable.value for setting, variable in given.items()})


class _File(_WholeSource):
    def __call__(self) -> dict[str, Any]:
        file = read_config_file(settings_of(self.settings_cls), home_folder())
        if file is None:
            return {}
        if file.problems:
            raise ConfigurationError(file.problems[0])
        return nested(file.given)
