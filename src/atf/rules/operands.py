"""What a rule compares: constants, bar columns and indicator outputs.

Pure values; reading them off bars is the evaluator's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from atf.indicators.indicator import IndicatorRequest
from atf.indicators.registry import indicator_of


@dataclass(frozen=True, slots=True)
class Constant:
    """A fixed level."""

    value: float


@dataclass(frozen=True, slots=True)
class ColumnOperand:
    """A column of the bar ``offset`` bars ago, times ``multiplier``."""

    column: str
    offset: int = 0
    multiplier: float = 1.0

    def __str__(self) -> str:
        return _column_text(self)


@dataclass(frozen=True, slots=True)
class IndicatorOperand:
    """An indicator's output ``offset`` bars ago, times ``multiplier``."""

    request: IndicatorRequest
    offset: int = 0
    multiplier: float = 1.0

    def __str__(self) -> str:
        return _indicator_text(self)


Measured = ColumnOperand | IndicatorOperand
Operand = Constant | Measured


@lru_cache(maxsize=65_536)
def _column_text(operand: ColumnOperand) -> str:
    return _described(operand.column, operand.offset, operand.multiplier)


@lru_cache(maxsize=65_536)
def _indicator_text(operand: IndicatorOperand) -> str:
    return _described(_request_text(operand.request), operand.offset, operand.multiplier)


def _described(name: str, offset: int, multiplier: float) -> str:
    factor = "" if multiplier == 1 else f"{multiplier:g}*"
    return f"{factor}{name}{f'[{offset}]' if offset else ''}"


def _request_text(request: IndicatorRequest) -> str:
    """Return ``rsi(14)``, ``macd(12,26,9).hist``, ``sma(20,volume)``: what is usual is left out."""
    values = [str(value) for param, value in request.params if (param, value) != ("source", "close")]
    output = "" if request.output == indicator_of(request).outputs[0] else f".{request.output}"
    return f"{request.name}({','.join(values)}){output}"
