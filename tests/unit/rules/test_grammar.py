from typing import Any

import pytest

from atf.errors import InvalidInput
from atf.rules.grammar import parse_rule
from atf.rules.operands import ColumnOperand, Constant, IndicatorOperand, Measured
from atf.rules.rule import AllOf, AnyOf, Leaf, LeafOperator, Not

HUGE = 10**5000
NAN, INFINITY = float("nan"), float("inf")


def leaf(**fields: Any) -> dict[str, Any]:
    return {"indicator": "price", "operator": ">", "value": 70, **fields}


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in leaf().items() if field != name}


def nested(depth: int) -> dict[str, Any]:
    node = leaf()
    for _ in range(depth):
        node = {"operator": "not", "conditions": [node]}
    return node


NUMBER = "must be a finite number or an operand object, got "
OFFSET = "must be a whole number of bars from 0 to 5000, got "


@pytest.mark.parametrize(
    ("node", "field", "reason"),
    [
        (leaf(value="70"), "rule.value", NUMBER + '"70"'),
        (leaf(value=True), "rule.value", NUMBER + "true"),
        (leaf(value=None), "rule.value", NUMBER + "null"),
        (leaf(value=[1, 2]), "rule.value", NUMBER + "[1, 2]"),
        (leaf(value=NAN), "rule.value", NUMBER + "nan"),
        (leaf(value=-INFINITY), "rule.value", NUMBER + "-inf"),
        (leaf(value=HUGE), "rule.value", NUMBER + "a value that is too large to show"),
        (leaf(value=10**400), "rule.value", NUMBER + "1000"),
        (
            leaf(value={"indicator": "rsii"}),
            "rule.value.indicator",
            "unknown indicator 'rsii'; did you mean 'rsi'?",
        ),
        (leaf(value={}), "rule.value.indicator", "must be a name, got null"),
        (leaf(value=leaf()), "rule.value.operator", "unknown field"),
        (leaf(value={"indicator": "sma", "offset": -1}), "rule.value.offset", OFFSET + "-1"),
        (leaf(indicator="prise"), "rule.indicator", "unknown indicator 'prise'; did you mean 'price'?"),
        (leaf(indicator="zzzzzz"), "rule.indicator", "unknown indicator 'zzzzzz'; allowed: price, open, high, "),
        (leaf(indicator=7), "rule.indicator", "must be a name, got 7"),
        (leaf(indicator=["rsi"]), "rule.indicator", 'must be a name, got ["rsi"]'),
        (leaf(operator="~"), "rule.operator", 'unknown operator "~"; allowed: >, >=, <, <=, ==, !=, between, '),
        (leaf(operator="crosess"), "rule.operator", "unknown operator \"crosess\"; did you mean 'crosses'?"),
        (leaf(operator="between"), "rule.value", "'between' takes a list of two, [low, high]; got 70"),
        (leaf(operator="exits", value=[1]), "rule.value", "'exits' takes a list of two, [low, high]; got [1]"),
        (leaf(operator="enters", value=[5, 4]), "rule.value", "low must not exceed high, got [5, 4]"),
        (leaf(operator="outside", value=[5, "6"]), "rule.value[1]", NUMBER + '"6"'),
        (leaf(operator=["and"]), "rule.operator", 'unknown operator ["and"]'),
        (leaf(operator=None), "rule.operator", "unknown operator null"),
        (without("indicator"), "rule.indicator", "is missing"),
        (without("operator"), "rule.operator", "is missing"),
        (without("value"), "rule.value", "is missing"),
        (leaf(valeu=1), "rule.valeu", "unknown field; did you mean 'value'?"),
        (leaf(xyz=1), "rule.xyz", "unknown field; allowed: indicator, multiplier, offset"),
        (leaf(offset=1.0), "rule.offset", OFFSET + "1.0"),
        (leaf(offset=True), "rule.offset", OFFSET + "true"),
        (leaf(offset=5001), "rule.offset", OFFSET + "5001"),
        (leaf(offset=HUGE), "rule.offset", OFFSET + "a value that is too large to show"),
        (leaf(multiplier="2"), "rule.multiplier", 'must be a finite number, got "2"'),
        (leaf(multiplier=INFINITY), "rule.multiplier", "must be a finite number, got inf"),
        (leaf(params={}), "rule.params", "'price' takes no params"),
        (leaf(output="upper"), "rule.output", "'price' takes no output"),
        (leaf(indicator="rsi", params={"perod": 9}), "rule.params.perod", "unknown parameter 'perod' of rsi"),
        (leaf(indicator="rsi", params={"period": 1}), "rule.params.period", "must be an integer from 2 to 1000"),
        (leaf(indicator="rsi", params={"period": HUGE}), "rule.params.period", "must be an integer from 2"),
        (leaf(indicator="rsi", params={"period": NAN}), "rule.params.period", "must be an integer from 2"),
        (leaf(indicator="bb", params={"stddev": INFINITY}), "rule.params.stddev", "must be a number from 0"),
        (leaf(indicator="rsi", params=[]), "rule.params", "must be an object, got []"),
        (leaf(indicator="rsi", output="k"), "rule.output", "rsi has one output only"),
        (leaf(indicator="macd", output="k"), "rule.output", "unknown output 'k' of macd"),
        ({"operator": "and", "conditions": []}, "rule.conditions", "must be a list with at least one condition"),
        ({"operator": "or", "conditions": {}}, "rule.conditions", "must be a list with at least one condition"),
        ({"operator": "not"}, "rule.conditions", "must be a list with at least one condition"),
        (
            {"operator": "not", "conditions": [leaf(), leaf()]},
            "rule.conditions",
            "'not' takes exactly one condition, got 2",
        ),
        ({"operator": "xor", "conditions": [leaf()]}, "rule.operator", 'must be one of and, or, not; got "xor"'),
        ({"conditions": [leaf()]}, "rule.operator", "must be one of and, or, not; got null"),
        ({"operator": "and", "conditions": [leaf()], "value": 1}, "rule.value", "unknown field"),
        ({"operator": "and", "conditions": [leaf(), 5]}, "rule.conditions[1]", "must be an object, got 5"),
        (
            {"operator": "or", "conditions": [leaf(), {"operator": "not", "conditions": [leaf(value="7")]}]},
            "rule.conditions[1].conditions[0].value",
            NUMBER,
        ),
        (None, "rule", "must be an object, got null"),
        ("price > 5", "rule", 'must be an object, got "price > 5"'),
        ({}, "rule.indicator", "is missing"),
    ],
)
def test_refusal_names_the_json_path(node: object, field: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_rule(node)
    assert refused.value.field == field
    assert refused.value.reason.startswith(reason)
    assert len(refused.value.reason) < 300


def test_fifty_levels_are_enough_and_one_more_is_too_many() -> None:
    assert isinstance(parse_rule(nested(50)), Not)
    with pytest.raises(InvalidInput, match="nested more than 50 deep") as refused:
        parse_rule(nested(51))
    assert refused.value.field == "rule" + ".conditions[0]" * 51


def test_absurd_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(InvalidInput, match="nested more than 50 deep"):
        parse_rule(nested(10_000))
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput, match="too large to show"):
        parse_rule(leaf(value=deep))


