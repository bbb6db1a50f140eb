from collections.abc import Iterator, Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.rules.operands import ColumnOperand, Constant, Measured
from atf.rules.rule import (
    AllOf,
    AnyOf,
    Comparator,
    Comparison,
    Not,
    Rule,
    Verdict,
    evaluate,
    leaves,
    measured_operands,
)

NAN = float("nan")
T, F, U = Verdict.TRUE, Verdict.FALSE, Verdict.UNKNOWN
CLOSE, OPEN, VOLUME = ColumnOperand("close"), ColumnOperand("open"), ColumnOperand("volume")


def leaf(verdict: Verdict) -> Comparison:
    """A comparison that has this verdict whatever the bar is."""
    column = {T: ColumnOperand("high"), F: ColumnOperand("low"), U: ColumnOperand("open")}[verdict]
    return Comparison(column, Comparator.GREATER, Constant(0.0))


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
def test_and_and_or_are_kleenes(left: Verdict, right: Verdict, both: Verdict, either: Verdict) -> None:
    parts = (leaf(left), leaf(right))
    assert evaluate(AllOf(parts), READINGS) is both
    assert evaluate(AnyOf(parts), READINGS) is either


@pytest.mark.parametrize(("inner", "outer"), [(T, F), (F, T), (U, U)])
def test_not_keeps_unknown_unknown(inner: Verdict, outer: Verdict) -> None:
    assert evaluate(Not(leaf(inner)), READINGS) is outer


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
def test_comparators_are_exact_at_the_boundary(sign: str, below: Verdict, at: Verdict, above: Verdict) -> None:
    rule = Comparison(CLOSE, Comparator(sign), Constant(0.3))
    # 0.1 + 0.2 is the next double after 0.3: there is no tolerance.
    values = [0.29999999999999993, 0.3, 0.1 + 0.2]
    assert [evaluate(rule, {CLOSE: value}) for value in values] == [below, at, above]


@pytest.mark.parametrize("sign", list(Comparator))
@pytest.mark.parametrize(("close", "open_"), [(NAN, 1.0), (1.0, NAN), (NAN, NAN)])
def test_comparison_with_an_unknown_operand_is_unknown(sign: Comparator, close: float, open_: float) -> None:
    rule = Comparison(CLOSE, sign, OPEN)
    assert evaluate(rule, {CLOSE: close, OPEN: open_}) is U


def test_known_part_decides_while_another_warms_up() -> None:
    price_or_average = AnyOf((leaf(T), leaf(U)))
    assert evaluate(price_or_average, READINGS) is T
    assert evaluate(Not(leaf(U)), READINGS) is U


rules: st.SearchStrategy[Rule] = st.recursive(
    st.builds(leaf, st.sampled_from(list(Verdict))),
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
    assert evaluate(Not(AllOf(parts)), READINGS) is evaluate(AnyOf(negated), READINGS)
    assert evaluate(Not(AnyOf(parts)), READINGS) is evaluate(AllOf(negated), READINGS)


@given(rules)
def test_double_negation_changes_nothing(rule: Rule) -> None:
    assert evaluate(Not(Not(rule)), READINGS) is evaluate(rule, READINGS)


@given(st.lists(rules, min_size=1, max_size=4))
def test_order_of_parts_changes_nothing(parts: list[Rule]) -> None:
    turned = tuple(reversed(parts))
    assert evaluate(AllOf(tuple(parts)), READINGS) is evaluate(AllOf(turned), READINGS)
    assert evaluate(AnyOf(tuple(parts)), READINGS) is evaluate(AnyOf(turned), READINGS)


@given(rules)
def test_with_no_data_at_all_nothing_is_known(rule: Rule) -> None:
    assert evaluate(rule, dict.fromkeys(measured_operands(rule), NAN)) is U


def filled(verdicts: list[Verdict]) -> Iterator[list[Verdict]]:
    """Every way in which what is unknown may turn out."""
    choices = [[T, F] if verdict is U else [verdict] for verdict in verdicts]
    yield from (list(choice) for choice in product(*choices))


@given(st.lists(st.sampled_from([T, F, U]), min_size=1, max_size=5))
def test_a_known_answer_holds_however_the_unknown_turns_out(verdicts: list[Verdict]) -> None:
    for group in (AllOf, AnyOf):
        answer = evaluate(group(tuple(leaf(verdict) for verdict in verdicts)), READINGS)
        later = {evaluate(group(tuple(leaf(v) for v in each)), READINGS) for each in filled(verdicts)}
        assert later == {answer} if answer is not U else later == {T, F}


def test_every_part_is_read_even_when_the_answer_is_known() -> None:
    class Noting(dict[Measured, float]):
        def __init__(self) -> None:
            super().__init__({CLOSE: -1.0, OPEN: 1.0, VOLUME: 1.0})
            self.read: list[Measured] = []

        def __getitem__(self, operand: Measured) -> float:
            self.read.append(operand)
            return super().__getitem__(operand)

    parts = tuple(Comparison(operand, Comparator.GREATER, Constant(0)) for operand in (CLOSE, OPEN, VOLUME))
    for rule in (AllOf(parts), AnyOf(parts)):
        readings = Noting()
        evaluate(rule, readings)
        assert readings.read == [CLOSE, OPEN, VOLUME]


def test_operands_are_listed_once_in_order_of_appearance() -> None:
    first = Comparison(OPEN, Comparator.GREATER, CLOSE)
    second = Comparison(CLOSE, Comparator.LESS, Constant(5))
    rule = AllOf((first, Not(AnyOf((second, first)))))
    assert list(leaves(rule)) == [first, second, first]
    assert measured_operands(rule) == (OPEN, CLOSE)


def test_different_offsets_and_factors_are_different_operands() -> None:
    rule = Comparison(ColumnOperand("close", 1), Comparator.GREATER, ColumnOperand("close", 0, 1.5))
    assert len(measured_operands(rule)) == 2
