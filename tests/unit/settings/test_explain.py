import json
from pathlib import Path

import pytest
from tests.unit.settings.conftest import WriteFile

from atf.settings import ExplainedSetting, Source, explain_settings
from atf.settings.masking import masked_url


def explained(name: str) -> ExplainedSetting:
    return next(one for one in explain_settings().settings if one.name == name)


def test_each_value_says_where_it_comes_from(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file({"alert_timeout": 7, "max_workers": 3})
    monkeypatch.setenv("SCHEDULER_MAX_WORKERS", "4")
    found = {
        one.name: (one.value, one.source, one.origin)
        for one in explain_settings().settings
        if one.name in {"max_workers", "alert_timeout_seconds", "job_defaults.coalesce"}
    }
    assert found == {
        "max_workers": (4, Source.ENVIRONMENT, "SCHEDULER_MAX_WORKERS"),
        "alert_timeout_seconds": (7, Source.FILE, "config/scheduler/scheduler.json: alert_timeout"),
        "job_defaults.coalesce": (False, Source.DEFAULT, "default"),
    }


def test_names_the_alias_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_POLL_INTERVAL", "4")
    assert explained("poll_interval_seconds").origin == "SCHEDULER_POLL_INTERVAL"


def test_is_fit_for_json_and_has_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://ann:secret@db/atf")
    monkeypatch.setenv("ATF_DATABASE_DIRECT_URL", "postgresql://db/atf?user=ann&password=secret")
    monkeypatch.setenv("ATF_DATA_FILES", "/bars")
    monkeypatch.setenv("ATF_MASTER_KEY", "secret://like-an-address")
    text = json.dumps([one.value for one in explain_settings().settings])
    assert "secret" not in text
    assert "ann:***@db" in text


def test_says_which_file_and_which_variables_are_none(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explain_settings().config_file is None
    write_file({})
    monkeypatch.setenv("ATF_TYPO", "1")
    assert Path(explain_settings().config_file or "") == Path("config/scheduler/scheduler.json")
    assert explain_settings().unknown_variables == ("ATF_TYPO",)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://db/atf", "postgresql://db/atf"),
        ("postgresql://ann@db/atf", "postgresql://ann@db/atf"),
        ("postgresql://ann:secret@db:5432/atf", "postgresql://ann:***@db:5432/atf"),
        ("postgresql://ann:sec@r/et@db/atf", "postgresql://ann:***@db/atf"),
        ("postgresql:///atf?host=/run&password=secret&x=1", "postgresql:///atf?host=/run&password=***&x=1"),
        ("host=db password=secret", "***"),
    ],
)
def test_password_is_masked(url: str, masked: str) -> None:
    assert masked_url(url) == masked
