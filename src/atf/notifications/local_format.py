"""Numbers and times as a user's language writes them. Pure: the same values give the same text.

Decimals are written with their own digits. A binary fraction counts with ten significant digits, as in the texts
of alerts: 149.20000000000002 is 149.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from itertools import islice
from typing import Final, Literal

from babel import Locale, UnknownLocaleError, dates, numbers, units

from atf.errors import InvalidInput
from atf.schedules.zone_timeline import load_zone

Number = Decimal | int | float | str
NOTHING: Final = "–"
"""What stands where a value is missing: it must not look like zero."""

_Length = Literal["short", "medium", "long"]
_LONGEST_NUMBER: Final = 40
"""Digits on either side of the point, beyond which a number is written with an exponent."""
_PRECISION: Final = 3 * _LONGEST_NUMBER
_LONGEST_SPAN: Final = 15
"""Digits of seconds, as whose integer 1E+999999999 would fill the memory."""
_FRACTION_OF_PERCENT: Final = 2
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


class LocalFormat:
    """One language and time zone; what is not known here falls back to English and to UTC."""

    def __init__(self, language: str, timezone: str) -> None:
        self._locale = _locale(language)
        try:
            self._zone = load_zone(timezone)
        except InvalidInput:
            self._zone = load_zone("UTC")
        # One bar is told of in several messages, and to several people.
        self._cached_time = lru_cache(maxsize=256)(self._local_time)
        self._times: Final[dict[str, Callable[[datetime], str]]] = {
            "date": self._date,
            "time": self._time,
            "short": lambda at: self._joined(self._date(at), self._time(at)),
            "long": lambda at: f"{self._joined(self._date(at, 'long'), self._time(at, 'medium'))} {at.tzname()}",
        }

    def number(self, value: Number | None, digits: int | None = None) -> str:
        """Return a number: with all its digits, or rounded half up to at most so many after the point.

        Errors: ValueError if it is no number.
        """
        return self._written(value, lambda one: self._decimal(_rounded(one, digits)))

    def money(self, amount: Number | None, currency: str | None = None) -> str:
        """Return an amount with as many digits after the point as its currency has, without one two.

        Nothing is rounded away: a price of 0.00001234 is written out. Codes that are none of ISO's, such as those
        of crypto currencies, are written as they are.

        Errors: ValueError if it is no number.
        """
        code = (currency or "").upper()
        if not code or numbers.get_currency_symbol(code, self._locale) == code:
            return self._written(amount, lambda one: f"{self._decimal(one, least=2)}\u00a0{code}".rstrip())
        return self._written(
            amount,
            lambda one: numbers.format_currency(one, code, locale=self._locale, decimal_quantization=False),
        )

    def percent(self, fraction: Number | None, digits: int = _FRACTION_OF_PERCENT) -> str:
        """Return a fraction in percent, rounded half up to at most so many digits: 0.02 is 2 %.

        Errors: ValueError if it is no number.
        """
        return self._written(
            fraction,
            lambda one: numbers.format_percent(
                _rounded(one, digits + 2), locale=self._locale, decimal_quantization=False
            ),
        )

    def local_time(self, at: datetime | str | None, form: str = "short") -> str:
        """Return an instant on the user's clock: its ``date``, ``time``, ``short`` (both), ``long`` (and zone).

        Time:   aware, or ISO 8601 with an offset.
        Errors: ValueError if it is none, or has no offset.
        """
        return NOTHING if at is None else self._cached_time(at, form)

    def _local_time(self, at: datetime | str, form: str) -> str:
        instant = at if isinstance(at, datetime) else datetime.fromisoformat(at)
        if instant.tzinfo is None:
            raise ValueError(f"{instant} has no offset from UTC")
        if form not in self._times:
            raise ValueError(f"'{form}' is none of {', '.join(self._times)}")
        return self._times[form](instant.astimezone(self._zone))

    def duration(self, span: timedelta | Number | None) -> str:
        """Return a span of time in its two largest units. Units: seconds, if it is a number.

        Errors: ValueError if it is no span.
        """
        if span is None:
            return NOTHING
        seconds = _decimal_of(span.total_seconds() if isinstance(span, timedelta) else span)
        if not seconds.is_finite() or seconds.adjusted() > _LONGEST_SPAN:
            raise ValueError(f"{seconds} s is no span of time")
        whole = int(_rounded(seconds, 0))
        words = " ".join(islice(self._in_units(abs(whole)), 2))
        return f"-{words}" if whole < 0 else words

    def _in_units(self, seconds: int) -> Iterator[str]:
        rest = seconds
        for name, length in _UNITS:
            count, rest = divmod(rest, length)
            if count or (length == 1 and not seconds):
                yield units.format_unit(count, f"duration-{name}", length="short", locale=self._locale)

    def _written(self, value: Number | None, write: Callable[[Decimal], str]) -> str:
        if value is None:
            return NOTHING
        number = _decimal_of(value)
        if not number.is_finite():
            return NOTHING
        # Written out, 1E+999999999 would fill the memory.
        if abs(number.adjusted()) > _LONGEST_NUMBER or len(number.as_tuple().digits) > _LONGEST_NUMBER:
            return f"{number:.9E}"
        with localcontext() as context:  # the usual 28 digits would round
            context.prec = _PRECISION
            return write(number).replace("\u202f", "\u00a0")

    def _decimal(self, value: Decimal, least: int = 0) -> str:
        pattern = self._locale.decimal_formats[None]
        if not least:
            return str(pattern.apply(value, self._locale, decimal_quantization=False))
        return numbers.format_decimal(value, _with_digits(pattern.pattern, least), self._locale, False)

    def _date(self, at: datetime, form: _Length = "medium") -> str:
        return dates.format_date(at, form, locale=self._locale)

    def _time(self, at: datetime, form: _Length = "short") -> str:
        # Fonts of some mail programs lack the narrow space that CLDR puts before AM and PM.
        return dates.format_time(at, form, locale=self._locale).replace("\u202f", "\u00a0")

    def _joined(self, date: str, time: str) -> str:
        return str(self._locale.datetime_formats["medium"]).replace("{1}", date).replace("{0}", time)


@lru_cache(maxsize=1024)
def local_format(language: str, timezone: str) -> LocalFormat:
    """Return the one of a language and time zone."""
    return LocalFormat(language, timezone)


def _locale(language: str) -> Locale:
    for name in (language, language.partition("-")[0]):
        try:
            return Locale.parse(name.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


def _decimal_of(value: Number) -> Decimal:
    if isinstance(value, bool):
        raise ValueError(f"{value} is no number")
    try:
        return Decimal(f"{value:.10g}" if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError) as exc:
        raise ValueError(f"{str(value)[:40]!r} is no number") from exc


def _rounded(value: Decimal, digits: int | None) -> Decimal:
    """Return a number rounded half up, without zeros at its end that were not there before."""
    if digits is None or -value.as_tuple().exponent <= digits:  # type: ignore[operator]  # it is finite
        return value
    rounded = value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return rounded.normalize() if rounded else Decimal(0)


@lru_cache(maxsize=64)
def _with_digits(pattern: str, least: int) -> str:
    """Return a locale's pattern with at least so many digits after the point, and any number more."""
    return pattern.replace("0.###", f"0.{'0' * least}")
