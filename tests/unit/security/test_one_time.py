from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.security.one_time import (
    CodeState,
    Link,
    LinkPurpose,
    StoredCode,
    checked_email,
    code_digest,
    new_code,
)
from atf.security.tokens import new_token

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
RIGHT, WRONG = (code_digest(1, "ann@example.org", code) for code in ("012345", "012346"))


def state(
    digest: bytes = RIGHT, *, tries: int = 0, is_used: bool = False, after: timedelta = timedelta(0)
) -> CodeState:
    return StoredCode(RIGHT, NOW + timedelta(minutes=10), tries, is_used).state(digest, NOW + after)


def test_a_code_is_good_for_five_tries_ten_minutes_and_one_use() -> None:
    assert state() is CodeState.RIGHT
    assert state(WRONG) is CodeState.WRONG
    assert state(tries=4) is CodeState.RIGHT
    assert state(tries=5) is CodeState.EXHAUSTED
    assert state(is_used=True) is CodeState.USED
    assert state(after=timedelta(minutes=9, seconds=59)) is CodeState.RIGHT
    assert state(after=timedelta(minutes=10)) is CodeState.EXPIRED


def test_codes_are_six_digits_from_the_first_to_the_last() -> None:
    assert [new_code({1_000_000: n}.__getitem__) for n in (0, 42, 999_999)] == ["000000", "000042", "999999"]
    assert all(len(code) == 6 and code.isdecimal() for code in (new_code() for _ in range(200)))


def test_a_code_is_good_for_its_user_and_its_address_alone() -> None:
    assert code_digest(2, "ann@example.org", "012345") != RIGHT
    assert code_digest(1, "bob@example.org", "012345") != RIGHT


@given(st.text())
def test_whatever_is_typed_as_a_code_is_wrong(text: str) -> None:
    assert text == "012345" or state(code_digest(1, "ann@example.org", text)) is CodeState.WRONG


@pytest.mark.parametrize(
    "text",
    ["", "ann", "@example.org", "ann@", "ann@example", "ann@@example.org", "a b@example.org", "ann@example..org",
     "ann@example.org\r\nBcc: all@example.org", "a" * 65 + "@example.org", "a@" + "b" * 260 + ".org",
     "a\x00@b.org"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^email: must be an address such as ann@example\.org, got"):
        checked_email(text)


def test_an_address_has_one_spelling() -> None:
    assert checked_email(" Ann.Lee+atf@Example.ORG ") == "ann.lee+atf@example.org"


@pytest.mark.parametrize(("purpose", "minutes"), [("setup", 1440), ("reset", 60), ("link", 15)])
def test_links_hold_as_long_as_their_purpose_needs(purpose: str, minutes: int) -> None:
    assert LinkPurpose(purpose).lifetime == timedelta(minutes=minutes)


def test_the_secret_of_a_link_is_where_no_server_gets_it() -> None:
    token = new_token(LinkPurpose.SETUP.token_kind)
    link = Link(LinkPurpose.SETUP, "owner", token, NOW)
    assert link.url("https://atf.example.org/") == f"https://atf.example.org/account/setup#{token.text}"
    assert token.text[-43:] not in repr(link)
