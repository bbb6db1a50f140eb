"""What a letter's text becomes on its way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atf.adapters.channels.header_text import header_text
from atf.adapters.channels.letter_text import clean, cut, headed, one_line, units
from atf.adapters.channels.sms_text import body_of, segments
from atf.notifications.channel import Letter, Recipient

LETTER = Letter(Recipient(2, "+15551234"), "k", "alert", "Alert", "text")


def test_control_characters_go_and_line_ends_become_one_kind() -> None:
    assert clean("a\x00\x07b\r\nc\rd\u2028e\x85f\tg\x1b[0m\ud800") == "ab\nc\nd\ne\nf\tg[0m?"
    assert one_line(" a\r\n\tb\u2029 c ") == "a b c"


def test_signs_that_join_others_stay() -> None:
    assert clean("👨‍👩‍👧 \u200fעברית\u200e") == "👨‍👩‍👧 \u200fעברית\u200e"


@pytest.mark.parametrize(
    ("title", "text", "whole"),
    [
        ("T", "x", "T\n\nx"),
        ("T", "", "T"),
        ("", "x", "x"),
        ("T\nU", "x", "T U\n\nx"),
        ("T", "T\nx", "T\nx"),
        ("T", "T", "T"),
        ("T", "Tx", "T\n\nTx"),
    ],
)
def test_a_title_stands_above_the_text_once(title: str, text: str, whole: str) -> None:
    assert headed(title, text) == whole


@pytest.mark.parametrize(("text", "longest"), [("a" * 20, 10), ("🚀" * 20, 10), ("e\u0301" * 20, 10), ("a", 1)])
def test_what_is_too_long_is_cut_and_says_so(text: str, longest: int) -> None:
    found = cut(text, longest)
    assert units(found) <= longest
    assert found == text or found.endswith("…")
    assert found.removesuffix("…") in text


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("🚀" * 35, 1),
        ("🚀" * 36, 2),
        ("", 1),
    ],
)
def test_segments_are_counted_as_networks_do(body: str, count: int) -> None:
    assert segments(body) == count


def test_a_text_message_has_at_most_1600_characters() -> None:
    body = body_of(replace(LETTER, text="x" * 5000))
    assert len(body) == 1600
    assert body.startswith("Alert\n\nxxx")
    assert body.endswith("x…")


def test_keys_stay_themselves_in_headers_and_never_make_one() -> None:
    assert header_text("7:abc:1/é\r\nX: y") == "7:abc:1/%C3%A9%0D%0AX:%20y"
    assert header_text("7:abc:2027-03-01T00:00:00+00:00:webhook") == "7:abc:2027-03-01T00:00:00+00:00:webhook"
