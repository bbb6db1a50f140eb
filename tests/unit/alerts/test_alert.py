import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.alert_steps import evaluated

from atf.alerts.alert import PLACEHOLDERS, compile_alert, fresh_state, parse_alert, rule_hash
from atf.alerts.rearm import Limits, Rearm, RearmType
from atf.errors import InvalidAlertRule
from atf.market.bars import Bars, Series, Timeframe
from atf.rules.rule import LeafOperator

NAN, INFINITY = float("nan"), float("inf")


def config(**fields: Any) -> dict[str, Any]:
    rule = {"indicator": "price", "operator": ">", "value": 70}
    return {"ticker": "AAPL", "timeframe": "1h", "rule": rule, **fields}


def leaf(**fields: Any) -> dict[str, Any]:
    return {"indicator": "price", "operator": ">", "value": 70, **fields}


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in config().items() if field != name}


def template(text: Any) -> dict[str, Any]:
    return config(notify={"message_template": text})


def nested(depth: int) -> dict[str, Any]:
    node = leaf()
    for _ in range(depth):
        node = {"operator": "and", "conditions": [node]}
    return node


def test_defaults_are_filled_in() -> None:
    alert = parse_alert(config())
    assert alert.series == Series("AAPL", Timeframe.H1)
    assert alert.rearm == Rearm(RearmType.EDGE)
    assert alert.limits == Limits()
    assert alert.notify.channels == ("inbox",)


