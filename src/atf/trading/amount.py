"""Amounts as a document of JSON has them, read exactly: what was written is what counts. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from atf.errors import InvalidInput, shown

LARGEST_AMOUNT: Final = Decimal(10) ** 18
_DIGITS: Final = 18
"""After the point, as the finest of coins have them."""
_NUMBER: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


def amount_of(value: object, field: str, *, most: Decimal = LARGEST_AMOUNT) -> Decimal:
    """Return a number or a text as an amount above zero.

    A float counts as it is written, not as the binary fraction that it is.

    Errors: InvalidInput that names the field and says what is allowed.
    """
    amount = _number(value)
    if amount is None or not 0 < amount <= most:
        raise InvalidInput(f"must be a number above 0 and at most {most:f}, got {shown(value)}", field=field)
    if amount.normalize().as_tuple().exponent < -_DIGITS:  # type: ignore[operator] # it is finite
        raise InvalidInput(f"has more than {_DIGITS} digits after the point: {shown(value)}", field=field)
    return amount


def _number(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int():
            return Decimal(value)
        case float():
            return _number(repr(value))
        case str() if _NUMBER.fullmatch(value):
            return Decimal(value)
        case _:
            return None
