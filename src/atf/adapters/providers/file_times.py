"""Times as files of bars have them: ISO 8601, dates, whole numbers of any usual unit since 1970. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from atf.market.bars import to_nanoseconds

_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_COMPACT_DATE: Final = re.compile(r"(19|20)[0-9]{6}")
_LAST_NANOSECOND: Final = 2**63 - 1
_MOST_DIGITS: Final = 40
# An epoch number is seconds, ms, us or ns by its size; the borders lie in 1973 for the finer unit and in
# the year 5138 for the coarser one, so that no price history is near them.
_EPOCH_UNITS: Final = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))


def parse_time(text: str) -> int:
    """Return nanoseconds since 1970 of a time as files have it; ValueError says what is allowed."""
    text = text.strip()
    if _COMPACT_DATE.fullmatch(text):
        raise ValueError(f"{text!r} may be a date or seconds: write a date as {text[:4]}-{text[4:6]}-{text[6:]}")
    if _WHOLE.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            raise ValueError(f"{text[:_MOST_DIGITS]}... is outside the years 1678 to 2261")
        return epoch_nanoseconds(int(text))
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        allowed = "2024-01-31T09:30:00Z, 2024-01-31 or a whole number of s, ms, us or ns since 1970"
        raise ValueError(f"{text!r} is not a time; allowed are {allowed}") from None
    return _in_range(to_nanoseconds(instant if instant.tzinfo else instant.replace(tzinfo=UTC)), text)


def lacks_offset(text: object) -> bool:
    """Whether a time is a text that names no offset from UTC: it is taken for UTC, and may be any clock's."""
    if not isinstance(text, str) or _WHOLE.fullmatch(text.strip()):
        return False
    try:
        return datetime.fromisoformat(text.strip()).tzinfo is None
    except ValueError:
        return False


def epoch_nanoseconds(number: int) -> int:
    """Return nanoseconds since 1970 of a whole number of s, ms, us or ns since then, told by its size."""
    factor = next((factor for below, factor in _EPOCH_UNITS if abs(number) < below), 1)
    return _in_range(number * factor, number)


def _in_range(nanoseconds: int, given: object) -> int:
    if abs(nanoseconds) > _LAST_NANOSECOND:
        raise ValueError(f"{given!r} is outside the years 1678 to 2261")
    return nanoseconds