def test_everything_of_this_version_is_read() -> None:
    alert = parse_alert(
        config(
            rearm={"type": "persistence", "bars": 3, "cooldown": 90.5},
            notify={"channels": ["console", "inbox"], "message_template": "{ticker}"},
            options={"expires_at": "2026-12-31T01:00:00+01:00", "max_triggers": 5, "evaluate_on": "bar_close"},
        )
    )
    assert alert.rearm == Rearm(RearmType.PERSISTENCE, 3, timedelta(seconds=90.5))
    assert alert.limits == Limits(datetime(2026, 12, 31, tzinfo=UTC), 5)
    assert (alert.notify.channels, alert.notify.message_template) == (("console", "inbox"), "{ticker}")


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (None, "", "must be a JSON object, got null"),
        ([config()], "", "must be a JSON object, got [{"),
        (without("ticker"), "ticker", "is missing"),
        (without("timeframe"), "timeframe", "is missing"),
        (without("rule"), "rule", "is missing"),
        (config(ticker=5), "ticker", "must be a string, got 5"),
        (config(ticker=""), "ticker", "'' should be non-empty"),
        (config(ticker="A" * 65), "ticker", "'AAAA"),
        (config(ticker="AA PL"), "ticker", '"AA PL" has characters that are not allowed'),
        (config(ticker="AAPL\n"), "ticker", '"AAPL\\n" has characters that are not allowed'),
        (config(ticker="AA\0PL"), "ticker", "has characters that cannot be stored"),
        (config(timeframe="2h"), "timeframe", '"2h" is not one of 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w'),
        (config(timeframe=60), "timeframe", "60 is not one of 1m"),
        (config(timefram="1h"), "timefram", "unknown field; did you mean 'timeframe'?"),
        (config(calender="XNYS"), "calender", "unknown field; did you mean 'calendar'?"),
        (config(calendar=""), "calendar", "'' should be non-empty"),
        (config(schema_version=2), "schema_version", "1 was expected"),
        (config(rule=[]), "rule", "must be an object, got []"),
        (config(rule=leaf(value="70")), "rule.value", "must be a finite number or an operand object"),
        (config(rule=leaf(value=True)), "rule.value", "must be a finite number or an operand object, got true"),
        (config(rule=leaf(value=NAN)), "rule.value", "must be a finite number, got nan"),
        (
            config(rule=leaf(value=10**5000)),
            "rule.value",
            "must be a finite number, got a value that is too large",
        ),
        (config(rule=leaf(offset=10**5000)), "rule.offset", "must be a finite number"),
        (config(rule=leaf(operator="crosess")), "rule.operator", 'unknown operator "crosess"; did you mean'),
        (
            config(rule={"operator": "and", "conditions": [leaf(), leaf(indicator="rsii")]}),
            "rule.conditions[1].indicator",
            "unknown indicator 'rsii'; did you mean 'rsi'?",
        ),
        (config(rule={leaf: 1}), "rule", "a field's name must be a text"),
        (config(rule=leaf(value={1, 2})), "rule.value", "is not JSON"),
        (config(rule=leaf(value="x" * 5000)), "rule.value", "has more than 4000 characters"),
        (config(rule=nested(51)), "rule" + ".conditions[0]" * 51, "nested more than 50 deep"),
        (config(rearm="edge"), "rearm", 'must be an object, got "edge"'),
        (config(rearm={}), "rearm.type", "is missing"),
        (
            config(rearm={"type": "egde"}),
            "rearm.type",
            '"egde" is not one of simple, edge, hysteresis, cooldown, persistence, crossing; ',
        ),
        (config(rearm={"type": "hysteresis"}), "rearm.threshold", "type 'hysteresis' needs a fraction, such as"),
        (
            config(rearm={"type": "hysteresis", "threshold": 2}),
            "rearm.threshold",
            "is a fraction of the level and must be below 1, got 2: 0.02 means 2 %",
        ),
        (config(rearm={"type": "hysteresis", "threshold": -0.1}), "rearm.threshold", "-0.1 is less than the"),
        (
            config(rearm={"type": "hysteresis", "threshold": 1, "unit": "percent"}),
            "rearm.unit",
            '"percent" is not one of relative, absolute',
        ),
        (config(rearm={"type": "cooldown"}), "rearm.cooldown", "type 'cooldown' needs seconds greater than 0"),
        (config(rearm={"type": "cooldown", "cooldown": 0}), "rearm.cooldown", "type 'cooldown' needs seconds"),
        (config(rearm={"type": "edge", "cooldown": -1}), "rearm.cooldown", "-1 is less than the minimum of 0"),
        (config(rearm={"type": "edge", "cooldown": NAN}), "rearm.cooldown", "must be a finite number, got nan"),
        (config(rearm={"type": "edge", "cooldown": INFINITY}), "rearm.cooldown", "must be a finite number"),
        (config(rearm={"type": "edge", "cooldown": 1e12}), "rearm.cooldown", "1000000000000.0 is greater than"),
        (config(rearm={"type": "edge", "cooldown": "300"}), "rearm.cooldown", 'must be a number, got "300"'),
        (config(rearm={"type": "persistence"}), "rearm.bars", "type 'persistence' needs a number of bars"),
        (config(rearm={"type": "edge", "bars": 0}), "rearm.bars", "0 is less than the minimum of 1"),
        (config(rearm={"type": "edge", "bars": 1.5}), "rearm.bars", "must be an integer, got 1.5"),
        (config(rearm={"type": "edge", "bars": True}), "rearm.bars", "must be an integer, got true"),
        (config(rearm={"type": "edge", "threshold": 0.1}), "rearm.threshold", "only type 'hysteresis' has a"),
        (config(notify=[]), "notify", "must be an object, got []"),
        (config(notify={"channels": []}), "notify.channels", "[] should be non-empty"),
        (config(notify={"channels": "inbox"}), "notify.channels", 'must be an array, got "inbox"'),
        (config(notify={"channels": ["inbox", "inbox"]}), "notify.channels", "['inbox', 'inbox'] has non-unique"),
        (
            config(notify={"channels": ["inbox", "pigeon"]}),
            "notify.channels[1]",
            '"pigeon" is not one of console, inbox',
        ),
        (
            config(notify={"channels": ["imbox"]}),
            "notify.channels[0]",
            '"imbox" is not one of console, inbox, telegram, email, sms, webhook, apprise, web; did',
        ),
        (config(options={"expires_at": 5}), "options.expires_at", "must be a string, got 5"),
        (config(options={"expires_at": "soon"}), "options.expires_at", "must be a time with its zone such as"),
        (config(options={"expires_at": "2026-12-31T00:00:00"}), "options.expires_at", "must be a time with"),
        (config(options={"expires_at": "0001-01-01T00:00:00+23:59"}), "options.expires_at", "must be a time"),
        (config(options={"max_triggers": 0}), "options.max_triggers", "0 is less than the minimum of 1"),
        (config(options={"max_triggers": True}), "options.max_triggers", "must be an integer, got true"),
        (config(options={"evaluate_on": "tick"}), "options.evaluate_on", '"tick" is not one of bar_close, live'),
        (config(options={"expire_at": ""}), "options.expire_at", "unknown field; did you mean 'expires_at'?"),
        (
            template("{price}"),
            "notify.message_template",
            "unknown placeholder '{price}'; allowed: ticker timeframe",
        ),
        (template("{}"), "notify.message_template", "unknown placeholder '{}'"),
        (template("{0}"), "notify.message_template", "unknown placeholder '{0}'"),
        (template("{close.real}"), "notify.message_template", "unknown placeholder '{close.real}'"),
        (template("{close[0]}"), "notify.message_template", "unknown placeholder '{close[0]}'"),
        (template("{close:>999999999}"), "notify.message_template", "'{close}' takes no format"),
        (template("{close:{open}}"), "notify.message_template", "'{close}' takes no format"),
        (template("{close!r}"), "notify.message_template", "'{close}' takes no format"),
        (template("{close"), "notify.message_template", "expected '}' before end of string; write {{ and }}"),
        (
            template("close}"),
            "notify.message_template",
            "Single '}' encountered in format string; write {{ and }}",
        ),
        (template(""), "notify.message_template", "'' should be non-empty"),
        (template("x" * 4001), "notify.message_template", "has more than 4000 characters"),
        (template("\ud800"), "notify.message_template", "has characters that cannot be stored"),
        (template(None), "notify.message_template", "must be a string, got null"),
    ],
)
def test_refusal_names_the_json_path(document: object, field: str, reason: str) -> None:
    with pytest.raises(InvalidAlertRule) as refused:
        parse_alert(document)
    assert refused.value.field == field
    assert refused.value.reason.startswith(reason)


