"""At which values an alert becomes ready again, in words: leaf by leaf, and for the whole rule. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np

from atf.alerts.alert import Alert
from atf.alerts.rearm import Rearm, RearmType
from atf.market.bars import FloatArray
from atf.rules.bands import Width
from atf.rules.moved_away import Edges, banded_leaves, closed_edges, relaxed_edges
from atf.rules.operands import Operand
from atf.rules.rule import Leaf, leaves, without_negations
from atf.rules.truth import TRUE, UNKNOWN, truth_of
from atf.rules.words import edges_words, joined_words, leaf_words, operand_words


def width_of(rearm: Rearm) -> Width:
    """Return how far a value must move away from a level."""
    if rearm.is_absolute:
        return lambda level: np.full(np.shape(level), rearm.threshold)
    return lambda level: np.abs(level) * rearm.threshold


def rearm_words(rearm: Rearm) -> str:
    """Return how often an alert fires, in words that go on from its rule."""
    words = [_type_words(rearm)]
    if rearm.bars > 1:
        words.append(f"after {rearm.bars} true bars in a row")
    if rearm.cooldown:
        words.append(f"at most once in {span_words(rearm.cooldown)}")
    return ", ".join(word for word in words if word)


def _type_words(rearm: Rearm) -> str:
    match rearm.type:
        case RearmType.SIMPLE:
            return "on every bar on which it is true"
        case RearmType.COOLDOWN:
            return "while it is true"
        case RearmType.HYSTERESIS:
            far = f"{rearm.threshold:g}" if rearm.is_absolute else f"{rearm.threshold * 100:.10g} %"
            return f"each time it becomes true after the value was {far} away from its level"
        case RearmType.CROSSING:
            return "each time it becomes true after the value was on the other side"
        case _:
            return "each time it becomes true"


def span_words(span: timedelta) -> str:
    """Return how long something lasts, in its two largest units: ``1 d 4 h``."""
    seconds = int(span.total_seconds())
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count:,} {unit}")
    return " ".join(parts[:2]) or "0 s"


def edges_of(alert: Alert, values: Sequence[FloatArray]) -> dict[int, tuple[Leaf[Operand], Edges]]:
    """Return the leaves that have a band, by number, and where their values have moved away.

    A leaf below a ``not`` has the opposite operator. Empty for rearm types without a band.

    Shape: ``values`` of the alert's operands, in order, (n,) or (1,) each; so are the edges.
    """
    if not alert.rearm.type.has_band:
        return {}
    places = dict(_places(alert))
    found: dict[int, tuple[Leaf[Operand], Edges]] = {}
    for number, leaf in banded_leaves(without_negations(alert.rule)).items():
        first = places[number] + 1
        levels = values[first : first + len(leaf.levels)]
        found[number] = leaf, _edges(alert, leaf, levels)
    return found


def _places(alert: Alert) -> Iterator[tuple[int, int]]:
    """Yield the number of each leaf and the place of its left operand."""
    place = 0
    for leaf in leaves(alert.rule):
        yield leaf.number, place
        place += len(leaf.operands)


def _edges(alert: Alert, leaf: Leaf[Operand], levels: Sequence[FloatArray]) -> Edges:
    if alert.rearm.type is RearmType.CROSSING:
        return closed_edges(leaf.operator, levels)
    return relaxed_edges(leaf.operator, levels, width_of(alert.rearm))


class Rearming:
    """What must happen after a bar with these values of the operands."""

    def __init__(self, alert: Alert, values: Sequence[float]) -> None:
        self._alert = alert
        self._values = [np.array([value]) for value in values]
        self._places = dict(_places(alert))
        self._edges = edges_of(alert, self._values)

    def leaf_at(self, leaf: Leaf[Operand]) -> str | None:
        """Return at which values of a leaf it has moved away; None if it has no band."""
        found = self._edges.get(leaf.number)
        return None if found is None else edges_words(operand_words(leaf.left), found[1])

    def has_moved_away(self, leaf: Leaf[Operand]) -> bool | None:
        """Tell whether a leaf has moved away on this bar; None if that is unknown."""
        banded, edges = self._edges[leaf.number]
        first = self._places[leaf.number]
        operands = self._values[first : first + len(banded.operands)]
        truth = int(truth_of(edges.hold(operands[0]), *operands)[0])
        return None if truth == UNKNOWN else truth == TRUE

    def opens_at(self) -> str:
        """Return when the gate opens, in words that go on from ``opens when``."""
        if not self._alert.rearm.type.has_band:
            return "the rule is false"
        tree = without_negations(self._alert.rule)
        return joined_words(tree, self._words, is_opposite=True)

    def _words(self, leaf: Leaf[Operand]) -> str:
        return self.leaf_at(leaf) or leaf_words(leaf)
