"""A rule cast into a known form is what parsing makes of it, and what parsing refuses is refused alike."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.odd_documents import LEAF, SEEDS, documents

from atf.errors import InvalidInput
from atf.rules import mould as mould_module
from atf.rules.grammar import parse_rule
from atf.rules.mould import CompiledRule, compile_rule
from atf.rules.rule import leaves
from atf.rules.shape import shape_of

PRICE = {"indicator": "price", "operator": ">", "value": 5}
CHANNEL = {"indicator": "price", "operator": "between", "value": [4, 6]}
RULES: list[dict[str, Any]] = [
    PRICE,
    LEAF,
    CHANNEL,
    {"indicator": "price", "multiplier": 2, "operator": "<", "value": {"indicator": "sma", "multiplier": 0.5}},
    {
        "indicator": "close",
        "offset": 3,
        "operator": "enters",
        "value": [{"indicator": "bbands", "output": "lower"}, 9],
    },
    {"indicator": "price", "operator": "exits", "value": [1, {"indicator": "ema", "multiplier": -1}]},
    {"operator": "not", "conditions": [PRICE]},
    SEEDS[1]["rule"],
    {"operator": "and", "conditions": [PRICE, {"operator": "or", "conditions": [CHANNEL, LEAF, PRICE]}]},
]
NUMBERS = (0, -0.0, 1, 1.0, 7, 2.5, -3, 1e300, 1e-300, 10**15, 10**25, 1 / 3)


def in_full(node: Any) -> CompiledRule:
    """What a rule is by its parser alone."""
    rule = parse_rule(node)
    shape, operands = shape_of(rule)
    as_doubles = json.loads(json.dumps(node, sort_keys=True), parse_int=float)
    return CompiledRule(rule, shape, operands, json.dumps(as_doubles, sort_keys=True, separators=(",", ":")))


def outcome(work: Any, node: Any) -> Any:
    try:
        return work(copy.deepcopy(node))
    except InvalidInput as exc:
        return [(one.field, one.reason) for one in exc.problems]


def with_other_numbers(node: Any, chance: random.Random) -> Any:
    if isinstance(node, list):
        return [with_other_numbers(one, chance) for one in node]
    if isinstance(node, dict):
        return {
            name: value if name in ("params", "offset") else with_other_numbers(value, chance)
            for name, value in node.items()
        }
    return chance.choice(NUMBERS) if isinstance(node, int | float) else node


@pytest.mark.parametrize("rule", RULES)
def test_rules_of_one_form_are_what_parsing_makes_of_each(rule: dict[str, Any]) -> None:
    chance = random.Random(7)
    for number in range(200):
        node = with_other_numbers(rule, chance) if number else rule
        assert outcome(compile_rule, node) == outcome(in_full, node)


def test_the_parser_is_asked_once_for_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(node: object) -> Any:
        asked.append(node)
        return parse_rule(node)

    monkeypatch.setattr(mould_module, "parse_rule", noted)
    monkeypatch.setattr(mould_module, "_MOULDS", {})
    for level in range(50):
        compiled = compile_rule({**PRICE, "value": level})
        assert [leaf.levels for leaf in leaves(compiled.rule)] == [(compiled.operands[1],)]
    assert len(asked) == 1
    for period in (7, 14, 7):
        compile_rule({**LEAF, "params": {"period": period}})
    assert len(asked) == 3


def test_equal_shapes_are_one_object() -> None:
    other_name = {**PRICE, "indicator": "volume"}
    assert (
        compile_rule(PRICE).shape is compile_rule({**PRICE, "value": 6}).shape is compile_rule(other_name).shape
    )


def odd_rules() -> Iterator[Any]:
    for document in documents(4_000):
        yield document.get("rule") if isinstance(document, dict) else document
    yield from (
        {**PRICE, "value": True},
        {**PRICE, "value": float("nan")},
        {**PRICE, "value": "NaN"},
        {**PRICE, "multiplier": float("inf")},
        {**CHANNEL, "value": [6, 4]},
        {**CHANNEL, "value": [6, True]},
        {**CHANNEL, "value": [4, 6, 8]},
        {**PRICE, "indicator": "NaN"},
        {**PRICE, "NaN": 1},
        {**LEAF, "params": {"period": True}},
        {**LEAF, "params": {"period": 14.0}},
        {**LEAF, "params": {"period": float("nan")}},
        {**PRICE, "value": 10**400},
        {**PRICE, "value": {**PRICE, "value": 5}},
        {"operator": "and", "conditions": [PRICE], "value": 5},
    )


def test_odd_rules_are_refused_in_the_words_of_the_parser_whatever_was_compiled_before() -> None:
    refused = 0
    for rule in odd_rules():
        expected = outcome(in_full, rule)
        assert outcome(compile_rule, rule) == expected
        assert outcome(compile_rule, rule) == expected
        refused += isinstance(expected, list)
    assert refused > 1_000


def test_a_rule_nested_too_deep_is_refused_and_not_a_recursion() -> None:
    rule: dict[str, Any] = dict(PRICE)
    for _ in range(5_000):
        rule = {"operator": "not", "conditions": [rule]}
    with pytest.raises(InvalidInput, match="nested more than"):
        compile_rule(rule)


def test_forms_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = {}
    monkeypatch.setattr(mould_module, "_MOULDS", known)
    monkeypatch.setattr(mould_module, "_MOST_MOULDS", 5)
    for offset in range(20):
        compile_rule({**PRICE, "offset": offset})
    assert 1 <= len(known) <= 5
