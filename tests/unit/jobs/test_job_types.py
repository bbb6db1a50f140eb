"""Job types: what their schemas take, what the target means, which limits hold, and types from other packages."""

import json
from datetime import timedelta
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.installed_packages import Installed

from atf.alerts.alert import parse_alert
from atf.bootstrap.checks import check_config
from atf.bootstrap.job_types import build_job_types, check_alert_job
from atf.errors import InvalidInput
from atf.jobs.job_type import JobLimits, JobTypeDefinition, JobTypes
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.plugins import load_plugins
from atf.jobs.run import JobType
from atf.jobs.schema_check import check_job_schemas
from atf.jobs.target import REPORT_TYPES, symbols_in
from atf.settings import Settings

TYPES = JobTypes(builtin_types(check_alert_job))
RULE = {"indicator": "rsi", "operator": ">", "value": 70}
ALERT = {"ticker": "AAPL", "timeframe": "1d", "rule": RULE}


def schema_of(name: str) -> dict[str, Any]:
    text = resources.files("atf.jobs").joinpath(f"schemas/{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def prepared(job_type: str, target: str, **task_params: Any) -> dict[str, Any]:
    return dict(TYPES.get(job_type).prepare(target, task_params))


def test_every_job_type_of_the_platform_is_defined() -> None:
    assert sorted(TYPES.names) == sorted(JobType)
    with pytest.raises(InvalidInput, match=r'^job_type: "dance" is not one of report, screener, alert'):
        TYPES.get("dance")


def test_shipped_schemas_are_right_and_strict_and_have_examples() -> None:
    for finding in check_job_schemas():
        assert (finding.problem, finding.examples > 0) == (None, True), finding
        schema = schema_of(finding.file.removesuffix(".schema.json"))
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("job_type", "target", "given", "stored"),
    [
        ("report", "daily_summary", {}, {"report_type": "daily_summary"}),
        ("report", "daily_summary", {"report_type": "daily_summary"}, {"report_type": "daily_summary"}),
        ("screener", "sp500", {"top_n": 3}, {"screener_set": "sp500", "top_n": 3}),
        ("screener", "AAPL, MSFT,AAPL", {}, {"screener_set": "custom", "tickers": ["AAPL", "MSFT"]}),
        ("screener", "AAPL,", {}, {"screener_set": "custom", "tickers": ["AAPL"]}),
        ("screener", "A,B", {"tickers": ["B", "A"]}, {"screener_set": "custom", "tickers": ["B", "A"]}),
        ("screener", "custom", {"tickers": ["A"]}, {"screener_set": "custom", "tickers": ["A"]}),
        ("data_processing", "yahoo", {"symbols": ["A"]}, {"data_source": "yahoo", "symbols": ["A"]}),
        ("data_processing", "end-of-day", {}, {}),
        ("data_processing", "end-of-day", {"data_source": "ibkr"}, {"data_source": "ibkr"}),
        ("notification", "me", {"message": "hello"}, {"message": "hello"}),
        ("backup", "all", {}, {}),
        ("alert", "AAPL", {"timeframe": "1d", "rule": RULE}, ALERT),
    ],
)
def test_the_target_fills_what_the_parameters_leave_out(
    job_type: str, target: str, given: dict[str, Any], stored: dict[str, Any]
) -> None:
    assert prepared(job_type, target, **given) == stored
    TYPES.get(job_type).check(target, stored)  # as when it runs


