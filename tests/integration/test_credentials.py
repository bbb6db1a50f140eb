"""Passwords, one-time links and codes: each is used once at most, and what it replaces ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.integration.accounts import CHEAP, ELSEWHERE, HOME, RIGHT, House, a_house, later, spoilt
from tests.integration.conftest import OWNER, Rows

from atf.bootstrap import rights
from atf.bootstrap.client import known_caller
from atf.errors import Conflict, Forbidden, InvalidInput, NotFound, TemporaryFailure, Unauthenticated
from atf.security.audit import AuditFilter
from atf.security.caller import Caller, Origin
from atf.security.credentials_service import CredentialsService
from atf.security.gate import gated
from atf.security.one_time import IdentityKind, LinkPurpose
from atf.security.password import Passwords
from atf.security.role import Role
from atf.security.scope import Scope
from atf.security.tokens import new_token
from atf.storage.credentials_repository import PostgresCredentials
from atf.storage.database import Database

ANOTHER = "another horse battery"
EMAIL = "ann@example.org"


@pytest.fixture
async def house(database: Database) -> House:
    return await a_house(database)


async def a_link(house: House, purpose: LinkPurpose | None = None) -> str:
    return (await house.credentials.make_password_link(house.ann.id, purpose)).token.text


async def test_a_link_sets_a_password_once_and_ends_what_was_before(house: House) -> None:
    signed_in, link = await house.sign_in(), await a_link(house)
    await house.fail(5)
    await house.accounts.set_password(link, ANOTHER, HOME)
    assert not await house.is_let_in(signed_in.tokens.access.text)
    await house.accounts.sign_in("ann", ANOTHER, HOME)  # the lock-out is over, too
    with pytest.raises(Unauthenticated, match="this link does not hold"):
        await house.accounts.set_password(link, RIGHT, ELSEWHERE)
    await house.accounts.sign_in("ann", ANOTHER, HOME)
    (refusal,) = await house.refusals("link.use")
    assert (refusal.detail, refusal.address, refusal.owner_id) == (
        "used already",
        ELSEWHERE.address,
        house.ann.id,
    )
    changed = (await house.log.entries(AuditFilter(action="password.update"), limit=1))[0]
    assert (changed.actor, changed.origin, changed.address) == ("ann", Origin.API, HOME.address)
    assert changed.after == {"hash": "***"}


async def test_a_bad_password_leaves_the_link_as_it_is(house: House) -> None:
    link = await a_link(house)
    with pytest.raises(InvalidInput, match=r"^password: must have 12 to 256 characters, got 5$"):
        await house.accounts.set_password(link, "short", HOME)
    await house.accounts.set_password(link, ANOTHER, HOME)


async def test_of_two_uses_of_a_link_at_the_same_time_one_succeeds(house: House) -> None:
    for _ in range(3):
        link = await a_link(house)
        answers = await asyncio.gather(
            *(house.accounts.set_password(link, f"{ANOTHER} {n}", HOME) for n in range(5)), return_exceptions=True
        )
        (won,) = [n for n, answer in enumerate(answers) if answer is None]
        assert all(answer is None or isinstance(answer, Unauthenticated) for answer in answers)
        await house.accounts.sign_in("ann", f"{ANOTHER} {won}", HOME)


@pytest.mark.parametrize(("purpose", "lifetime"), [("setup", timedelta(days=1)), ("reset", timedelta(hours=1))])
async def test_a_link_expires(house: House, rows: Rows, purpose: str, lifetime: timedelta) -> None:
    bob = await house.users.add("bob", Role.VIEWER)
    link = (await house.credentials.make_password_link(bob.id, LinkPurpose(purpose))).token.text
    await later(rows, lifetime - timedelta(seconds=10), "one_time_links.expires_at")
    with pytest.raises(InvalidInput):
        await house.accounts.set_password(link, "", HOME)
    await later(rows, timedelta(seconds=11), "one_time_links.expires_at")
    with pytest.raises(Unauthenticated):
        await house.accounts.set_password(link, ANOTHER, HOME)
    assert await house.reasons("link.use") == ["expired"]
    assert await house.credentials._store.password_hash(bob.id) is None


async def test_links_that_are_forged_replaced_or_of_disabled_users_do_not_hold(house: House) -> None:
    first, second = await a_link(house), await a_link(house)
    kind = LinkPurpose.RESET.token_kind
    for link in (first, spoilt(second), new_token(kind).text, "", second.replace("reset", "setup")):
        with pytest.raises(Unauthenticated):
            await house.accounts.set_password(link, ANOTHER, HOME)
    await house.users.set_active(house.ann.id, is_active=False)
    with pytest.raises(Unauthenticated):
        await house.accounts.set_password(second, ANOTHER, HOME)
    assert [str(reason).partition(":")[0] for reason in await house.reasons("link.use")] == [
        "unknown", "forged", "unknown", "no token of ours", "unknown", "of a user who is disabled",
    ]  # fmt: skip
    with pytest.raises(Conflict, match="only an active user gets a link"):
        await a_link(house)


async def test_a_link_ends_when_the_password_is_set_in_another_way(house: House) -> None:
    link = await a_link(house)
    await house.credentials.replace_password(house.ann.id, ANOTHER)
    with pytest.raises(Unauthenticated):
        await house.accounts.set_password(link, RIGHT, HOME)


async def test_a_link_has_the_purpose_that_fits(house: House) -> None:
    bob = await house.users.add("bob", Role.VIEWER)
    assert (await house.credentials.make_password_link(bob.id)).purpose is LinkPurpose.SETUP
    assert (await house.credentials.make_password_link(house.ann.id)).purpose is LinkPurpose.RESET
    with pytest.raises(Conflict, match="has a password already"):
        await a_link(house, LinkPurpose.SETUP)


async def test_a_password_is_changed_by_who_knows_it_and_sessions_end(house: House) -> None:
    signed_in = await house.sign_in()
    await house.credentials.change_password(house.ann.id, RIGHT, ANOTHER)
    assert not await house.is_let_in(signed_in.tokens.access.text)
    await house.refused("ann", RIGHT)
    await house.accounts.sign_in("ann", ANOTHER, HOME)


async def test_guessing_the_password_in_a_stolen_session_is_locked_out(house: House) -> None:
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="the present password is wrong"):
            await house.credentials.change_password(house.ann.id, "guess", ANOTHER)
    with pytest.raises(Unauthenticated):
        await house.credentials.change_password(house.ann.id, RIGHT, ANOTHER)
    assert await house.reasons("password.change") == ["wrong password"] * 5 + ["locked out"]


async def test_of_two_changes_at_the_same_time_one_succeeds(house: House) -> None:
    changes = (house.credentials.change_password(house.ann.id, RIGHT, f"{ANOTHER} {n}") for n in range(4))
    answers = await asyncio.gather(*changes, return_exceptions=True)
    (won,) = [n for n, answer in enumerate(answers) if answer is None]
    await house.accounts.sign_in("ann", f"{ANOTHER} {won}", HOME)


@pytest.mark.parametrize("meanwhile", ["changed", "disabled"])
async def test_a_sign_in_that_is_overtaken_by_a_change_leaves_no_session(
    house: House, rows: Rows, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    passwords = Passwords(CHEAP)
    verify = passwords.verify

    async def overtaken(stored: str | None, password: str) -> bool:
        answer = await verify(stored, password)
        if meanwhile == "changed":
            await house.credentials.replace_password(house.ann.id, ANOTHER)
        else:
            await house.users.set_active(house.ann.id, is_active=False)
        return answer

    accounts = house.accounts
    monkeypatch.setattr(accounts, "_passwords", passwords)
    monkeypatch.setattr(passwords, "verify", overtaken)
    with pytest.raises(Unauthenticated):
        await accounts.sign_in("ann", RIGHT, HOME)
    assert await rows.value("SELECT count(*) FROM user_sessions WHERE ended_at IS NULL") == 0
    assert await house.reasons("user.sign_in") == ["the password was changed, or the user disabled, meanwhile"]


async def test_the_first_link_is_made_once_at_most_while_it_holds(house: House, rows: Rows) -> None:
    store = PostgresCredentials(house.database)

    async def first() -> str | None:
        link = await store.add_first_link("owner", new_token(LinkPurpose.SETUP.token_kind))
        return None if link is None else link.token.text

    made = await asyncio.gather(*(first() for _ in range(5)))
    (link,) = [one for one in made if one is not None]
    await later(rows, timedelta(days=1), "one_time_links.expires_at")
    again = await first()
    assert again is not None
    assert again != link
    await house.accounts.set_password(again, RIGHT, HOME)
    await later(rows, timedelta(days=9), "one_time_links.expires_at")
    assert await first() is None
    assert await store.add_first_link("nobody", new_token(LinkPurpose.SETUP.token_kind)) is None


async def test_a_code_proves_an_address_once(house: House) -> None:
    code = (await house.identities.begin_email(house.ann.id, " Ann@Example.org")).digits
    await house.identities.verify_email(house.ann.id, EMAIL, f" {code} ")
    (identity,) = await house.identities.list_identities(house.ann.id)
    assert (identity.kind, identity.value) == (IdentityKind.EMAIL, EMAIL)
    with pytest.raises(Unauthenticated):
        await house.identities.verify_email(house.ann.id, EMAIL, code)
    assert await house.reasons("identity.verify") == ["used already"]
    assert code not in await house.whole_log()


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_a_code_is_tried_five_times_at_most(house: House) -> None:
    code = (await house.identities.begin_email(house.ann.id, EMAIL)).digits
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="this code is wrong"):
            await house.identities.verify_email(house.ann.id, EMAIL, wrong(code))
    with pytest.raises(Unauthenticated):
        await house.identities.verify_email(house.ann.id, EMAIL, code)
    assert await house.reasons("identity.verify") == ["wrong"] * 5 + ["tried too often"]
    assert await house.identities.list_identities(house.ann.id) == []


async def test_tries_at_the_same_time_are_counted_each(house: House) -> None:
    code = (await house.identities.begin_email(house.ann.id, EMAIL)).digits
    tries = (house.identities.verify_email(house.ann.id, EMAIL, wrong(code)) for _ in range(12))
    await asyncio.gather(*tries, return_exceptions=True)
    assert (await house.reasons("identity.verify")).count("wrong") == 5


async def test_of_two_uses_of_a_code_at_the_same_time_one_succeeds(house: House) -> None:
    code = (await house.identities.begin_email(house.ann.id, EMAIL)).digits
    uses = (house.identities.verify_email(house.ann.id, EMAIL, code) for _ in range(5))
    answers = await asyncio.gather(*uses, return_exceptions=True)
    assert sum(answer is None for answer in answers) == 1
    assert await house.reasons("identity.verify") == ["used already"] * 4


async def test_a_code_expires_after_ten_minutes_and_with_the_next_one(house: House, rows: Rows) -> None:
    first = (await house.identities.begin_email(house.ann.id, EMAIL)).digits
    second = (await house.identities.begin_email(house.ann.id, EMAIL)).digits
    if first != second:
        with pytest.raises(Unauthenticated):
            await house.identities.verify_email(house.ann.id, EMAIL, first)
    await later(rows, timedelta(minutes=10), "email_codes.expires_at")
    with pytest.raises(Unauthenticated):
        await house.identities.verify_email(house.ann.id, EMAIL, second)
    assert (await house.reasons("identity.verify"))[-1] == "expired"


async def test_a_code_is_good_for_its_own_user_and_address_alone(house: House) -> None:
    code = (await house.identities.begin_email(house.ann.id, EMAIL)).digits
    for user_id, email in ((OWNER, EMAIL), (house.ann.id, "ann@example.net")):
        with pytest.raises(Unauthenticated):
            await house.identities.verify_email(user_id, email, code)
    assert await house.reasons("identity.verify") == ["no code holds"] * 2


async def test_a_user_gets_five_codes_an_hour(house: House, rows: Rows) -> None:
    for _ in range(5):
        await house.identities.begin_email(house.ann.id, EMAIL)
    with pytest.raises(TemporaryFailure, match="at most 5 codes an hour"):
        await house.identities.begin_email(house.ann.id, "other@example.org")
    assert len(await house.refusals("identity.begin")) == 1
    await later(rows, timedelta(hours=1), "email_codes.created_at")
    await house.identities.begin_email(house.ann.id, EMAIL)


async def test_an_address_belongs_to_one_user(house: House) -> None:
    for user_id in (house.ann.id, OWNER):
        code = (await house.identities.begin_email(user_id, EMAIL)).digits
        if user_id == house.ann.id:
            await house.identities.verify_email(user_id, EMAIL, code)
    with pytest.raises(Conflict, match=r"ann@example\.org belongs to another user"):
        await house.identities.verify_email(OWNER, EMAIL, code)
    assert await house.identities.list_identities(OWNER) == []


async def test_a_link_makes_an_account_elsewhere_known_once(house: House) -> None:
    link = (await house.credentials.make_account_link(house.ann.id)).token.text
    telegram = IdentityKind.TELEGRAM
    await house.accounts.link_identity(link, telegram, "4711", HOME)
    with pytest.raises(Unauthenticated):
        await house.accounts.link_identity(link, telegram, "666", ELSEWHERE)
    assert [one.value for one in await house.identities.list_identities(house.ann.id)] == ["4711"]
    others = (await house.credentials.make_account_link(OWNER)).token.text
    with pytest.raises(Conflict, match="this telegram account belongs to another user"):
        await house.accounts.link_identity(others, telegram, "4711", HOME)
    await house.accounts.link_identity(others, telegram, "4712", HOME)
    assert len(await house.refusals("link.use")) == 2


def gated_credentials(house: House, caller: Caller) -> CredentialsService:
    return gated(house.credentials, caller, rights.CREDENTIALS, house.log)


async def test_only_administrators_make_links_and_passwords_of_others(house: House) -> None:
    ann = await known_caller(house.users, "ann", Origin.CLI)
    owner = await known_caller(house.users, "owner", Origin.CLI)
    for user_id in (OWNER, house.ann.id):
        with pytest.raises(Forbidden):
            await gated_credentials(house, ann).make_password_link(user_id)
        with pytest.raises(Forbidden):
            await gated_credentials(house, ann).replace_password(user_id, ANOTHER)
    with pytest.raises(Forbidden):
        await gated_credentials(house, ann).change_password(OWNER, "", ANOTHER)
    await gated_credentials(house, owner).replace_password(house.ann.id, ANOTHER)
    await gated_credentials(house, ann).change_password(house.ann.id, ANOTHER, RIGHT)


async def test_no_token_makes_other_ways_to_sign_in(house: House) -> None:
    token = (
        await house.tokens.add_token(OWNER, "all", [scope for scope in Scope if scope is not Scope.NOTIFY])
    ).token
    caller = await house.accounts.authenticate(token.text, HOME)
    for call in (
        gated_credentials(house, caller).replace_password(OWNER, ANOTHER),
        gated_credentials(house, caller).change_password(OWNER, RIGHT, ANOTHER),
        gated_credentials(house, caller).make_password_link(OWNER),
        gated_credentials(house, caller).make_account_link(OWNER),
        gated(house.tokens, caller, rights.TOKENS, house.log).add_token(OWNER, "more", ["view"]),
        gated(house.tokens, caller, rights.TOKENS, house.log).add_service_token("more", ["notify"]),
        gated(house.identities, caller, rights.IDENTITIES, house.log).begin_email(OWNER, EMAIL),
    ):
        with pytest.raises(Forbidden, match="a token may not do this"):
            await call
    assert len(await house.refusals("password")) == 4


async def test_a_viewer_has_no_tokens_and_nobody_revokes_those_of_others(house: House) -> None:
    made = await house.tokens.add_token(house.ann.id, "notebook", ["view"])
    await house.users.add("vic", Role.VIEWER)
    vic = gated(house.tokens, await known_caller(house.users, "vic", Origin.CLI), rights.TOKENS, house.log)
    with pytest.raises(Forbidden, match="only users of the role admin or trader may keep secrets"):
        await vic.add_token(vic_id := 3, "notebook", ["view"])
    with pytest.raises(Forbidden):
        await vic.revoke_token(house.ann.id, made.record.id)
    with pytest.raises(NotFound):
        await vic.revoke_token(vic_id, made.record.id)
    assert await house.is_let_in(made.token.text)
