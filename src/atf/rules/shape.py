"""The shape of a rule: the tree with its operands taken out. Rules of one shape are judged together. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from atf.rules.operands import Constant, Operand
from atf.rules.rule import Leaf, Rule, Tree, with_leaves


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of an operand: its number in the rule, left to right, and whether it is a fixed level."""

    number: int
    is_constant: bool


Shape = Tree[Slot]


def shape_of(rule: Rule) -> tuple[Shape, tuple[Operand, ...]]:
    """Return the shape of a rule and its operands, by the numbers of their slots."""
    operands: list[Operand] = []

    def slot(operand: Operand) -> Slot:
        operands.append(operand)
        return Slot(len(operands) - 1, isinstance(operand, Constant))

    def emptied(leaf: Leaf[Operand]) -> Leaf[Slot]:
        left, *levels = (slot(operand) for operand in leaf.operands)
        return Leaf(left, leaf.operator, tuple(levels), leaf.number)

    return with_leaves(rule, emptied), tuple(operands)
