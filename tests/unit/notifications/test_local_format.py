from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.notifications.local_format import LocalFormat

EN, DE = LocalFormat("en", "America/New_York"), LocalFormat("de", "Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [
        (Decimal("1234567.00001234"), "1,234,567.00001234", "1.234.567,00001234"),
        (Decimal("0.1") + Decimal("0.2"), "0.3", "0,3"),
        (0.1 + 0.2, "0.3", "0,3"),
        (149.20000000000002, "149.2", "149,2"),
        (5, "5", "5"),
        ("-1234.5", "-1,234.5", "-1.234,5"),
        (Decimal("1E+5"), "100,000", "100.000"),
        (None, "–", "–"),
        (float("nan"), "–", "–"),
        (float("inf"), "–", "–"),
        ("1e999999999", "1.000000000E+999999999", "1.000000000E+999999999"),
        (Decimal("-1e-999999"), "-1.000000000E-999999", "-1.000000000E-999999"),
    ],
)
def test_numbers_have_all_their_digits(value: Any, english: str, german: str) -> None:
    assert (EN.number(value), DE.number(value)) == (english, german)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        ("2.345", 2, "2.35"),
        ("-2.345", 2, "-2.35"),
        ("2.5", 0, "3"),
        ("2.000", 2, "2"),
        ("-0.001", 2, "0"),
        ("7", 2, "7"),
    ],
)
def test_they_are_rounded_half_up(value: str, digits: int, text: str) -> None:
    assert EN.number(value, digits) == text


@pytest.mark.parametrize(
    ("amount", "currency", "english", "german"),
    [
        ("1234.5", "USD", "$1,234.50", "1.234,50\u00a0$"),
        ("1234.5", "eur", "€1,234.50", "1.234,50\u00a0€"),
        ("-1234.5", "USDT", "-1,234.50\u00a0USDT", "-1.234,50\u00a0USDT"),
        ("0.00001234", "EUR", "€0.00001234", "0,00001234\u00a0€"),
        ("5", "JPY", "¥5", "5\u00a0¥"),
        ("5", None, "5.00", "5,00"),
        ("5.125", None, "5.125", "5,125"),
    ],
)
def test_money_is_never_rounded(amount: str, currency: str | None, english: str, german: str) -> None:
    assert (EN.money(Decimal(amount), currency), DE.money(amount, currency)) == (english, german)


@pytest.mark.parametrize(
    ("fraction", "english", "german"),
    [
        ("0.02", "2%", "2\u00a0%"),
        (0.02, "2%", "2\u00a0%"),
        ("0.0234", "2.34%", "2,34\u00a0%"),
        ("0.00125", "0.13%", "0,13\u00a0%"),
        ("-0.5", "-50%", "-50\u00a0%"),
        ("12.5", "1,250%", "1.250\u00a0%"),
    ],
)
def test_fractions_are_told_in_percent(fraction: Any, english: str, german: str) -> None:
    assert (EN.percent(fraction), DE.percent(fraction)) == (english, german)


@pytest.mark.parametrize(
    ("form", "english", "german"),
    [
        ("date", "Jul 1, 2027", "01.07.2027"),
        ("time", "10:05\u00a0AM", "16:05"),
        ("short", "Jul 1, 2027, 10:05\u00a0AM", "01.07.2027, 16:05"),
        ("long", "July 1, 2027, 10:05:00\u00a0AM EDT", "1. Juli 2027, 16:05:00 CEST"),
    ],
)
def test_instants_are_on_the_readers_clock(form: str, english: str, german: str) -> None:
    at = datetime(2027, 7, 1, 14, 5, tzinfo=UTC)
    assert (EN.local_time(at, form), DE.local_time("2027-07-01T14:05:00Z", form)) == (english, german)


@pytest.mark.parametrize(
    ("span", "english", "german"),
    [
        (0, "0 sec", "0 Sek."),
        (60, "1 min", "1 Min."),
        (3661, "1 hr 1 min", "1 Std. 1 Min."),
        (Decimal("59.5"), "1 min", "1 Min."),
        (timedelta(days=2, seconds=5), "2 days 5 sec", "2 Tg. 5 Sek."),
        (-5, "-5 sec", "-5 Sek."),
        (None, "–", "–"),
    ],
)
def test_spans_are_told_in_two_units(span: Any, english: str, german: str) -> None:
    assert (EN.duration(span), DE.duration(span)) == (english, german)


@pytest.mark.parametrize(
    "call",
    [
        lambda: EN.number("n/a"),
        lambda: EN.number(True),
        lambda: EN.money([1]),  # type: ignore[arg-type]
        lambda: EN.percent({}),  # type: ignore[arg-type]
        lambda: EN.duration("soon"),
        lambda: EN.duration("1e999999999"),
        lambda: EN.duration(float("inf")),
        lambda: EN.local_time("yesterday"),
        lambda: EN.local_time("2027-07-01T14:05:00"),
        lambda: EN.local_time(datetime(2027, 7, 1, tzinfo=UTC), "tiny"),
    ],
)
def test_what_is_no_number_or_instant_is_said(call: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        call()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=8))
def test_a_number_reads_back_as_itself(value: Decimal) -> None:
    assert Decimal(EN.number(value).replace(",", "")) == value
    assert Decimal(DE.number(value).replace(".", "").replace(",", ".")) == value


@given(st.one_of(st.decimals(), st.floats(), st.integers(-(10**5000), 10**5000)))
def test_no_number_makes_a_long_text(value: Any) -> None:
    for text in (EN.number(value), EN.money(value, "USD"), EN.percent(value), EN.number(value, 2)):
        assert len(text) < 130
