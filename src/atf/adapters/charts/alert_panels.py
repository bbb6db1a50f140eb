"""What a picture of an alert shows where: operands by their scale, levels, and where values re-arm. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from atf.alerts.rearming import edges_of
from atf.alerts.trace import Trace
from atf.market.bars import FloatArray
from atf.rules.moved_away import Edges
from atf.rules.operands import ColumnOperand, Constant, IndicatorOperand, Operand
from atf.rules.rule import Leaf, leaves
from atf.rules.words import edges_words, leaf_words, operand_words

PRICE: Final = "price"
VOLUME: Final = "volume"
_ON_SOURCE: Final = frozenset({"sma", "ema", "wma", "dema", "tema", "kama", "bbands"})
"""Indicators on the scale of what they read."""
_ON_PRICE: Final = frozenset({"psar", "donchian", "keltner", "vwap"})
_MOST_PANELS: Final = 4


@dataclass(slots=True)
class Panel:
    """One pair of axes: ``lines`` by name, fixed ``levels`` by the words of their leaf, ``rearms`` by theirs.

    ``watched`` are the lines whose values at triggers are marked.

    Shape: lines and rearms (n,), n bars.
    """

    scale: str
    lines: dict[str, FloatArray] = field(default_factory=dict)
    levels: dict[str, list[float]] = field(default_factory=dict)
    rearms: dict[str, list[FloatArray]] = field(default_factory=dict)
    watched: list[str] = field(default_factory=list)


def panels_of(trace: Trace) -> list[Panel]:
    """Return the panels of an alert without its history, that of the price first; of many only the first few."""
    part = trace.without_history
    values, count = [one[part] for one in trace.record.values], part.stop - part.start
    edges = edges_of(trace.alert, values)
    panels = {PRICE: Panel(PRICE)}
    place = 0
    for leaf in leaves(trace.alert.rule):
        of_leaf = values[place : place + len(leaf.operands)]
        place += len(leaf.operands)
        panel = panels.setdefault(scale := _scale_of(leaf), Panel(scale))
        _add(panel, leaf, of_leaf)
        if leaf.number in edges:
            _add_edges(panel, leaf, edges[leaf.number][1], count)
    return list(panels.values())[: 1 + _MOST_PANELS]


def _add(panel: Panel, leaf: Leaf[Operand], values: Sequence[FloatArray]) -> None:
    for operand, read in zip(leaf.operands, values, strict=True):
        if isinstance(operand, Constant):
            known = panel.levels.setdefault(leaf_words(leaf), [])
            known.append(operand.value)
        elif not _is_drawn_as_candle(operand):
            panel.lines[operand_words(operand)] = read
    name = operand_words(leaf.left)
    if name in panel.lines and name not in panel.watched:
        panel.watched.append(name)


def _add_edges(panel: Panel, leaf: Leaf[Operand], edges: Edges, count: int) -> None:
    """Add where a leaf re-arms; its values are in the name if they are the same on all bars."""
    is_fixed = all(isinstance(level, Constant) for level in leaf.levels)
    name = operand_words(leaf.left)
    words = f"re-arms at {edges_words(name, edges)}" if is_fixed else f"{name} re-arms"
    known = [edge for edge in (edges.below, edges.above) if edge is not None]
    panel.rearms[words] = [np.broadcast_to(edge, (count,)) for edge in known]


def _is_drawn_as_candle(operand: Operand) -> bool:
    plain = isinstance(operand, ColumnOperand) and (operand.offset, operand.multiplier) == (0, 1)
    return plain and isinstance(operand, ColumnOperand) and operand.column != VOLUME


def _scale_of(leaf: Leaf[Operand]) -> str:
    """Return the scale that a leaf is drawn on: the price's if any of its operands has it, else the value's."""
    scales = [_own_scale(operand) for operand in leaf.operands]
    return next((scale for scale in (PRICE, VOLUME) if scale in scales), scales[0] or PRICE)


def _own_scale(operand: Operand) -> str | None:
    match operand:
        case Constant():
            return None
        case ColumnOperand(column):
            return VOLUME if column == VOLUME else PRICE
        case IndicatorOperand(request):
            params = dict(request.params)
            if request.name in _ON_PRICE:
                return PRICE
            if request.name in _ON_SOURCE:
                return VOLUME if params.get("source") == VOLUME else PRICE
            return f"{request.name}({','.join(str(value) for value in params.values() if value != 'close')})"
