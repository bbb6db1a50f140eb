import random
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atf.alerts.alert import parse_alert
from atf.alerts.alert_line import config_of_line
from atf.errors import InvalidInput
from atf.rules.grammar import parse_rule
from atf.rules.line import LONGEST_LINE, parse_alert_line, parse_rule_line
from atf.rules.line_error import InvalidLine
from atf.rules.rule import leaves

AAPL = {"ticker": "AAPL", "timeframe": "1h"}
ABOVE_150 = {"indicator": "price", "operator": ">", "value": 150}
RSI = {"indicator": "rsi", "operator": ">", "value": 70}


def rule_of(text: str) -> dict[str, Any]:
    return parse_rule_line(text)


def test_a_line_with_a_group_and_clauses_becomes_the_configuration_it_says() -> None:
    line = "AAPL 1h: rsi(14) > 70 and close crosses above ema(50), rearm hysteresis 2%, cooldown 5m"
    assert parse_alert_line(line) == {
        **AAPL,
        "rule": {
            "operator": "and",
            "conditions": [
                {"indicator": "rsi", "params": {"period": 14}, "operator": ">", "value": 70},
                {
                    "indicator": "close",
                    "operator": "crosses_above",
                    "value": {"indicator": "ema", "params": {"period": 50}},
                },
            ],
        },
        "rearm": {"type": "hysteresis", "threshold": 0.02, "cooldown": 300},
    }


@pytest.mark.parametrize(
    "line",
    ["AAPL > 150", "/alert AAPL > 150", "/alert@atf_bot AAPL>150", "  AAPL above 150 ", "AAPL 1m: price > 150"],
)
def test_the_ticker_stands_for_its_price_on_one_minute(line: str) -> None:
    assert parse_alert_line(line) == {"ticker": "AAPL", "timeframe": "1m", "rule": ABOVE_150}


def test_the_ticker_may_be_said_again_and_joined() -> None:
    rule = parse_alert_line("AAPL 1d > 150 and AAPL < 160 or rsi > 70")["rule"]
    below = {"indicator": "price", "operator": "<", "value": 160}
    both = {"operator": "and", "conditions": [ABOVE_150, below]}
    assert rule == {"operator": "or", "conditions": [both, RSI]}


@pytest.mark.parametrize(
    ("ticker", "line"),
    [
        ("BINANCE:BTCUSDT", "BINANCE:BTCUSDT 4h: price > 1"),
        ("EURUSD=X", "EURUSD=X > 1.1"),
        ("ES=F", "ES=F>=5000"),
        ("AAPL", "AAPL=150"),
        ("AAPL", "AAPL==150"),
        ("AAPL", "AAPL: price > 5"),
        ("^GSPC", "^GSPC 1d: price > 5"),
        ("BTC/USDT", "BTC/USDT<5"),
        ("600519", "600519 1d > 5"),
        ("A=1", '"A=1" 1h: price > 5'),
        ("low", "low 1d: low < 5"),
    ],
)
def test_tickers_of_all_kinds_are_read(ticker: str, line: str) -> None:
    assert parse_alert(parse_alert_line(line)).series.symbol == ticker


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        (">", ">"), (">=", ">="), ("≥", ">="), ("<", "<"), ("<=", "<="), ("≤", "<="), ("==", "=="), ("=", "=="),
        ("!=", "!="), ("≠", "!="), ("<>", "!="), ("above", ">"), ("is above", ">"), ("Below", "<"),
        ("IS BELOW", "<"), ("crosses above", "crosses_above"), ("crosses_above", "crosses_above"),
        ("CROSSES BELOW", "crosses_below"), ("crosses", "crosses"),
    ],
)  # fmt: skip
def test_every_operator_has_its_spellings(text: str, operator: str) -> None:
    assert rule_of(f"rsi {text} 70") == {**RSI, "operator": operator}


@pytest.mark.parametrize("operator", ["between", "outside", "enters", "exits", "is between", "is outside"])
def test_the_and_of_a_channel_belongs_to_the_channel(operator: str) -> None:
    channel = {"indicator": "rsi", "operator": operator.removeprefix("is "), "value": [30, 70]}
    assert rule_of(f"rsi {operator} [30, 70]") == channel
    assert rule_of(f"rsi {operator} 30 and 70 and price > 150") == {
        "operator": "and",
        "conditions": [channel, ABOVE_150],
    }


