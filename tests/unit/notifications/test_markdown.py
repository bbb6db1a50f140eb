import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.strict_markdown import RESERVED, CannotParse, read_markdown

from atf.notifications.markdown import SPECIAL, escape_code, escape_link, escape_markdown

# Mostly what means something, and a few letters between.
texts = st.text(alphabet=st.one_of(st.sampled_from(SPECIAL + "ab\n "), st.characters(codec="utf-8")))


@given(texts)
@example("\\_*[]()~`>#+-=|{}.!")
def test_whatever_is_escaped_reads_as_itself(text: str) -> None:
    read = read_markdown(escape_markdown(text))
    assert (read.text, read.entities) == (text, [])


@given(texts.filter(bool))
def test_marks_around_an_escaped_text_mark_exactly_it(text: str) -> None:
    read = read_markdown(f"a*{escape_markdown(text)}*b")
    assert (read.text, read.entities) == (f"a{text}b", [("bold", text)])


@given(texts, st.sampled_from(["`", "```"]))
@example("a\\", "`")
@example("`", "```")
def test_code_reads_as_itself(text: str, fence: str) -> None:
    source = f"{fence}\n{escape_code(text)}\n{fence}"
    assert read_markdown(source).entities == [("code", f"\n{text}\n")]


@given(texts, texts.filter(bool))
@example("https://a.b/(c)\\", "a")
def test_an_address_reads_as_itself(url: str, text: str) -> None:
    read = read_markdown(f"[{escape_markdown(text)}]({escape_link(url)})")
    assert (read.text, read.entities) == (text, [(f"link {url}", text)])


def test_all_that_is_reserved_is_escaped() -> None:
    assert set(SPECIAL) == RESERVED | {"\\"}


@pytest.mark.parametrize("source", ["a.b", "*a", "[a]", "`a", "*_a*_", "**", "a!", "a > b", "[a](b"])
def test_the_judge_is_strict(source: str) -> None:
    with pytest.raises(CannotParse):
        read_markdown(source)
