from pathlib import Path

import pytest
from tests.unit.settings.conftest import WriteFile

from atf.errors import ConfigurationError
from atf.settings import load_settings, review_settings

FILE = "config/scheduler/scheduler.json"
SHIPPED = Path(__file__).parents[3] / FILE


def test_values_of_the_file_are_used(write_file: WriteFile) -> None:
    write_file({"max_workers": 4, "alert_timeout": 1.5, "job_defaults": {"coalesce": True}})
    settings = load_settings()
    assert (settings.max_workers, settings.alert_timeout_seconds) == (4, 1.5)
    assert (settings.job_defaults.coalesce, settings.job_defaults.max_instances) == (True, 3)


def test_part_of_an_object_leaves_the_rest_at_its_own_defaults(write_file: WriteFile) -> None:
    write_file({"job_configs": {"data_processing": {"retry_delay": 7}}, "executors": {"processpool": {}}})
    limits = load_settings().job_configs
    assert (limits.data_processing.max_runtime_seconds, limits.data_processing.retry_delay_seconds) == (600, 7)
    assert limits.notifications.retry_delay_seconds == 10


def test_environment_counts_more_than_the_file_value_by_value(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file({"max_workers": 4, "job_defaults": {"misfire_grace_time": 5, "max_instances": 6}})
    monkeypatch.setenv("SCHEDULER_MAX_WORKERS", "7")
    monkeypatch.setenv("SCHEDULER_MISFIRE_GRACE_TIME", "8")
    settings = load_settings()
    assert settings.max_workers == 7
    assert (settings.job_defaults.misfire_grace_seconds, settings.job_defaults.max_instances) == (8, 6)


def test_shipped_file_says_the_defaults(write_file: WriteFile) -> None:
    without = load_settings()
    write_file(SHIPPED.read_text())
    review = review_settings()
    assert review.file is not None
    assert review.settings == without
    keys = {setting.file_key for setting in review.known if setting.file_key}
    assert {setting.file_key for setting in review.file.given} == keys - {"database_url"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"max_wokers": 4}, "max_wokers: unknown key; did you mean 'max_workers'?"),
        ({"job_defaults": {"max_instance": 4}}, "job_defaults.max_instance: unknown key; did you mean"),
        (
            {"misfire_grace_time": 4},
            "misfire_grace_time: unknown key; did you mean 'job_defaults.misfire_grace_time'?",
        ),
        (
            {"job_configs": {"report_gen": {}}},
            "job_configs.report_gen: unknown key; did you mean 'report_generation'?",
        ),
        (
            {"job_configs": {"x": 1}},
            "job_configs.x: unknown key; allowed: report_generation, data_processing, notifications",
        ),
        ({"home": "/x"}, "home: unknown key"),
        (
            {"job_defaults": {"max_instances": "3"}},
            'job_defaults.max_instances: must be a valid integer, got "3"',
        ),
        ({"job_defaults": {"coalesce": 0}}, "job_defaults.coalesce: must be true or false, got 0"),
        ({"job_defaults": 3}, "job_defaults: must be a JSON object, got 3"),
        ({"max_workers": True}, "max_workers: must be a valid integer, got true"),
        ({"max_workers": None}, "max_workers: must be a valid integer, got null"),
        ({"max_workers": {"a": 1}}, "max_workers: must be a valid integer, got {"),
        ({"max_workers": 0}, "max_workers: must be greater than or equal to 1, got 0"),
        ({"max_workers": 10**400}, "max_workers: "),
        ({"alert_timeout": 10**400}, "alert_timeout: "),
        ('{"alert_timeout": ' + "9" * 5000 + "}", "cannot be used: Exceeds the limit"),
        ('{"alert_timeout": 1e400}', "alert_timeout: must be a finite number"),
        ('{"alert_timeout": NaN}', "NaN is not JSON"),
        (
            {"executors": {"default": {"type": "asyncio"}}},
            "executors.default.type: must be 'threadpool', got \"asyncio\"",
        ),
        ({"database_url": 5}, "database_url: must be a text"),
        ('{"max_workers": 4, "max_workers": 5}', 'the key "max_workers" stands twice in one object'),
        ('{"max_workers": 4,\n "alert_timeout" 5}', "line 2, column 18: is not JSON: Expecting ':' delimiter"),
        ("", "line 1, column 1: is not JSON"),
        ("[1]", "must be a JSON object, got [1]"),
        ("[" * 100_000, "is nested too deep"),
    ],
)
def test_mistake_names_file_and_place(write_file: WriteFile, content: object, sentence: str) -> None:
    write_file(content)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith(f"{FILE}: {sentence}")


def test_all_mistakes_are_found_at_once(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file({"max_workers": 0, "unknown": 1})
    monkeypatch.setenv("SCHEDULER_ALERT_TIMEOUT", "soon")
    begins = (f"{FILE}: max_workers: must", f"{FILE}: unknown: unknown key", "SCHEDULER_ALERT_TIMEOUT: must")
    for problem, begin in zip(review_settings().problems, begins, strict=True):
        assert problem.startswith(begin)


def test_file_of_the_home_is_used_where_the_working_directory_has_none(
    write_file: WriteFile, tmp_path: Path
) -> None:
    at_home = tmp_path / "home" / FILE
    at_home.parent.mkdir(parents=True)
    at_home.write_text('{"max_workers": 2}')
    assert load_settings().max_workers == 2
    write_file({"max_workers": 3})
    assert load_settings().max_workers == 3


def test_named_file_is_used_instead(
    write_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file({"max_workers": 3})
    named = tmp_path / "named.json"
    named.write_text('\N{BOM}{"max_workers": 5}', "utf-8")
    monkeypatch.setenv("ATF_CONFIG", str(named))
    assert load_settings().max_workers == 5
    monkeypatch.setenv("ATF_CONFIG", "none")
    assert load_settings().max_workers == 10


def test_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATF_CONFIG", str(tmp_path / "nowhere.json"))
    with pytest.raises(ConfigurationError, match=r"^ATF_CONFIG: .*nowhere.json: cannot be read: No such file"):
        load_settings()
    monkeypatch.setenv("ATF_CONFIG", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory"):
        load_settings()


def test_text_that_is_not_utf_8_is_refused(write_file: WriteFile) -> None:
    write_file("").write_bytes(b'{"database_url": "\xff"}')
    with pytest.raises(ConfigurationError, match=r"is not UTF-8 text \(byte 18\)"):
        load_settings()
