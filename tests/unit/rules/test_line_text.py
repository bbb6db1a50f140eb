import string
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atf.alerts.alert import DEFAULT_REARM, parse_alert
from atf.errors import InvalidInput
from atf.indicators import registry
from atf.indicators.indicator import Indicator, IntegerParameter, NumberParameter
from atf.market.bars import COLUMNS, Timeframe
from atf.rules.grammar import parse_rule
from atf.rules.line import LONGEST_LINE, parse_alert_line, parse_rule_line
from atf.rules.line_text import line_of, rule_line_of
from atf.rules.rule import AllOf, AnyOf, LeafOperator, Not, Rule

SINGLE, DOUBLE = (
    [str(one) for one in LeafOperator if one.has_channel is is_channel] for is_channel in (False, True)
)

numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(10**15, 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.02, 1e-7, 1e22, 5e-324, -0.0, 70.0]),
)


@st.composite
def params_of(draw: st.DrawFn, indicator: Indicator) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for one in indicator.parameters:
        if not draw(st.booleans()):
            continue
        if isinstance(one, IntegerParameter):
            params[one.name] = draw(st.integers(one.low, one.high))
        elif isinstance(one, NumberParameter):
            params[one.name] = draw(st.floats(one.low, one.high))
        else:
            params[one.name] = draw(st.sampled_from(COLUMNS))
    return params


@st.composite
def operands(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if draw(st.booleans()):
        fields["indicator"] = draw(st.sampled_from(["price", *COLUMNS]))
    else:
        indicator = draw(st.sampled_from(registry.definitions()))
        fields["indicator"] = draw(st.sampled_from([indicator.name, *indicator.aliases]))
        fields["params"] = draw(params_of(indicator))
        if len(indicator.outputs) > 1 and draw(st.booleans()):
            fields["output"] = draw(st.sampled_from(indicator.outputs))
    if draw(st.booleans()):
        fields["offset"] = draw(st.integers(0, 5000))
    if draw(st.booleans()):
        fields["multiplier"] = draw(numbers)
    return fields


@st.composite
def leaf_rules(draw: st.DrawFn) -> dict[str, Any]:
    level = st.one_of(numbers, operands())
    operator = draw(st.sampled_from(SINGLE + DOUBLE))
    value = draw(level) if operator in SINGLE else [draw(level), draw(level)]
    return {**draw(operands()), "operator": operator, "value": value}


rules = st.recursive(
    leaf_rules(),
    lambda inner: st.one_of(
        st.builds(lambda part: {"operator": "not", "conditions": [part]}, inner),
        st.builds(
            lambda sign, parts: {"operator": sign, "conditions": parts},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=5,
)

seconds = st.one_of(st.integers(0, 315_360_000), st.floats(0, 1e6), st.sampled_from([300, 604_800, 5400, 90.0]))
bars = {"bars": st.integers(1, 100_000)}
waits = {"cooldown": seconds}


def rearm_of(kind: str, *, wanted: Mapping[str, Any], optional: Mapping[str, Any]) -> Any:
    return st.fixed_dictionaries({"type": st.just(kind), **wanted}, optional=optional)


rearms = st.one_of(
    *(rearm_of(kind, wanted={}, optional={**bars, **waits}) for kind in ("simple", "edge", "crossing")),
    rearm_of("cooldown", wanted=waits, optional=bars),
    rearm_of("persistence", wanted=bars, optional=waits),
    rearm_of(
        "hysteresis",
        wanted={"threshold": st.one_of(st.floats(0, 1, exclude_max=True), st.just(0), st.just(0.07))},
        optional={**bars, **waits, "unit": st.just("relative")},
    ),
    rearm_of(
        "hysteresis",
        wanted={"threshold": st.floats(0, 1e300), "unit": st.just("absolute")},
        optional={**bars, **waits},
    ),
)
notifies = st.fixed_dictionaries(
    {},
    optional={
        "channels": st.lists(
            st.sampled_from(["console", "inbox", "telegram", "email", "web"]), min_size=1, unique=True
        ),
        "message_template": st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="{}"), min_size=1, max_size=40
        ),
        "severity": st.sampled_from(["normal", "high", "urgent"]),
        "on": st.sampled_from([["triggered"], ["triggered", "rearmed"], ["rearmed", "triggered"]]),
    },
)
instants = st.one_of(
    st.datetimes(datetime(1900, 1, 1), datetime(2900, 1, 1), timezones=st.timezones()).map(datetime.isoformat),  # noqa: DTZ001
    st.sampled_from(["2026-12-31T00:00:00Z", "20261231T0930Z"]),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "expires_at": instants,
        "max_triggers": st.integers(1, 10**9),
        "evaluate_on": st.sampled_from(["bar_close", "live"]),
    },
)
tickers = st.one_of(
    st.sampled_from(
        ["AAPL", "BTC/USDT", "EURUSD=X", "BINANCE:BTCUSDT", "^GSPC", "low", "RSI", "5=", "A:", "A=1"]
    ),
    st.text(string.ascii_letters + string.digits + ".:/_=-", min_size=1, max_size=8).filter(
        lambda t: t[0].isalnum()
    ),
)
configs = st.fixed_dictionaries(
    {"ticker": tickers, "timeframe": st.sampled_from(list(map(str, Timeframe))), "rule": rules},
    optional={
        "rearm": rearms,
        "notify": notifies,
        "options": options,
        "calendar": st.sampled_from(["XNYS", "24/7", "a b", "ü"]),
    },
)


