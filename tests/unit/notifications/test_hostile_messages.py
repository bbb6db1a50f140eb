"""What others write into titles, bodies and payloads is shown; it is no markup, no code, no order to turn."""

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.letters import BERLINER, OWNER, delivery
from tests.strict_markdown import read_markdown

from atf.notifications.channel import TextForm
from atf.notifications.foreign_text import one_line, visible_text
from atf.notifications.letter_templates import packaged_templates
from atf.notifications.letter_writer import LetterWriter, Written

PLAIN, MARKDOWN, HTML = TextForm.PLAIN, TextForm.MARKDOWN_V2, TextForm.HTML
TYPES = sorted({*(file.notification_type for file in packaged_templates().values()), "unknown"} - {"digest"})
WRITER = LetterWriter()
HOSTILE = (
    "*bold* _it_ __u__ ~s~ ||x|| `code` ```pre``` [a](https://evil.example) > quote #+-=|{}.!\\",
    "<script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt; \"'",
    "{{ 7 * 7 }} {% for x in y %} {# gone #} {{ ''.__class__ }} {ticker.__class__}",
    "\u202etxt.exe \u2066isolated \u200bhidden\x1b[31m\x00",
    "%s %(a)s {0} $ticker ${x} { $count }",
    "-term = x\n    .attr = y",
    "line\r\nBcc: a@b.c\u2028\u0085next",
    "\ud83d half",
    "*",
    "\\",
    "]",
    "x" * 10_000,
    "_" * 10_000,
)
foreign = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(alphabet=st.sampled_from("*_`[]()\\{}<>&\"'a \n\u202e\u200d"), max_size=60),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=60),
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "ticker": foreign,
        "timeframe": foreign,
        "bar_time": st.one_of(foreign, st.just("2027-03-01T10:00:00Z"), st.just("9999-12-31T23:59:59-12:00")),
        "late": st.one_of(st.booleans(), foreign),
        "screener_set": foreign,
        "since": foreign,
        "items": foreign,
    },
)


class Page(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def written(kind: str, title: str, body: str, payload: dict[str, Any], form: TextForm) -> Written:
    return WRITER.write([delivery(body, title=title, kind=kind, payload=payload)], BERLINER, "telegram", form)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TYPES), foreign, foreign, payloads)
def test_markdown_reads_as_the_plain_text_does(kind: str, title: str, body: str, payload: dict[str, Any]) -> None:
    letter = written(kind, title, body, payload, MARKDOWN)
    assert letter.formatted is not None
    read = read_markdown(letter.formatted)
    assert read.text == letter.text
    assert visible_text(body).strip("\n") in letter.text
    assert not [name for name, _ in read.entities if name.startswith("link") or name == "code"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TYPES), foreign, foreign, payloads)
def test_html_has_only_the_templates_tags(kind: str, title: str, body: str, payload: dict[str, Any]) -> None:
    letter = written(kind, title, body, payload, HTML)
    assert letter.formatted is not None
    page = Page(letter.formatted)
    assert page.tags <= {"p", "br", "em", "strong", "h3"}
    assert visible_text(body).strip() in page.text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES), foreign, foreign, payloads), min_size=2, max_size=4))
def test_digests_are_no_way_round(parts: list[tuple[str, str, str, dict[str, Any]]]) -> None:
    several = [delivery(body, title=title, kind=kind, payload=payload) for kind, title, body, payload in parts]
    letter = WRITER.write(several, OWNER, "telegram", MARKDOWN)
    assert read_markdown(letter.formatted or "").text == letter.text
    assert all(visible_text(body).strip("\n") in letter.text for _, _, body, _ in parts)
    mail = WRITER.write(several, OWNER, "email", HTML).formatted
    assert Page(mail or "").tags <= {"p", "br", "em", "strong", "h3"}


@given(foreign)
def test_a_title_is_one_visible_line(title: str) -> None:
    assert written("alert", title, "body", {}, PLAIN).title == one_line(title)


@pytest.mark.parametrize("form", list(TextForm))
def test_jinja_in_a_message_is_text(form: TextForm) -> None:
    words = "{{ 7 * 7 }}{% raw %}"
    letter = written("screener", words, words, {"screener_set": words}, form)
    told = letter.formatted or letter.text
    assert "49" not in told
    assert told.replace("\\", "").count(words) == 2


def test_a_long_word_of_a_payload_is_cut_and_a_body_never() -> None:
    letter = written("screener", "t", "b" * 10_000, {"screener_set": "s" * 10_000}, PLAIN)
    assert "b" * 10_000 in letter.text
    assert 1000 <= letter.text.count("s") < 1100
