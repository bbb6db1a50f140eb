import os
from pathlib import Path

import pytest

from atf.errors import ConfigurationError
from atf.settings import default_home, load_settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings, whatever machine this runs on."""
    for name in list(os.environ):
        if name.startswith(("ATF_", "SCHEDULER_")):
            monkeypatch.delenv(name)


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
        ("ATF_POLL_INTERVAL", "inf", "less than or equal to 86400"),
        ("ATF_POLL_INTERVAL", "nan", "got 'nan'"),
        ("SCHEDULER_POLL_INTERVAL", "-1", "greater than 0, got '-1'"),
        ("SCHEDULER_NOTIFICATION_RETRIES", "many", "valid integer"),
        ("ATF_WORKER_LEASE_SECONDS", "0.5", "greater than or equal to 1"),
        ("ATF_WORKER_LEASE_SECONDS", "inf", "less than or equal to 86400"),
        ("ATF_WORKER_BATCH_SIZE", "1.5", "valid integer"),
        ("ATF_WORKER_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("ATF_DATABASE_STATEMENT_TIMEOUT_SECONDS", "1e300", "less than or equal to 86400"),
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


def test_own_name_wins_over_the_missions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_DATABASE_URL", "postgresql://old/atf")
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://new/atf")
    assert load_settings().database_url == "postgresql://new/atf"


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
