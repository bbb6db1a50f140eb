"""Rules as people read them."""

from typing import Any

import pytest

from atf.rules.grammar import parse_rule
from atf.rules.words import number_words, rule_words

RSI = {"indicator": "rsi", "operator": ">", "value": 70}
LEVEL = {
    "indicator": "price",
    "operator": "crosses_above",
    "value": {"indicator": "sma", "params": {"period": 50}},
}


def group(sign: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"operator": sign, "conditions": list(parts)}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (RSI, "rsi(14) > 70"),
        (LEVEL, "close crosses above sma(50)"),
        ({"indicator": "rsi", "operator": "between", "value": [30, 70.5]}, "rsi(14) between [30, 70.5]"),
        (
            group("and", RSI, group("or", LEVEL, RSI)),
            "rsi(14) > 70 and (close crosses above sma(50) or rsi(14) > 70)",
        ),
        (group("not", group("or", RSI, LEVEL)), "not (rsi(14) > 70 or close crosses above sma(50))"),
        (group("not", RSI), "not rsi(14) > 70"),
        (group("and", group("or", RSI)), "rsi(14) > 70"),
    ],
)
def test_a_rule_is_said_in_a_line(rule: dict[str, Any], words: str) -> None:
    assert rule_words(parse_rule(rule)) == words


def test_numbers_have_the_digits_of_prices() -> None:
    assert [number_words(value) for value in (1.1, 1 / 3, float("nan"), None)] == [
        "1.1",
        "0.3333333333",
        "missing",
        "missing",
    ]
