from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.security.session import StoredToken, TokenState
from atf.security.tokens import (
    Token,
    TokenKind,
    checked_days,
    checked_token_name,
    new_token,
    parse_token,
    token_id_in,
)

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
ALL = tuple(TokenKind)
# The same in all processes, as tests are named after it.
GOOD = new_token(TokenKind.API, lambda size: sha256(b"a test's own").digest()[:size])


def stored(token: Token, **others: bool) -> StoredToken:
    return StoredToken(token.digest, NOW + timedelta(minutes=1), **others)


@pytest.mark.parametrize("kind", ALL)
def test_a_token_is_found_again_in_its_text(kind: TokenKind) -> None:
    token = new_token(kind)
    assert token.text.startswith(f"atf_{kind}_{token.id}_")
    assert parse_token(token.text, kind) == token
    assert parse_token(token.text, *ALL) == token
    assert parse_token(token.text, *(other for other in ALL if other != kind)) is None


def test_what_is_shown_of_a_token_has_nothing_of_its_secret() -> None:
    secret = GOOD.text.removeprefix(GOOD.shown)
    assert len(secret) == 1 + 43
    assert secret[1:] not in repr(GOOD)
    assert GOOD.shown == f"atf_api_{GOOD.id}"


def test_no_two_tokens_are_alike() -> None:
    made = [new_token(TokenKind.ACCESS) for _ in range(1000)]
    assert len({token.id for token in made}) == len({token.digest for token in made}) == 1000


def test_secrets_have_256_bits_of_the_source_of_randomness() -> None:
    asked: list[int] = []

    def zeros(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    assert new_token(TokenKind.ACCESS, zeros).text == "atf_access_" + "0" * 16 + "_" + "A" * 43
    assert asked == [8, 32]


def test_a_digest_is_of_kind_id_and_secret_together() -> None:
    secret = GOOD.text[-43:]
    other_kind = parse_token(f"atf_service_{GOOD.id}_{secret}", *ALL)
    other_id = parse_token(f"atf_api_{'0' * 16}_{secret}", *ALL)
    assert other_kind is not None
    assert other_id is not None
    assert not other_kind.fits(GOOD.digest)
    assert not other_id.fits(GOOD.digest)
    assert GOOD.fits(GOOD.digest)
    assert len(GOOD.digest) == 32


@given(st.one_of(st.text(), st.text("atf_api0123456789-="), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_nonsense_is_no_token(text: str) -> None:
    assert parse_token(text, *ALL) is None


@given(st.integers(0, len(GOOD.text) - 1), st.characters())
def test_a_token_with_one_other_character_is_refused(place: int, character: str) -> None:
    forged = GOOD.text[:place] + character + GOOD.text[place + 1 :]
    found = parse_token(forged, *ALL)
    assert forged == GOOD.text or found is None or stored(GOOD).state(found, NOW) is TokenState.FORGED


@given(st.integers(0, len(GOOD.text)), st.text(min_size=1, max_size=5))
def test_a_token_with_something_added_or_cut_off_is_refused(place: int, added: str) -> None:
    assert parse_token(GOOD.text[:place] + added + GOOD.text[place:], *ALL) is None
    assert parse_token(GOOD.text[:place], *ALL) is None or place == len(GOOD.text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.text + "\n",
        " " + GOOD.text,
        GOOD.text.upper(),
        GOOD.text.replace("atf", "ａｔｆ"),
        GOOD.text.replace(GOOD.id, "٣" * 16),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "\ud800",
        "x" * 1_000_000,
    ],
)
def test_no_other_spelling_of_a_token_counts(text: str) -> None:
    assert parse_token(text, *ALL) is None


def test_a_stored_token_is_good_until_just_before_its_end() -> None:
    assert stored(GOOD).state(GOOD, NOW) is TokenState.GOOD
    assert stored(GOOD).state(GOOD, NOW + timedelta(seconds=59.999)) is TokenState.GOOD
    assert stored(GOOD).state(GOOD, NOW + timedelta(minutes=1)) is TokenState.EXPIRED


def test_a_stored_token_that_was_used_ended_or_is_of_a_disabled_user_is_not_good() -> None:
    assert stored(GOOD, is_used=True).state(GOOD, NOW) is TokenState.USED
    assert stored(GOOD, is_used=True).state(GOOD, NOW + timedelta(days=1)) is TokenState.USED
    assert stored(GOOD, is_ended=True).state(GOOD, NOW) is TokenState.ENDED
    assert stored(GOOD, is_user_active=False).state(GOOD, NOW) is TokenState.DISABLED


def test_whoever_has_only_the_id_can_end_nothing() -> None:
    """A forged secret is told from a copied token, or anybody who sees an id could end the session."""
    forged = Token(GOOD.kind, GOOD.id, GOOD.text[:-1] + ("A" if GOOD.text[-1] != "A" else "B"))
    assert stored(GOOD, is_used=True).state(forged, NOW) is TokenState.FORGED


def test_an_id_is_found_in_whatever_people_copy() -> None:
    for text in (GOOD.id, GOOD.shown, GOOD.text, f" {GOOD.shown}\n"):
        assert token_id_in(text) == GOOD.id
    for text in ("", "notebook", GOOD.id[:-1], GOOD.id + "0", "atf_api_"):
        assert token_id_in(text) is None


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "\x00"])
def test_a_token_needs_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^name: must have 1 to 64 printable characters"):
        checked_token_name(name)
    assert checked_token_name(" my notebook ") == "my notebook"


@pytest.mark.parametrize("days", [0, -1, 3661, 10**30])
def test_a_token_holds_for_a_day_to_ten_years(days: int) -> None:
    with pytest.raises(InvalidInput, match=r"^days: must be from 1 to 3660, got"):
        checked_days(days)
    assert checked_days(3660) == timedelta(days=3660)