@pytest.mark.parametrize("depth", [100, 900, 20_000])
def test_absurd_nesting_is_refused_shortly(depth: int) -> None:
    for document in (config(rule=nested(depth)), config(ticker=nested(depth))):
        with pytest.raises(InvalidAlertRule) as refused:
            parse_alert(document)
        assert len(str(refused.value)) < 5000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ticker} {{x}} {close}", "AAPL {x} 5"),
        ("{{{ticker}}}", "{AAPL}"),
        ("plain", "plain"),
    ],
)
def test_braces_double_to_escape(text: str, message: str) -> None:
    alert = parse_alert(template(text))
    assert alert.notify.message_template.format_map({"ticker": "AAPL", "close": "5"}) == message


def test_every_placeholder_is_allowed() -> None:
    text = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    assert parse_alert(template(text)).notify.message_template == text


# ---------------------------------------------------------------- rule_hash


def test_hash_does_not_depend_on_the_order_of_keys() -> None:
    turned = {name: config()[name] for name in reversed(list(config()))}
    turned["rule"] = {name: leaf()[name] for name in reversed(list(leaf()))}
    assert rule_hash(turned) == rule_hash(config())


def test_hash_compares_numbers_as_doubles() -> None:
    assert rule_hash(config(rule=leaf(value=70.0))) == rule_hash(config())
    assert rule_hash(config(rule=leaf(value=70.00000000000001))) != rule_hash(config())


def test_hash_fills_in_the_default_rearm_and_nothing_else() -> None:
    assert rule_hash(config(rearm={"type": "edge"})) == rule_hash(config())
    assert rule_hash(config(rearm={"type": "edge", "bars": 1})) != rule_hash(config())


@pytest.mark.parametrize(
    "change",
    [
        {"ticker": "MSFT"},
        {"timeframe": "4h"},
        {"rule": leaf(value=71)},
        {"rule": leaf(operator=">=")},
        {"rule": leaf(offset=1)},
        {"rearm": {"type": "simple"}},
    ],
)
def test_what_decides_when_it_fires_changes_the_hash(change: dict[str, Any]) -> None:
    assert rule_hash(config(**change)) != rule_hash(config())


def test_notify_and_options_do_not_count() -> None:
    other = config(notify={"channels": ["console"]}, options={"max_triggers": 3})
    assert parse_alert(other).rule_hash == parse_alert(config()).rule_hash


def test_hash_is_sha256_of_the_canonical_json() -> None:
    """Written out, as a hash that changes with a release would start every stored alert anew."""
    canonical = (
        '{"rearm":{"type":"edge"},"rule":{"indicator":"price","operator":">","value":70.0},'
        '"ticker":"AAPL","timeframe":"1h"}'
    )
    assert rule_hash(config()) == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rule": leaf(value=10**17, multiplier=3)},
        {
            "rule": leaf(value=-0.0),
            "rearm": {"type": "hysteresis", "threshold": 1, "unit": "absolute", "bars": 2},
        },
        {"ticker": 'Bör"se', "rule": {"operator": "and", "conditions": [leaf(), leaf(offset=2)]}},
        {"timeframe": "1d", "calendar": "XNYS"},
    ],
)
def test_what_is_compiled_has_the_hash_of_its_configuration(changes: dict[str, Any]) -> None:
    """States are kept by it: another one would begin every stored alert anew."""
    document = {"rearm": {"type": "edge"}, **config(**changes)}
    doubles = json.loads(json.dumps(document), parse_int=float)
    canonical = json.dumps(doubles, sort_keys=True, separators=(",", ":"))
    expected = hashlib.sha256(canonical.encode()).hexdigest()
    assert compile_alert(document).rule_hash == rule_hash(document) == expected


