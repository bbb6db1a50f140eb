import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.notifications.foreign_text import one_line, visible_text

anything = st.text(alphabet=st.characters(exclude_categories=()))
odd = st.text(
    alphabet=st.sampled_from(
        "ab\n\tא\u0645\u200c\u200d\u202e\u2066\u2069\u200b\ufeff\x00\x1b\x9b\r😀🏴\U000e0067\U000e007f\ud83d\ude00"
    )
)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("\u2066a\u2069 \u202ab\u202c", "a b"),
        ("\x1b[2Jred\x1b[0m", "[2Jred[0m"),
        ("one\r\ntwo\ttabs", "one\ntwo\ttabs"),
        ("bell\x07 nul\x00 c1\x9b", "bell nul c1"),
        ("AA\u200bPL \ufeffMS\u2060FT", "AAPL MSFT"),
        ("AA\u200dPL \u200cx", "AAPL x"),
        ("half \ud83d of one", "half  of one"),
        ("whole \ud83d\ude00", "whole 😀"),
        ("hidden\U000e0068\U000e0069 words", "hidden words"),
    ],
)
def test_what_nobody_can_see_is_taken_out(text: str, seen: str) -> None:
    assert visible_text(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "plain words, 1,234.50 € – “quoted”",
        "👩‍💻 ❤️‍🔥 👨‍👩‍👧‍👦 🏳️‍🌈",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
        "שלום עולם",
        "می‌خواهم",  # Persian, with a joiner that keeps letters apart
        "क्‍ष",
        "a\u200eb\u200f",  # marks of a direction are for the letters beside them
        "line\nline\ttab",
        "",
    ],
)
def test_what_languages_and_emoji_need_stays(text: str) -> None:
    assert visible_text(text) == text


@given(st.one_of(anything, odd))
def test_what_comes_out_is_clean_and_stays_as_it_is(text: str) -> None:
    seen = visible_text(text)
    assert visible_text(seen) == seen
    seen.encode("utf-8")
    assert not [one for one in seen if unicodedata.category(one) == "Cc" and one not in "\n\t"]
    assert not set(seen) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.one_of(anything, odd))
def test_a_title_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


def test_lines_become_one_and_other_spaces_stay() -> None:
    assert one_line(" a \n\r\n  b\tc\u2028d  e\u00a0f ") == "a b c d  e\u00a0f"