@pytest.mark.parametrize(
    ("job_type", "target", "given", "words"),
    [
        (
            "report",
            "daily_summary",
            {"report_type": "portfolio_analysis"},
            ["daily_summary", "portfolio_analysis"],
        ),
        ("screener", "sp500", {"screener_set": "nasdaq"}, ["sp500", "nasdaq"]),
        ("screener", "A,B", {"screener_set": "sp500"}, ["A,B", "sp500"]),
        ("screener", "A,B", {"tickers": ["A", "C"]}, ["A,B", '["A", "C"]']),
        ("screener", "sp500", {"tickers": ["A"]}, ["sp500", '["A"]']),
        ("data_processing", "yahoo", {"data_source": "ibkr"}, ["yahoo", "ibkr"]),
        ("alert", "MSFT", ALERT, ["MSFT", "AAPL"]),
    ],
)
def test_a_target_that_contradicts_the_parameters_is_refused_and_both_are_named(
    job_type: str, target: str, given: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InvalidInput, match="contradicts task_params") as refused:
        prepared(job_type, target, **given)
    assert refused.value.field == "target"
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("job_type", "target", "given", "sentence"),
    [
        ("report", "weekly", {}, 'target: "weekly" is not one of daily_summary, portfolio_analysis, perf'),
        (
            "report",
            "daily_summary",
            {"parameters": {"symbols": "AAPL"}},
            "task_params.parameters.symbols: must be",
        ),
        ("report", "daily_summary", {"reporttype": 1}, "task_params.reporttype: unknown field; did you mean"),
        ("screener", "the best ones", {}, 'target: "the best ones" is neither the name of a set nor'),
        ("screener", "A,,B", {}, 'target: "" in the list is no symbol'),
        ("screener", ",", {}, "target: "),
        ("screener", "sp500", {"top_n": 0}, "task_params.top_n: "),
        ("screener", "sp500", {"filter_criteria": {"max_pe_ratio": "low"}}, "task_params.filter_criteria.max_pe"),
        ("data_processing", "yahoo", {"operations": ["fetch", "fry"]}, "task_params.operations[1]: "),
        ("data_processing", "task", {"data_source": "no source"}, "task_params.data_source: "),
        ("notification", "me", {}, "task_params.message: is missing"),
        ("notification", "me", {"message": ""}, "task_params.message: "),
        ("notification", "me", {"message": "x" * 4001}, "task_params.message: has more than 4000 characters"),
        ("notification", "me", {"message": "x", "priority": "low"}, "task_params.priority: "),
        ("backup", "all", {"keep": 1001}, "task_params.keep: "),
        ("alert", "AAPL", {"timeframe": "1d", "rule": {**RULE, "value": "x"}}, "task_params.rule.value: "),
        ("alert", "AAPL", {"timeframe": "2d", "rule": RULE}, "task_params.timeframe: "),
    ],
)
def test_parameters_that_are_not_right_are_refused_with_their_path(
    job_type: str, target: str, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        prepared(job_type, target, **given)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("job_type", "target"),
    [("report", "daily_summary"), ("screener", "A,B"), ("screener", "sp500"), ("data_processing", "yahoo"),
     ("notification", "me"), ("backup", "all"), ("alert", "AAPL")],
)  # fmt: skip
def test_what_only_the_target_said_goes_when_the_target_does(job_type: str, target: str) -> None:
    definition = TYPES.get(job_type)
    filled = definition.fill(target, {})
    assert definition.without_filled(target, filled) == {}
    assert definition.without_filled(target, {**filled, "note": 1}) == {"note": 1}


@given(st.lists(st.from_regex(r"[A-Z][A-Z0-9.]{0,5}", fullmatch=True), min_size=2, max_size=20))
def test_a_list_of_symbols_is_read_in_its_order_and_each_once(symbols: list[str]) -> None:
    assert symbols_in(" , ".join(symbols)) == tuple(dict.fromkeys(symbols))


def refused_field(job_type: str, target: str) -> str | None:
    try:
        TYPES.get(job_type).prepare(target, {})
    except InvalidInput as exc:
        return exc.field
    return None


@given(st.text(max_size=30))
def test_any_target_is_either_accepted_or_refused_with_its_field(target: str) -> None:
    fields = [field for name in TYPES.names if (field := refused_field(name, target))]
    assert all(field == "target" or field.startswith("task_params") for field in fields)


def test_values_that_stand_in_code_and_schema_are_the_same() -> None:
    assert schema_of("report")["properties"]["report_type"]["enum"] == list(REPORT_TYPES)


def test_an_alert_s_check_is_that_of_alerts() -> None:
    assert parse_alert(prepared("alert", "AAPL", timeframe="1d", rule=RULE)).series.symbol == "AAPL"


def limits_of(settings: Settings, name: str) -> tuple[float, int, float]:
    limits = build_job_types(settings).types.get(name).limits
    return limits.max_runtime.total_seconds(), limits.max_attempts, limits.retry_delay.total_seconds()


@pytest.fixture
def no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATF_CONFIG", "none")


