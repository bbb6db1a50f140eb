import logging
from operator import attrgetter
from pathlib import Path

import pytest
from pydantic import ValidationError

from atf.errors import ConfigurationError
from atf.settings import Settings, default_home, load_settings
from atf.settings.review import warn_of


def test_defaults_need_no_environment() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.poll_interval_seconds == 5
    assert settings.data_files_folder == settings.home / "bars"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ATF_POLL_INTERVAL", "soon", "valid number"),
        ("ATF_POLL_INTERVAL", "0", "greater than 0, got '0'"),
        ("ATF_POLL_INTERVAL", "inf", "a finite number"),
        ("ATF_POLL_INTERVAL", "nan", "got 'nan'"),
        ("SCHEDULER_POLL_INTERVAL", "-1", "greater than 0, got '-1'"),
        ("SCHEDULER_NOTIFICATION_RETRIES", "many", "valid integer"),
        ("ATF_WORKER_LEASE_SECONDS", "0.5", "greater than or equal to 1"),
        ("ATF_WORKER_LEASE_SECONDS", "inf", "a finite number"),
        ("ATF_WORKER_BATCH_SIZE", "1.5", "valid integer"),
        ("ATF_WORKER_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("ATF_DATABASE_STATEMENT_TIMEOUT_SECONDS", "1e300", "less than or equal to 86400"),
        ("SCHEDULER_MAX_WORKERS", "0", "greater than or equal to 1"),
        ("SCHEDULER_MISFIRE_GRACE_TIME", "1.5", "valid integer"),
        ("SCHEDULER_STARTUP_DELAY", "-1", "greater than or equal to 0"),
        ("SCHEDULER_SHUTDOWN_TIMEOUT", "0", "greater than 0"),
        ("SCHEDULER_ALERT_TIMEOUT", "x" * 1000, "must be a valid number, got 'x+[.]{3}$"),
        ("ATF_PG_ALLOW_NOBODY", "perhaps", "valid boolean"),
    ],
)
def test_error_names_the_variable_that_was_set(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=rf"^{variable}: .*{reason}"):
        load_settings()


@pytest.mark.parametrize("prefix", ["ATF", "SCHEDULER"])
def test_the_missions_names_are_read_too(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv(f"{prefix}_DATABASE_URL", "postgresql://db/atf")
    monkeypatch.setenv(f"{prefix}_POLL_INTERVAL", "7")
    monkeypatch.setenv(f"{prefix}_NOTIFICATION_TIMEOUT", "8")
    monkeypatch.setenv(f"{prefix}_NOTIFICATION_RETRIES", "9")
    settings = load_settings()
    assert settings.database_url == "postgresql://db/atf"
    assert settings.poll_interval_seconds == 7
    assert (settings.notification_timeout_seconds, settings.notification_retries) == (8, 9)


MISSION = {
    "MAX_WORKERS": ("max_workers", 10),
    "MISFIRE_GRACE_TIME": ("job_defaults.misfire_grace_seconds", 30),
    "ALERT_TIMEOUT": ("alert_timeout_seconds", 300),
    "DATA_CACHE_TTL": ("data_cache_ttl_seconds", 60),
    "NOTIFICATION_TIMEOUT": ("notification_timeout_seconds", 30),
    "NOTIFICATION_RETRIES": ("notification_retries", 3),
    "STARTUP_DELAY": ("startup_delay_seconds", 10),
    "SHUTDOWN_TIMEOUT": ("shutdown_timeout_seconds", 30),
    "HEALTH_CHECK_INTERVAL": ("health_check_interval_seconds", 60),
    "POLL_INTERVAL": ("poll_interval_seconds", 5),
}


@pytest.mark.parametrize(("variable", "setting"), MISSION.items())
def test_every_variable_of_the_mission_has_its_default_and_is_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, setting: tuple[str, int]
) -> None:
    name, default = setting
    read = attrgetter(name)
    assert read(load_settings()) == default
    monkeypatch.setenv(f"SCHEDULER_{variable}", "17")
    assert read(load_settings()) == 17


def test_defaults_of_jobs_are_those_of_the_mission() -> None:
    settings = load_settings()
    assert (settings.job_defaults.coalesce, settings.job_defaults.max_instances) == (False, 3)
    assert (settings.executors.default.max_workers, settings.executors.processpool.max_workers) == (20, 5)
    limits = {
        name: tuple(limit.values()) for name, limit in settings.job_configs.model_dump(mode="python").items()
    }
    assert limits == {
        "report_generation": (300, 3, 60),
        "data_processing": (600, 2, 120),
        "notifications": (30, 5, 10),
    }


def test_own_name_wins_over_the_missions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_POLL_INTERVAL", "7")
    monkeypatch.setenv("ATF_POLL_INTERVAL", "8")
    assert load_settings().poll_interval_seconds == 8


def test_two_databases_are_refused_without_their_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_DATABASE_URL", "postgresql+asyncpg://ann:first@old/atf")
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://ann:sec@nd@new/atf")
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value) == (
        "ATF_DATABASE_URL and SCHEDULER_DATABASE_URL: both are set, to postgresql://ann:***@new/atf and "
        "postgresql://ann:***@old/atf; unset one of them"
    )
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://ann:other@old/atf")
    with pytest.raises(ConfigurationError, match="both are set, with different passwords; unset one of them"):
        load_settings()


@pytest.mark.parametrize("driver", ["postgres", "postgresql+psycopg", "postgresql+asyncpg"])
def test_one_database_in_two_spellings_is_one_database(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    monkeypatch.setenv("SCHEDULER_DATABASE_URL", f"{driver}://ann:first@old/atf")
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://ann:first@old/atf")
    assert load_settings().database_url == "postgresql://ann:first@old/atf"


def test_unknown_variable_is_warned_of_once_and_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A later version's variable, or one that Kubernetes sets for a service of this name, must stop nobody."""
    warn_of.cache_clear()
    monkeypatch.setenv("ATF_DATABASE_ULR", "postgresql://db/atf")
    monkeypatch.setenv("SCHEDULER_SERVICE_HOST", "10.0.0.1")
    for allowed in ("ATF_TEST_PG_BINDIR", "ATF_CHAOS_KILLS", "ATF_PAUSE_AT", "ATF_LIFELINE_FD", "_ATF_COMPLETE"):
        monkeypatch.setenv(allowed, "1")
    with caplog.at_level(logging.WARNING):
        load_settings()
        load_settings()
    assert [record.getMessage() for record in caplog.records] == [
        "not a setting of this ATF, ignored: ATF_DATABASE_ULR (did you mean ATF_DATABASE_URL?), "
        "SCHEDULER_SERVICE_HOST"
    ]


def test_password_is_not_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://ann:secret@db/atf")
    assert "secret" not in repr(load_settings())


def test_unknown_setting_is_refused_in_code() -> None:
    with pytest.raises(ValidationError):
        Settings(max_wrokers=3)  # type: ignore[call-arg]


def test_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in unit files and compose files, where a name without a value means the default."""
    for name in ("ATF_HOME", "ATF_DATABASE_URL", "ATF_POLL_INTERVAL", "ATF_DATA_FILES"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.home, settings.database_url) == (default_home(), None)
    assert (settings.poll_interval_seconds, settings.data_files) == (5, None)


def test_home_follows_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/atf")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_home() == Path("/data/atf")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_home() == Path("/home/ann/.local/share/atf")


def test_bars_may_lie_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATF_DATA_FILES", "/bars")
    assert load_settings().data_files_folder == Path("/bars")