def test_not_binds_before_and_and_and_before_or_and_parentheses_before_all() -> None:
    a, b, c = ({"indicator": name, "operator": ">", "value": 1} for name in ("open", "high", "low"))

    def group(operator: str, *conditions: Any) -> dict[str, Any]:
        return {"operator": operator, "conditions": list(conditions)}

    a_text, b_text, c_text = "open > 1", "high > 1", "low > 1"
    assert rule_of(f"not {a_text} and {b_text} or {c_text}") == group("or", group("and", group("not", a), b), c)
    assert rule_of(f"{a_text} OR {b_text} And {c_text}") == group("or", a, group("and", b, c))
    assert rule_of(f"not ({a_text} or {b_text}) and {c_text}") == group("and", group("not", group("or", a, b)), c)
    assert rule_of(f"(({a_text} and {b_text})) and {c_text}") == group("and", group("and", a, b), c)
    assert rule_of(f"{a_text} and {b_text} and {c_text}") == group("and", a, b, c)


@pytest.mark.parametrize(
    ("text", "operand"),
    [
        ("close[1]", {"indicator": "close", "offset": 1}),
        ("sma(20, source=volume)", {"indicator": "sma", "params": {"period": 20, "source": "volume"}}),
        ("SMA(20, Volume)", {"indicator": "sma", "params": {"period": 20, "source": "volume"}}),
        ("bb(20, 2).upper", {"indicator": "bb", "params": {"period": 20, "stddev": 2}, "output": "upper"}),
        ("macd().hist", {"indicator": "macd", "output": "hist"}),
        ("macd.hist[3]", {"indicator": "macd", "output": "hist", "offset": 3}),
        ("macd(5, signal=3)", {"indicator": "macd", "params": {"fast": 5, "signal": 3}}),
        ("2 * sma", {"indicator": "sma", "multiplier": 2}),
        ("sma * 1.02", {"indicator": "sma", "multiplier": 1.02}),
        ("1.5x sma", {"indicator": "sma", "multiplier": 1.5}),
        ("3 times sma", {"indicator": "sma", "multiplier": 3}),
        ("-1 × bb.lower", {"indicator": "bb", "multiplier": -1, "output": "lower"}),
        ("psar(0.02, maximum=.2)", {"indicator": "psar", "params": {"acceleration": 0.02, "maximum": 0.2}}),
    ],
)  # fmt: skip
def test_operands_stand_on_both_sides(text: str, operand: dict[str, Any]) -> None:
    assert rule_of(f"high > {text}") == {"indicator": "high", "operator": ">", "value": operand}
    assert rule_of(f"{text} < 5") == {**operand, "operator": "<", "value": 5}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1_000.5", 1000.5),
        ("150k", 150_000),
        ("1.5M", 1_500_000),
        ("2B", 2 * 10**9),
        ("-.5", -0.5),
        ("1e-3", 0.001),
    ],
)
def test_numbers_may_be_grouped_and_shortened(text: str, number: float) -> None:
    assert rule_of(f"price > {text}")["value"] == number


def test_whole_numbers_stay_whole() -> None:
    assert isinstance(rule_of("price > 1.5M")["value"], int)
    assert isinstance(rule_of("price > 70")["value"], int)


def test_percent_of_a_change_in_percent_is_its_number() -> None:
    assert rule_of("change_pct(1) > 5%")["value"] == 5
    assert rule_of("roc between -5% and 5 percent")["value"] == [-5, 5]


def test_a_number_on_the_left_turns_the_comparison() -> None:
    assert rule_of("70 < rsi") == RSI
    assert rule_of("150 <= price") == {**ABOVE_150, "operator": ">="}