def unwrapped(rule: Rule) -> Rule:
    """Return the rule without groups of one."""
    match rule:
        case Not(inner):
            return Not(unwrapped(inner))
        case AllOf((only,)) | AnyOf((only,)):
            return unwrapped(only)
        case AllOf(parts):
            return AllOf(tuple(map(unwrapped, parts)))
        case AnyOf(parts):
            return AnyOf(tuple(map(unwrapped, parts)))
        case _:
            return rule


def meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration says, whichever way it says it; the rule apart."""
    rearm = {name: value for name, value in config.get("rearm", DEFAULT_REARM).items() if value != "relative"}
    options, notify = dict(config.get("options", {})), dict(config.get("notify", {}))
    if "expires_at" in options:
        options["expires_at"] = datetime.fromisoformat(options["expires_at"])
    if options.get("evaluate_on") == "bar_close":
        del options["evaluate_on"]
    if "on" in notify:
        notify["on"] = sorted(notify["on"])
    if notify.get("on") == ["triggered"]:
        del notify["on"]
    told = {name: config.get(name) for name in ("ticker", "timeframe", "calendar")}
    return {**told, "rearm": rearm, "options": options, "notify": notify}


def written(config: Mapping[str, Any]) -> str:
    """Return the line of a generated configuration that is an alert and not too long for one."""
    try:
        parse_alert(config)
    except InvalidInput:
        assume(False)
    try:
        return line_of(config)
    except InvalidInput as exc:
        assume("is longer than" not in str(exc))
        raise


@given(configs)
def test_a_line_says_the_same_as_the_configuration_it_was_written_from(config: dict[str, Any]) -> None:
    line = written(config)
    read = parse_alert_line(line)
    assert parse_rule(read["rule"]) == unwrapped(parse_rule(config["rule"]))
    assert meaning(read) == meaning({**read, **config})
    for name in ("rearm", "options", "notify", "calendar"):
        assert name in config or name not in read
    assert line_of(read) == line


@given(rules)
def test_a_rule_alone_is_written_as_it_is_read(rule: dict[str, Any]) -> None:
    try:
        checked = parse_rule(rule)
        text = rule_line_of(rule)
    except InvalidInput:
        assume(False)
    assume(len(text) <= LONGEST_LINE)
    assert parse_rule(parse_rule_line(text)) == unwrapped(checked)


@pytest.mark.parametrize(
    "line",
    [
        "AAPL 1h: rsi(14) > 70 and close crosses above ema(50), rearm hysteresis 2%, cooldown 5m",
        "AAPL 1m: not (rsi > 70 or rsi < 30) and 2 * sma(20, volume)[1] < volume, rearm cooldown 1h, once",
        "A 1d: (open > 1 and high > 1) and low > 1 or (close > 1 or close > 2), rearm persistence 3 bars, max 5",
        "A 1d: macd(5, signal=3).hist between -1 and bbands.upper, rearm hysteresis 5 absolute, for 2 bars",
        'A 1w: price > 1, expires 2026-12-31, live, notify telegram, email, message "a \\"b\\"", severity high',
        '"A=1" 1w: not not price > 1, expires 2026-12-31T09:30:00Z, tell rearming, calendar XNYS',
    ],
)
def test_lines_come_back_as_they_are_best_written(line: str) -> None:
    assert line_of(parse_alert_line(line)) == line


def test_what_a_line_cannot_say_is_refused() -> None:
    config = {"ticker": "A", "timeframe": "1h", "rule": {"indicator": "price", "operator": ">", "value": 1}}
    long = {"notify": {"message_template": "x" * 2000}}
    for wrong, said in (
        (long, "line: is longer than 2000 characters"),
        ({"rule": {"indicator": "rsii", "operator": ">", "value": 1}}, "rule.indicator: unknown indicator"),
        ({"rule": None}, "rule: must be an object"),
        ({"ticker": 5}, "ticker: must be a text"),
        ({"options": {"expires_at": "2026-12-31"}}, "options.expires_at: must be a time with its zone"),
    ):
        with pytest.raises(InvalidInput) as refused:
            line_of({**config, **wrong})
        assert said in str(refused.value)