# ---------------------------------------------------------------- anything at all

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["price", "rsi", "bb", "macd", ">", "and", "not", "edge", "1h", "{close}", "{", "inbox"]),
)
names = st.sampled_from(
    [
        "ticker",
        "timeframe",
        "rule",
        "rearm",
        "notify",
        "options",
        "indicator",
        "operator",
        "value",
        "params",
        "conditions",
        "period",
        "offset",
        "multiplier",
        "type",
        "bars",
        "cooldown",
        "channels",
        "x",
        "\0",
    ]
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=10,
)
operands = st.fixed_dictionaries(
    {"indicator": st.sampled_from(["price", "open", "volume", "rsi", "sma", "macd", "bb", "atr", "change_pct"])},
    optional={
        "params": st.dictionaries(st.sampled_from(["period", "source", "bars"]), st.integers(0, 9), max_size=1),
        "offset": st.one_of(st.integers(-1, 60), anything),
        "multiplier": st.one_of(st.floats(allow_nan=False), anything),
        "output": st.sampled_from(["upper", "hist"]),
    },
)
comparisons = st.builds(
    lambda left, sign, right: {**left, "operator": sign, "value": right},
    operands,
    st.sampled_from(list(map(str, LeafOperator))),
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        operands,
        st.lists(st.one_of(st.integers(0, 200), operands), min_size=2, max_size=2),
        anything,
    ),
)
trees = st.recursive(
    comparisons,
    lambda inner: st.builds(
        lambda sign, parts: {"operator": sign, "conditions": parts},
        st.sampled_from(["and", "or", "not"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)
configs = st.fixed_dictionaries(
    {"ticker": st.just("AAPL"), "timeframe": st.sampled_from(list(Timeframe)).map(str), "rule": trees},
    optional={
        "rearm": st.fixed_dictionaries(
            {"type": st.sampled_from(list(map(str, RearmType)))},
            optional={
                "bars": st.integers(0, 5),
                "cooldown": st.floats(0, 1e5),
                "threshold": st.floats(0, 2),
                "unit": st.sampled_from(["relative", "absolute"]),
            },
        ),
        "notify": st.fixed_dictionaries({"message_template": st.text("{}abclose!:", min_size=1, max_size=8)}),
        "options": st.fixed_dictionaries(
            {}, optional={"max_triggers": st.integers(0, 3), "expires_at": st.datetimes().map(str)}
        ),
    },
)
HOURS = datetime(2027, 3, 1, tzinfo=UTC)
columns = st.one_of(st.floats(), st.floats(1, 200), st.just(100.0))
rows = st.lists(st.tuples(columns, columns, columns, columns, columns), max_size=40)


@settings(max_examples=300)
@given(st.one_of(anything, st.dictionaries(names, anything, max_size=6), anything.map(lambda x: config(rule=x))))
def test_whatever_json_is_given_only_invalid_alert_rule_is_raised(document: object) -> None:
    try:
        alert = parse_alert(document)
    except InvalidAlertRule as exc:
        assert exc.reason  # noqa: PT017 - most documents are refused, some are accepted, nothing else happens
    else:
        assert alert.notify.channels


@settings(max_examples=200)
@given(configs, rows)
def test_what_is_accepted_can_be_evaluated_on_any_bars(document: dict[str, Any], values: list[Any]) -> None:
    try:
        alert = parse_alert(document)
    except InvalidAlertRule:
        return
    length = alert.series.timeframe.length
    bars = Bars.from_rows([(HOURS + length * index, *row) for index, row in enumerate(values)])
    result = evaluated(alert, fresh_state(alert, HOURS), bars, HOURS + length * len(values))
    assert json.dumps(document, allow_nan=False)
    assert result.bars_evaluated <= len(values)
    alert.notify.message_template.format_map(dict.fromkeys(PLACEHOLDERS, ""))