@pytest.mark.parametrize(
    ("clause", "fields"),
    [
        ("rearm simple", {"rearm": {"type": "simple"}}),
        ("rearm edge", {"rearm": {"type": "edge"}}),
        ("rearm crossing", {"rearm": {"type": "crossing"}}),
        ("rearm hysteresis 7%", {"rearm": {"type": "hysteresis", "threshold": 0.07}}),
        ("rearm hysteresis 5 absolute", {"rearm": {"type": "hysteresis", "threshold": 5, "unit": "absolute"}}),
        ("rearm cooldown 5m", {"rearm": {"type": "cooldown", "cooldown": 300}}),
        ("rearm persistence 3 bars", {"rearm": {"type": "persistence", "bars": 3}}),
        ("for 1 bar", {"rearm": {"type": "edge", "bars": 1}}),
        ("cooldown 90s", {"rearm": {"type": "edge", "cooldown": 90}}),
        ("cooldown 1.5 hours", {"rearm": {"type": "edge", "cooldown": 5400}}),
        ("cooldown 2d", {"rearm": {"type": "edge", "cooldown": 172_800}}),
        ("cooldown 1W", {"rearm": {"type": "edge", "cooldown": 604_800}}),
        ("cooldown 3min, rearm simple", {"rearm": {"type": "simple", "cooldown": 180}}),
        ("expires 2026-12-31", {"options": {"expires_at": "2026-12-31T00:00:00Z"}}),
        ("expires 2026-12-31T09:30+02:00", {"options": {"expires_at": "2026-12-31T07:30:00Z"}}),
        ("max 5", {"options": {"max_triggers": 5}}),
        ("once", {"options": {"max_triggers": 1}}),
        ("live", {"options": {"evaluate_on": "live"}}),
        ("notify telegram", {"notify": {"channels": ["telegram"]}}),
        ("notify telegram, email", {"notify": {"channels": ["telegram", "email"]}}),
        ("notify Web and email + inbox", {"notify": {"channels": ["web", "email", "inbox"]}}),
        ('message "a, \\"b\\"\\n{close}"', {"notify": {"message_template": 'a, "b"\n{close}'}}),
        ("message “a, b”", {"notify": {"message_template": "a, b"}}),
        ("severity urgent", {"notify": {"severity": "urgent"}}),
        ("tell rearming", {"notify": {"on": ["triggered", "rearmed"]}}),
        ("calendar XNYS", {"calendar": "XNYS"}),
        ("calendar 24/7", {"calendar": "24/7"}),
    ],
)  # fmt: skip
def test_every_clause_sets_its_fields(clause: str, fields: dict[str, Any]) -> None:
    assert config_of_line(f"AAPL 1h: price > 150, {clause}") == {**AAPL, "rule": ABOVE_150, **fields}


