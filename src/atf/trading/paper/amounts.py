"""Arithmetic of amounts: exact where it can be, rounded against the trader where it must be. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from math import isfinite
from typing import Final

EXACT: Final = Context(prec=80)
"""No product or sum of amounts is rounded: a book balances to the last digit."""

SMALLEST: Final = Decimal("1e-15")
LARGEST: Final = Decimal("1e15")
"""Of what orders and bars may say: nothing that is computed of such amounts needs more digits than there are."""

_PRICE_DIGITS: Final = Context(prec=12)
_FINEST: Final = Decimal("1e-8")
"""Of fees, and of quantities without a step."""


def price_of(number: float) -> Decimal | None:
    """Return a price that came as a float, with 12 significant digits: others are noise; None if it is none."""
    if not isfinite(number) or not SMALLEST <= number <= LARGEST:
        return None
    return _PRICE_DIGITS.create_decimal(repr(float(number)))


def volume_of(number: float) -> Decimal | None:
    """Return a volume that came as a float; None if it is missing."""
    return Decimal(repr(float(number))) if isfinite(number) and number >= 0 else None


def is_multiple(amount: Decimal, step: Decimal) -> bool:
    """Tell whether an amount is on the grid of a step; without one all are."""
    return not step or not EXACT.remainder(amount, step)


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """Round down to a step; to eight decimals without one."""
    return _to_step(amount, step or _FINEST, ROUND_FLOOR)


def round_price(price: Decimal, step: Decimal, *, up: bool) -> Decimal:
    """Round to a step, or to 12 significant digits without one; a price stays above zero."""
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    rounded = (
        _to_step(price, step, rounding) if step else Context(prec=12, rounding=rounding).create_decimal(price)
    )
    return rounded if rounded > 0 else price


def fee_of(value: Decimal, fraction: Decimal) -> Decimal:
    """Return the fee of a fill, to eight decimals."""
    return EXACT.multiply(value, fraction).quantize(_FINEST, context=EXACT)


def plain(amount: Decimal) -> str:
    """Return an amount as people write it."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _to_step(amount: Decimal, step: Decimal, rounding: str) -> Decimal:
    steps = EXACT.divide(amount, step).to_integral_value(rounding)
    return EXACT.multiply(steps, step)