@pytest.mark.parametrize("name", ["price", "close"])
def test_price_is_the_close(name: str) -> None:
    assert parse_rule(leaf(indicator=name)) == Leaf(
        ColumnOperand("close"), LeafOperator.GREATER, (Constant(70.0),)
    )


@pytest.mark.parametrize("name", ["open", "high", "low", "volume"])
@pytest.mark.parametrize("sign", [">", ">=", "<", "<=", "==", "!="])
def test_columns_and_comparators_are_read(name: str, sign: str) -> None:
    rule = parse_rule(leaf(indicator=name, operator=sign, value=-1.5))
    assert rule == Leaf(ColumnOperand(name), LeafOperator(sign), (Constant(-1.5),))


@pytest.mark.parametrize("alias", ["bb", "bollinger"])
def test_aliases_are_the_same_rule(alias: str) -> None:
    assert parse_rule(leaf(indicator=alias, output="upper")) == parse_rule(
        leaf(indicator="bbands", output="upper", params={"period": 20, "stddev": 2})
    )


def test_groups_keep_their_shape() -> None:
    inner = {"operator": "or", "conditions": [leaf(value=1), {"operator": "not", "conditions": [leaf(value=2)]}]}
    one, two, three = (
        Leaf(ColumnOperand("close"), LeafOperator.GREATER, (Constant(level),), number)
        for number, level in enumerate((1, 2, 3))
    )
    parsed = parse_rule({"operator": "and", "conditions": [inner, leaf(value=3)]})
    assert parsed == AllOf((AnyOf((one, Not(two))), three))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"indicator": "price"}, "close"),
        ({"indicator": "volume", "offset": 2, "multiplier": 1.5}, "1.5*volume[2]"),
        ({"indicator": "rsi"}, "rsi(14)"),
        ({"indicator": "sma", "params": {"period": 5, "source": "volume"}, "offset": 1}, "sma(5,volume)[1]"),
        ({"indicator": "macd", "output": "hist"}, "macd(12,26,9).hist"),
        ({"indicator": "macd"}, "macd(12,26,9)"),
        ({"indicator": "change_pct", "params": {"bars": 3}, "multiplier": -1}, "-1*change_pct(3)"),
    ],
)
def test_operands_read_as_people_write_them(fields: dict[str, Any], text: str) -> None:
    rule = parse_rule(leaf(value=fields))
    assert isinstance(rule, Leaf)
    assert str(rule.levels[0]) == text


def test_right_operand_may_have_its_own_offset_and_factor() -> None:
    rule = parse_rule(
        leaf(indicator="volume", value={"indicator": "sma", "params": {"source": "volume"}, "multiplier": 2})
    )
    assert isinstance(rule, Leaf)
    right: Measured | Constant = rule.levels[0]
    assert isinstance(right, IndicatorOperand)
    assert (right.request.name, right.offset, right.multiplier) == ("sma", 0, 2.0)


def test_channels_take_two_levels_of_any_kind() -> None:
    bound = {"indicator": "bbands", "output": "upper"}
    rule = parse_rule(leaf(operator="enters", value=[10, bound]))
    assert isinstance(rule, Leaf)
    low, high = rule.levels
    assert low == Constant(10.0)
    assert str(high) == "bbands(20,2.0).upper"


def test_all_that_is_wrong_is_told_at_once() -> None:
    node = {
        "operator": "and",
        "conditions": [
            leaf(indicator="rsii", value="70", ofset=1),
            leaf(operator="between", value=[{"indicator": "sma", "params": {"period": 0}}, None]),
        ],
        "colour": "red",
    }
    with pytest.raises(InvalidInput) as refused:
        parse_rule(node)
    assert [problem.field for problem in refused.value.problems] == [
        "rule.colour",
        "rule.conditions[0].ofset",
        "rule.conditions[0].indicator",
        "rule.conditions[0].value",
        "rule.conditions[1].value[0].params.period",
        "rule.conditions[1].value[1]",
    ]
    assert "rule.conditions[0].indicator: unknown indicator 'rsii'; did you mean 'rsi'?" in str(refused.value)
