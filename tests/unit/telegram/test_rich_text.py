import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strict_markdown import read_markdown

from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import LONGEST_TEXT, block, bold, code, lines, rich

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf"]), max_size=60)


@given(TEXTS, TEXTS, TEXTS)
def test_whatever_people_are_called_telegram_reads_the_same_words(first: str, second: str, third: str) -> None:
    text = lines([bold(first), rich(second) + " " + code(third), block(first)])
    assert read_markdown(text.markdown).text.split() == text.plain.split()


def test_what_turns_the_reading_order_round_is_taken_out() -> None:
    assert rich("pay \u202e00.1\u202c now").plain == "pay 00.1 now"


def test_a_message_is_never_longer_than_telegram_takes() -> None:
    text = lines("x" * 100 for _ in range(100))
    assert len(text.plain) <= LONGEST_TEXT
    assert text.plain.endswith("\n…")
    assert len(text.markdown) <= 4096


def test_nothing_in_bold_or_code_is_nothing() -> None:
    assert bold("").markdown == ""
    assert code(" ").markdown == " "


def test_a_button_that_telegram_would_refuse_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Button("x", "ä" * 33)
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Button("x", "")
    assert Reply.of("x", (Button("x", "ä" * 32),)).keyboard[0][0].label == "x"