@pytest.mark.usefixtures("no_file")
def test_limits_are_those_of_the_settings() -> None:
    defaults = {name: limits_of(Settings(), name) for name in JobType}
    assert defaults == {
        "report": (300, 3, 60),
        "screener": (300, 3, 60),
        "alert": (300, 10, 1),
        "notification": (30, 5, 10),
        "data_processing": (600, 2, 120),
        "backup": (3600, 2, 300),
    }
    own = Settings.model_validate(
        {
            "alert_timeout_seconds": 20,
            "job_configs": {
                "notifications": {"max_runtime_seconds": 5, "retry_attempts": 1, "retry_delay_seconds": 0},
                "report_generation": {"max_runtime_seconds": 1, "retry_attempts": 2, "retry_delay_seconds": 3},
            },
        }
    )
    assert limits_of(own, "notification") == (5, 1, 0)
    assert limits_of(own, "report") == (1, 2, 3)
    assert limits_of(own, "alert") == (20, 10, 1)
    assert limits_of(own, "data_processing") == (600, 2, 120)


def test_two_types_of_one_name_are_a_mistake() -> None:
    one = JobTypeDefinition("a", lambda *_: None, JobLimits(timedelta(1), 1, timedelta(1)))
    with pytest.raises(ValueError, match="defined twice: a, a"):
        JobTypes([one, one])


GOOD = """
from datetime import timedelta
from atf.errors import InvalidInput
from atf.jobs.job_type import JobLimits, JobTypeDefinition

def _check(target, task_params):
    if target != "moon":
        raise InvalidInput("must be moon", field="target")

class Plugin:
    definition = JobTypeDefinition("{name}", _check, JobLimits(timedelta(seconds=5), 1, timedelta(seconds=1)))
    def build_handler(self):
        return object()

plugin = Plugin()
"""


@pytest.mark.usefixtures("no_file")
def test_a_plug_in_adds_its_job_type(installed: Installed) -> None:
    installed.job_type(
        "atf-moon", "moon = atf_test_moon:plugin", atf_test_moon=GOOD.replace("{name}", "moonshot")
    )
    found = build_job_types(Settings())
    assert found.types.names[-1] == "moonshot"
    assert found.plugins.problems == ()
    assert found.plugins.found[0].build_handler() is not None
    with pytest.raises(InvalidInput, match=r"^target: must be moon"):
        found.types.get("moonshot").prepare("mars", {})


@pytest.mark.usefixtures("no_file")
def test_plug_ins_that_do_not_work_are_told_and_left_out(installed: Installed) -> None:
    installed.job_type("atf-gone", "gone = atf_test_gone:plugin")
    installed.job_type(
        "atf-raises", "raises = atf_test_raises:plugin", atf_test_raises="raise OSError('two\\nlines')"
    )
    installed.job_type("atf-bare", "bare = atf_test_bare:plugin", atf_test_bare="plugin = 5")
    installed.job_type(
        "atf-taken", "taken = atf_test_taken:plugin", atf_test_taken=GOOD.replace("{name}", "report")
    )
    installed.job_type(
        "atf-moon", "moon = atf_test_moon:plugin", atf_test_moon=GOOD.replace("{name}", "moonshot")
    )
    found = build_job_types(Settings())
    assert [one.definition.name for one in found.plugins.found] == ["moonshot"]
    bare, gone, raises, taken = found.plugins.problems
    assert bare.startswith(
        "the plug-in 'bare' (atf_test_bare:plugin) of atf-bare is left out: it has no `definition`"
    )
    assert "of atf-gone is left out: ModuleNotFoundError: No module named" in gone
    assert raises.endswith("of atf-raises is left out: OSError: two lines")
    assert taken.endswith("the job type 'report' is defined already")
    [failed] = [check for check in check_config() if check.subject == "job types"]
    assert (failed.is_ok, failed.detail) == (False, "; ".join(found.plugins.problems))


def test_the_same_plug_in_type_twice_is_left_out_once(installed: Installed) -> None:
    for name in ("a", "b"):
        source = GOOD.replace("{name}", "moonshot")
        installed.job_type(f"atf-{name}", f"{name} = atf_test_{name}:plugin", **{f"atf_test_{name}": source})
    found = load_plugins([])
    assert (len(found.found), len(found.problems)) == (1, 1)