def test_clauses_stand_in_any_order() -> None:
    clauses = [
        "rearm hysteresis 2%", "for 3 bars", "cooldown 5m", "expires 2026-12-31", "max 5", "live",
        "notify telegram, email", 'message "x"', "severity high", "calendar XNYS", "tell rearming",
    ]  # fmt: skip
    found = config_of_line(f"AAPL 1h: rsi > 70, {', '.join(clauses)}")
    for seed in range(30):
        random.Random(seed).shuffle(clauses)
        assert config_of_line(f"AAPL 1h: rsi > 70, {', '.join(clauses)}") == found


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("AAPL 1h: rsi(14) crosess above 50", 18, "found 'crosess', did you mean 'crosses'? allowed here: a"),
        ("AAPL 1h: rsi(14) crosses abov 50", 26, "found 'abov', did you mean 'above'?"),
        ("AAPL 1h: rsii(14) > 70", 10, "unknown indicator 'rsii'; did you mean 'rsi'?"),
        ("AAPL 1h: close > 5 and rsii(14) > 70", 24, "unknown indicator 'rsii'"),
        ("AAPL 1h: rsii > emma or smaa > 5", 10, "unknown indicator 'rsii'"),
        ("AAPL 1h: close > emma(3)", 18, "unknown indicator 'emma'; did you mean 'ema'?"),
        ("AAPL 1h: nott rsi > 70", 10, "found 'nott', did you mean 'not'?"),
        ("AAPL 1h: rsi(1) > 70", 14, "period must be an integer from 2 to 1000, got 1"),
        ("AAPL 1h: sma(20, sorce=volume) > 70", 18, "unknown parameter 'sorce' of sma; allowed: period, source"),
        ("AAPL 1h: rsi(14, close, 3) > 70", 25, "rsi takes 2 parameters: period, source"),
        ("AAPL 1h: obv(3) > 70", 14, "obv takes no parameters"),
        ("AAPL 1h: close(3) > 70", 16, "'close' takes no params"),
        ("AAPL 1h: sma(period=3, volume) > 70", 24, "a parameter without a name cannot follow one with a name"),
        ("AAPL 1h: sma(3, period=4) > 70", 17, "'period' of sma is given twice"),
        ("AAPL 1h: bbands.uper > 70", 17, "unknown output 'uper' of bbands; allowed: middle, upper, lower"),
        ("AAPL 1h: close[-1] > 70", 16, "offset must be a whole number of bars from 0 to 5000, got -1"),
        ("AAPL 1h: rsi between 70 and 30", 22, "low must not exceed high, got [70, 30]"),
        ("AAPL 1h: close > 1e999", 18, "'1e999' is too large a number"),
        ("AAPL 1h: close > 5%", 18, "only change_pct and roc are in percent, close is not"),
        ("AAPL 1h: 5 crosses rsi", 10, "a comparison begins with a price, the volume or an indicator"),
        ("AAPL 1h: 5 > 3", 10, "a comparison begins with a price, the volume or an indicator"),
        ("AAPL 2h: rsi > 70", 6, "unknown timeframe '2h'; allowed: 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w"),
        ("AAPL 1M: rsi > 70", 6, "unknown timeframe '1M'; allowed: 1m"),
        ("AAPL 1h rsi > 70", 9, "found 'rsi'; ':' comes between the ticker, its timeframe and a rule"),
        ("rsi(14) > 70", 4, "found '('; a line begins with the ticker: AAPL 1h: rsi(14) > 70"),
        ("LOW > 5 and LOW < 9", 13, "'LOW' is the ticker and also the name 'low'; write 'price' or 'low'"),
        ("AAPL > 1,000", 10, "found a comma inside a number; write it without one: 1000, 1_000 or 1k"),
        ("AAPL 1h: close > 5 and ", 23, "the line ends here; allowed here: a name such as price or rsi(14)"),
        ("", 1, "the line ends here; allowed here: a ticker"),
        ("AAPL > 5, coldown 5m", 11, "found 'coldown', did you mean 'cooldown'? allowed here: 'rearm'"),
        ("AAPL > 5, cooldown 5M", 20, "found '5M'; allowed here: a duration such as 5m"),
        ("AAPL > 5, cooldown 11000d", 20, "'11000d' is longer than ten years"),
        ("AAPL > 5, rearm hysterisis 2%", 17, "found 'hysterisis', did you mean 'hysteresis'?"),
        ("AAPL > 5, rearm hysteresis 2", 29, "the line ends here; allowed here: '%', 'absolute'"),
        ("AAPL > 5, rearm hysteresis 200%", 28, "'200' percent is not from 0 to below 100"),
        ("AAPL > 5, cooldown 5m, rearm cooldown 9m", 24, "'rearm' says again what column 11 said"),
        ("AAPL > 5, once, max 3", 17, "'max' says again what column 11 said"),
        ("AAPL > 5, notify telegrm", 18, "found 'telegrm', did you mean 'telegram'?"),
        ("AAPL > 5, expires 2026-02-30", 19, "'2026-02-30' is no date or time that there is"),
        ("AAPL > 5, expires 2026-02-03T09:30", 19, "'2026-02-03T09:30' needs its zone, Z for UTC"),
        ('AAPL > 5, message "abc', 19, "the text that begins here has no closing quote"),
        ("AAPL > 5, rearm persistence", 11, "type 'persistence' needs a number of bars"),
        ("AAPL > 5, for 3 bars, for 3 bars", 23, "'for' says again what column 11 said"),
        ("AAPL > 5, for 0 bars", 11, "0 is less than the minimum of 1"),
        ('AAPL > 5, once, message "{x}"', 17, "unknown placeholder '{x}'"),
        ("AAPL > 5, notify web, web", 11, "has non-unique elements"),
    ],
)  # fmt: skip
def test_a_refusal_says_the_column_what_was_found_and_what_is_allowed(line: str, column: int, said: str) -> None:
    with pytest.raises(InvalidLine) as refused:
        config_of_line(line)
    error = refused.value
    assert said in error.reason
    assert str(error).startswith(f"line: column {column}: ")
    assert (error.field, error.column) == ("line", column)
    text, caret = error.picture.split("\n")
    assert text == line
    assert caret.index("^") == column - 1


def test_the_picture_of_a_long_line_shows_the_part_around_the_caret() -> None:
    line = f"AAPL 1h: {'close > 5 and ' * 50}clos(3) > 5{' and close > 5' * 50}"
    with pytest.raises(InvalidLine) as refused:
        parse_alert_line(line)
    text, caret = refused.value.picture.split("\n")
    assert text.startswith("...")
    assert text.endswith("...")
    assert len(text) < 120
    assert text[caret.index("^") : len(caret)] == "clos"


