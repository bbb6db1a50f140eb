from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.rules.operands import ColumnOperand, Constant, Measured, Operand
from atf.rules.rule import (
    AllOf,
    AnyOf,
    Leaf,
    LeafOperator,
    Not,
    Rule,
    leaves,
    without_negations,
)
from atf.rules.shape import shape_of
from atf.rules.truth import FALSE, TRUE, UNKNOWN, judge

NAN = float("nan")
T, F, U = TRUE, FALSE, UNKNOWN
CLOSE, OPEN, VOLUME = ColumnOperand("close"), ColumnOperand("open"), ColumnOperand("volume")


def compare(left: Measured, sign: str, level: Operand) -> Leaf[Operand]:
    return Leaf(left, LeafOperator(sign), (level,))


def evaluate(rule: Rule, readings: Mapping[Measured, float]) -> int:
    """The truth on one bar of one alert."""
    shape, operands = shape_of(rule)
    read = [one.value if isinstance(one, Constant) else readings[one] for one in operands]
    return int(judge(shape, [np.array([[value]]) for value in read], {}).truth[0, 0])


def leaf(verdict: int) -> Leaf[Operand]:
    """A comparison that has this verdict whatever the bar is."""
    column = {T: ColumnOperand("high"), F: ColumnOperand("low"), U: ColumnOperand("open")}[verdict]
    return compare(column, ">", Constant(0.0))


READINGS: Mapping[Measured, float] = {
    ColumnOperand("high"): 1.0,
    ColumnOperand("low"): -1.0,
    ColumnOperand("open"): NAN,
}


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (T, T, T, T),
        (T, F, F, T),
        (T, U, U, T),
        (F, T, F, T),
        (F, F, F, F),
        (F, U, F, U),
        (U, T, U, T),
        (U, F, F, U),
        (U, U, U, U),
    ],
)
def test_and_and_or_are_kleenes(left: int, right: int, both: int, either: int) -> None:
    parts = (leaf(left), leaf(right))
    assert evaluate(AllOf(parts), READINGS) == both
    assert evaluate(AnyOf(parts), READINGS) == either


@pytest.mark.parametrize(("inner", "outer"), [(T, F), (F, T), (U, U)])
def test_not_keeps_unknown_unknown(inner: int, outer: int) -> None:
    assert evaluate(Not(leaf(inner)), READINGS) == outer


@pytest.mark.parametrize(
    ("sign", "below", "at", "above"),
    [
        (">", F, F, T),
        (">=", F, T, T),
        ("<", T, F, F),
        ("<=", T, T, F),
        ("==", F, T, F),
        ("!=", T, F, T),
    ],
)
def test_comparators_are_exact_at_the_boundary(sign: str, below: int, at: int, above: int) -> None:
    rule = compare(CLOSE, sign, Constant(0.3))
    # 0.1 + 0.2 is the next double after 0.3: there is no tolerance.
    values = [0.29999999999999993, 0.3, 0.1 + 0.2]
    assert [evaluate(rule, {CLOSE: value}) for value in values] == [below, at, above]


@pytest.mark.parametrize("sign", [">", ">=", "<", "<=", "==", "!="])
@pytest.mark.parametrize(("close", "open_"), [(NAN, 1.0), (1.0, NAN), (NAN, NAN)])
def test_comparison_with_an_unknown_operand_is_unknown(sign: str, close: float, open_: float) -> None:
    rule = compare(CLOSE, sign, OPEN)
    assert evaluate(rule, {CLOSE: close, OPEN: open_}) == U


def test_known_part_decides_while_another_warms_up() -> None:
    price_or_average = AnyOf((leaf(T), leaf(U)))
    assert evaluate(price_or_average, READINGS) == T
    assert evaluate(Not(leaf(U)), READINGS) == U


rules: st.SearchStrategy[Rule] = st.recursive(
    st.builds(leaf, st.sampled_from([T, F, U])),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=4).map(tuple)),
    ),
    max_leaves=12,
)


@given(st.lists(rules, min_size=1, max_size=4).map(tuple))
def test_de_morgan_holds_in_three_values(parts: tuple[Rule, ...]) -> None:
    negated = tuple(Not(part) for part in parts)
    assert evaluate(Not(AllOf(parts)), READINGS) == evaluate(AnyOf(negated), READINGS)
    assert evaluate(Not(AnyOf(parts)), READINGS) == evaluate(AllOf(negated), READINGS)


@given(rules)
def test_double_negation_changes_nothing(rule: Rule) -> None:
    assert evaluate(Not(Not(rule)), READINGS) == evaluate(rule, READINGS)


@given(st.lists(rules, min_size=1, max_size=4))
def test_order_of_parts_changes_nothing(parts: list[Rule]) -> None:
    turned = tuple(reversed(parts))
    assert evaluate(AllOf(tuple(parts)), READINGS) == evaluate(AllOf(turned), READINGS)
    assert evaluate(AnyOf(tuple(parts)), READINGS) == evaluate(AnyOf(turned), READINGS)


@given(rules)
def test_with_no_data_at_all_nothing_is_known(rule: Rule) -> None:
    assert evaluate(rule, dict.fromkeys(READINGS, NAN)) == U


def filled(verdicts: list[int]) -> Iterator[list[int]]:
    """Every way in which what is unknown may turn out."""
    choices = [[T, F] if verdict == U else [verdict] for verdict in verdicts]
    yield from (list(choice) for choice in product(*choices))


@given(st.lists(st.sampled_from([T, F, U]), min_size=1, max_size=5))
def test_a_known_answer_holds_however_the_unknown_turns_out(verdicts: list[int]) -> None:
    for group in (AllOf, AnyOf):
        answer = evaluate(group(tuple(leaf(verdict) for verdict in verdicts)), READINGS)
        later = {evaluate(group(tuple(leaf(v) for v in each)), READINGS) for each in filled(verdicts)}
        assert later == {answer} if answer != U else later == {T, F}


def test_leaves_are_listed_from_left_to_right() -> None:
    first = compare(OPEN, ">", CLOSE)
    second = compare(CLOSE, "<", Constant(5))
    rule = AllOf((first, Not(AnyOf((second, first)))))
    assert list(leaves(rule)) == [first, second, first]


@given(rules)
def test_a_rule_without_negations_is_the_same_rule(rule: Rule) -> None:
    pushed = without_negations(rule)
    assert not any(isinstance(node, Not) for node in nodes(pushed))
    assert evaluate(pushed, READINGS) == evaluate(rule, READINGS)


def nodes(rule: Rule) -> Iterator[Rule]:
    yield rule
    for part in [rule.inner] if isinstance(rule, Not) else [] if isinstance(rule, Leaf) else rule.parts:
        yield from nodes(part)


def test_a_negated_event_keeps_its_negation() -> None:
    event = compare(CLOSE, "crosses_above", Constant(5))
    level = compare(CLOSE, ">", Constant(5))
    assert without_negations(Not(AllOf((event, level)))) == AnyOf((Not(event), compare(CLOSE, "<=", Constant(5))))
