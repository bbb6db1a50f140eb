"""A bot's configuration: what it says, and that all that is wrong of it is told by path."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from importlib import resources
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.odd_documents import changed

from atf.errors import InvalidInput
from atf.market.bars import Timeframe
from atf.trading.bot import StartupPositionPolicy
from atf.trading.bot_config import (
    LEAST_MEMORY_MIB,
    RECOVERED,
    BotConfig,
    ProcessLimits,
    StrategyChoice,
    parse_bot_config,
)
from atf.trading.bot_messages import MOST_ORDERS
from atf.trading.config_changes import merged
from atf.trading.risk import RiskLimits
from atf.trading.schema_check import check_bot_schemas

FOLDER: Final = resources.files("atf.trading").joinpath("schemas")
SCHEMA: Final[dict[str, Any]] = json.loads(FOLDER.joinpath("bot.schema.json").read_text("utf-8"))
SMALL: Final[dict[str, Any]] = SCHEMA["examples"][0]
FULL: Final[dict[str, Any]] = SCHEMA["examples"][1]


def problems(document: object) -> dict[str, str]:
    """What is wrong with a document, by path."""
    try:
        parse_bot_config(document)
    except InvalidInput as exc:
        return {one.field: one.reason for one in exc.problems}
    return {}


def refusal(path: str, value: object) -> str:
    """What is said of a full configuration with one value in it; of that field and of no other."""
    document = copy.deepcopy(FULL)
    *sections, name = path.split(".")
    section = document
    for each in sections:
        section = section[each]
    section[name] = value
    found = problems(document)
    assert len(found) <= 1
    assert not found or next(iter(found)).startswith(path), found
    return next(iter(found.values()), "")


def test_a_small_configuration_has_the_defaults_of_the_types_and_of_the_schema() -> None:
    strategy = StrategyChoice("sma_cross", {"fast": 10, "slow": 30})
    read = parse_bot_config(SMALL)
    assert read == BotConfig(("BTC/USDT",), Timeframe.H1, strategy, {"type": "paper"}, Decimal(10000))
    properties = SCHEMA["properties"]
    assert properties["history_bars"]["default"] == read.history_bars
    assert properties["startup_position_policy"]["default"] == read.startup_position_policy
    limits = {name: one["default"] for name, one in properties["limits"]["properties"].items()}
    step = timedelta(seconds=limits.pop("step_seconds"))
    assert ProcessLimits(step=step, **limits) == ProcessLimits()
    risk = properties["risk"]["properties"]
    assert RiskLimits(**{name: one.get("default") for name, one in risk.items()}) == RiskLimits()


def test_a_full_configuration_says_all_that_it_can() -> None:
    read = parse_bot_config(FULL)
    assert read.symbols == ("AAPL", "MSFT")
    assert (read.resample, read.data_provider) == ((Timeframe.H1, Timeframe.D1), "yahoo")
    assert read.risk == RiskLimits(Decimal(5000), max_drawdown_fraction=Decimal("0.2"), may_short=False)
    assert read.hours is not None
    assert read.hours.calendar == "XNYS"
    assert read.limits == ProcessLimits(1024, timedelta(seconds=5), cpu_seconds_per_minute=30, processes=1)


def test_the_schema_knows_every_limit_policy_and_timeframe_and_accepts_its_examples() -> None:
    assert {finding.problem for finding in check_bot_schemas()} == {None}
    properties = SCHEMA["properties"]
    assert set(properties["risk"]["properties"]) == {one.name for one in fields(RiskLimits)}
    assert properties["limits"]["properties"]["memory_mib"]["minimum"] == LEAST_MEMORY_MIB
    assert properties["risk"]["properties"]["max_orders_per_bar"]["maximum"] == MOST_ORDERS
    assert properties["startup_position_policy"]["enum"] == list(StartupPositionPolicy)
    assert properties["timeframe"]["enum"] == list(Timeframe) == properties["resample"]["items"]["enum"]


def test_all_that_is_wrong_is_told_at_once_by_path() -> None:
    document = {
        "symbols": ["AAPL", "x y", "aapl"],
        "timeframe": "2h",
        "strategy": {"nme": 1},
        "broker": {},
        "capital": 0,
        "riskk": {},
        "leverage": 3,
        "risk": {"max_order_value": "lots", "max_orders_per_bar": 0},
        "schedule": {"hours": "9-5", "timezone": "Mars", "days": ["someday"]},
        "limits": {"memory_mib": 8, "step_seconds": "long", "cpu_seconds_per_minute": 0},
    }
    found = problems(document)
    assert set(found) == {
        *("symbols[1]", "symbols[2]", "timeframe", "strategy.nme", "strategy.name", "broker.type", "capital"),
        *(
            "riskk",
            "leverage",
            "risk.max_order_value",
            "risk.max_orders_per_bar",
            "schedule.hours",
            "schedule.timezone",
        ),
        *("schedule.days[0]", "limits.memory_mib", "limits.step_seconds", "limits.cpu_seconds_per_minute"),
    }
    assert found["riskk"] == "unknown field; did you mean 'risk'?"
    assert found["strategy.nme"] == "unknown field; did you mean 'name'?"


def test_every_field_that_must_be_there_is_missed_at_once() -> None:
    assert set(problems({})) == {"symbol", "timeframe", "strategy", "broker", "capital"}
    assert problems({**SMALL, "symbols": ["AAPL"]}) == {"symbols": "give either symbol or symbols"}


@pytest.mark.parametrize("name", RECOVERED)
def test_what_a_start_fills_in_cannot_be_configured(name: str) -> None:
    assert "cannot be configured" in problems({**SMALL, name: []})[name]


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (25000.50, "25000.5"),
        (3, "3"),
        ("0.100000000000000001", "0.100000000000000001"),
        ("1e3", "1000"),
        ("123456789012345678.000000000000000001", "123456789012345678.000000000000000001"),
    ],
)
def test_amounts_are_what_was_written_to_the_last_digit(written: object, amount: str) -> None:
    assert parse_bot_config({**SMALL, "capital": written}).capital == Decimal(amount)


@pytest.mark.parametrize(
    "written", [0, -1, "0", "-5", "", "NaN", "Infinity", "1_000", "1,5", " 5", "٣", "1e400", 1e19, "1e-19"]
)
def test_what_is_no_amount_is_refused_by_name(written: object) -> None:
    assert refusal("capital", written)
    assert refusal("risk.max_position_value", written)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("capital", True, "must be a number or a string"),
        ("risk.price_collar_fraction", 1.5, "must be a number above 0 and at most 1, got 1.5"),
        ("risk.may_short", "no", "must be a boolean"),
        ("risk.max_open_orders", 2.5, "must be an integer"),
        ("history_bars", -1, "minimum"),
        ("limits.memory_mib", 9000, "maximum"),
        ("limits.memory_mib", 127, "must be at least 128, as a bot that does nothing has some 70, got 127"),
        ("limits.memory_mib", True, "must be an integer"),
        ("limits.processes", 0, "minimum of 1"),
        ("limits.cpu_seconds_per_minute", 0.5, "minimum of 1"),
        ("limits.cpu_seconds_per_minute", 6001, "maximum of 6000"),
        ("limits.cpu_seconds_per_minute", "60", "must be a number"),
        ("limits.step_seconds", 0, "minimum"),
        ("resample", ["5m"], "must be longer than the timeframe 15m, got 5m"),
        ("startup_position_policy", "resum", "did you mean 'resume'?"),
        ("strategy.name", "my strategy", "built-in strategy's name, FILE.py:CLASS or module:CLASS"),
        ("strategy.name", "file.py:", "FILE.py:CLASS"),
        ("strategy.name", "../a.py:A B", "FILE.py:CLASS"),
        ("strategy.name", "no-module:Class", "module:CLASS"),
        ("strategy.params", [], "must be an object"),
        ("broker.type", "no such/type", "such as paper"),
        ("data.provider", "", "non-empty"),
        ("schedule.hours", "09:30-09:30", "another time"),
        ("strategy.params", {"x": "a\0b"}, "cannot be stored"),
        ("strategy.params", {"x": float("nan")}, "must be a finite number"),
    ],
)
def test_what_a_field_may_not_say(path: str, value: object, sentence: str) -> None:
    assert sentence in refusal(path, value)


@pytest.mark.parametrize(
    "name", ["sma_cross", "strategies/my own.py:Breakout", "package.module:Klass", "/abs/s.py:S"]
)
def test_a_strategy_is_named_in_three_ways(name: str) -> None:
    assert refusal("strategy.name", name) == ""


def test_a_document_that_is_too_large_or_too_deep_is_refused() -> None:
    large = {f"p{number}": "x" * 3000 for number in range(30)}
    assert "at most" in problems({**SMALL, "strategy": {"name": "s", "params": large}})["config"]
    deep: Any = {}
    for _ in range(300):
        deep = {"x": deep}
    (reason,) = problems({**SMALL, "strategy": {"name": "s", "params": deep}}).values()
    assert "nested" in reason


def test_whole_numbers_of_json_with_a_point_are_whole_numbers() -> None:
    read = parse_bot_config({**SMALL, "history_bars": 20.0, "risk": {"max_open_orders": 3.0}})
    assert (repr(read.history_bars), repr(read.risk.max_open_orders)) == ("20", "3")


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], *RECOVERED, "x"]), JSON) | JSON)
def test_nonsense_is_refused_and_never_crashes(document: object) -> None:
    problems(document)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "x"]), JSON))
def test_odd_patches_make_documents_that_are_refused_or_read(patch: dict[str, Any]) -> None:
    problems(merged(FULL, patch))


def test_valid_documents_with_something_odd_in_them_never_crash() -> None:
    chance = random.Random(20_270_101)
    accepted = 0
    for _ in range(3000):
        document: Any = copy.deepcopy(chance.choice((SMALL, FULL)))
        for _ in range(chance.randint(0, 3)):
            document = changed(document, chance)
        accepted += not problems(document)
    assert accepted > 500