def test_rules_are_nested_fifty_deep_and_no_deeper() -> None:
    line = f"AAPL > 5 and {'not ' * 49}price > 150"
    assert len(list(leaves(parse_rule(parse_alert_line(line)["rule"])))) == 2
    deeper = line.replace("not", "not not", 1)
    with pytest.raises(InvalidLine, match="the rule is nested more than 50 deep") as refused:
        parse_alert_line(deeper)
    assert refused.value.column == deeper.rindex(">") + 1
    assert parse_rule_line(f"{'(' * 900}price > 150{')' * 900}") == ABOVE_150


def test_a_line_has_a_greatest_length() -> None:
    line = "AAPL > 150"
    assert parse_alert_line(line.ljust(LONGEST_LINE))
    with pytest.raises(InvalidLine, match="is longer than 2000 characters"):
        parse_alert_line(line.ljust(LONGEST_LINE + 1))


VALID = [
    "AAPL 1h: rsi(14) > 70 and close crosses above ema(50), rearm hysteresis 2%, cooldown 5m",
    "/alert BINANCE:BTCUSDT > 150k or low < 3, once",
    'AAPL 1d: not (2 * sma(20, source=volume)[1] < volume), notify telegram, email, message "a {close}"',
    "EURUSD=X 4h: bbands(20, 2).upper between 30 and 70 or change_pct(1) > 5%, expires 2026-12-31, max 5, live",
    "A: macd().hist exits [-1, 1.5x atr], severity urgent, calendar XNYS, for 3 bars, tell rearming",
]
PIECES = sorted({piece for line in VALID for piece in line.split()} | set("()[],:.%*\"'“”=<>^ \n\x00٣"))
WORDS = ["and", "or", "not", "close", "sma(20)", "5", "-1e999", "2000-01-01", "9" * 400, "rearm", ">", "x", "is"]

mutations = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 12), st.sampled_from([*PIECES, *WORDS, *string.printable, ""])),
    min_size=1,
    max_size=4,
)


def mutated(line: str, changes: list[tuple[int, int, str]]) -> str:
    for place, length, piece in changes:
        line = line[:place] + piece + line[place + length :]
    return line


@pytest.mark.parametrize("line", VALID)
def test_the_lines_that_are_mutated_are_alerts(line: str) -> None:
    config = config_of_line(line)
    assert parse_alert(config).series.symbol == config["ticker"]


def check_refusal(refused: InvalidLine, text: str) -> None:
    assert 1 <= refused.column <= len(text) + 1
    assert refused.picture.count("\n") == 1


def says_something_or_is_refused(text: str) -> None:
    try:
        config = parse_alert_line(text)
    except InvalidLine as exc:
        check_refusal(exc, text)
        return
    parse_rule(config["rule"])
    try:
        assert parse_alert(config).series.symbol == config["ticker"]
    except InvalidInput:
        with pytest.raises(InvalidLine):
            config_of_line(text)


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES + WORDS), max_size=15).map(" ".join)))
@example("AAPL > 5, cooldown 5\u2003m")
@example("AAPL > 5, expires 0001-01-01T00:00+23:59")
@example("AAPL > 5, rearm hysteresis 1e999999999999999999999 absolute")
@example("AAPL > 5, rearm hysteresis 1e-999999999999999999999%")
@example("AAPL > 5, cooldown 1e999s")
@example(f"AAPL > {'9' * 1900}k")
@example(f"AAPL > 5, max {'9' * 1900}")
@example(f"AAPL > 5 and {'not ' * 490}x > 1")
@example(f"AAPL 1h: {'(' * 1900}")
@example(f"AAPL > 5{', once' * 300}")
@example(f'AAPL > 5, message "{chr(0xD800)}"')
def test_no_text_gives_anything_but_a_configuration_or_a_refusal(text: str) -> None:
    says_something_or_is_refused(text)


@given(st.sampled_from(VALID), mutations)
def test_no_mistake_in_a_line_gives_anything_but_a_configuration_or_a_refusal(
    line: str, changes: list[tuple[int, int, str]]
) -> None:
    says_something_or_is_refused(mutated(line, changes))
