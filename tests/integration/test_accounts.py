"""Signing in: who is let in, who is kept out, what each of them learns, and what the audit log has of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.accounts import CHEAP, ELSEWHERE, HOME, RIGHT, WRONG, House, a_house, later, spoilt
from tests.integration.conftest import OWNER, Rows

from atf.bootstrap.accounts import build_accounts
from atf.errors import Unauthenticated
from atf.security.accounts_service import ServiceCaller
from atf.security.audit import AuditFilter, AuditOutcome
from atf.security.caller import Origin, Stranger
from atf.security.password import HashCost, Passwords
from atf.security.role import Permission, Role
from atf.security.scope import Scope
from atf.security.tokens import TokenKind, new_token
from atf.security.user import Quotas, User, UserStatus
from atf.storage.database import Database

SECOND = timedelta(seconds=1)
NOBODY = User(0, "nobody", Role.VIEWER, UserStatus.DISABLED, Quotas(), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def house(database: Database) -> House:
    return await a_house(database)


async def test_the_right_password_gives_tokens_that_stand_for_the_user(house: House) -> None:
    signed_in = await house.accounts.sign_in(" ANN ", RIGHT, HOME)
    caller = await house.accounts.authenticate(signed_in.tokens.access.text, ELSEWHERE)
    assert (caller.user_id, caller.name, caller.role) == (house.ann.id, "ann", Role.TRADER)
    assert (caller.origin, caller.address, caller.scopes) == (Origin.API, ELSEWHERE.address, None)
    (entry,) = await house.log.entries(AuditFilter(action="user.sign_in"), limit=9)
    assert (entry.actor, entry.origin, entry.address) == ("ann", Origin.API, HOME.address)
    assert entry.outcome is AuditOutcome.DONE


async def test_all_who_are_refused_get_the_same_sentence_and_the_log_has_why(house: House) -> None:
    for name in ("bob", "cid", "dan"):
        await house.users.add(name, Role.TRADER)
    bob, dan = await house.users.find("bob"), await house.users.find("dan")
    assert bob is not None
    assert dan is not None
    await house.credentials.replace_password(bob.id, RIGHT)
    await house.users.set_active(bob.id, is_active=False)
    await house.credentials.replace_password(dan.id, RIGHT)
    for _ in range(5):
        await house.refused("dan", WRONG, ELSEWHERE)
    tries = [
        ("ann", WRONG),
        ("nobody", RIGHT),
        ("bob", RIGHT),
        ("cid", RIGHT),
        ("dan", RIGHT),
        ("", ""),
        ("\x00", ""),
    ]
    assert len({await house.refused(*each) for each in tries}) == 1
    reasons = (await house.reasons("user.sign_in"))[5:]
    assert reasons[:4] == [
        "wrong password",
        "there is no such user",
        "the user is disabled",
        "the user has no password",
    ]
    assert str(reasons[4]).startswith("locked out until 2")
    refusals = (await house.refusals("user.sign_in"))[5:]
    assert {(entry.actor, entry.origin, entry.address) for entry in refusals} == {
        ("(stranger)", Origin.API, HOME.address)
    }
    assert [entry.owner_id for entry in refusals[:2]] == [house.ann.id, None]


async def test_every_refusal_takes_one_comparison_and_the_same_statements(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = Passwords(CHEAP)
    accounts = build_accounts(house.database, passwords)
    compared = 0
    compare = passwords._is_right

    def counting(stored: str, given_password: bytes) -> bool:
        nonlocal compared
        compared += 1
        return compare(stored, given_password)

    monkeypatch.setattr(passwords, "_is_right", counting)
    transactions = 0
    begin = house.database.transaction

    def noting() -> object:
        nonlocal transactions
        transactions += 1
        return begin()

    monkeypatch.setattr(house.database, "transaction", noting)
    await house.users.set_active((await house.users.add("bob", Role.VIEWER)).id, is_active=False)
    await house.users.add("cid", Role.VIEWER)
    seen = set()
    for name in (
        "ann",
        "ann",
        "ann",
        "ann",
        "ann",
        "ann",
        "nobody",
        "bob",
        "cid",
        "?",
    ):  # ann is locked out at last
        before = (compared, transactions)
        with pytest.raises(Unauthenticated):
            await accounts.sign_in(name, WRONG, HOME)
        seen.add((compared - before[0], transactions - before[1]))
    assert seen == {(1, 3)}


async def test_the_log_has_neither_passwords_nor_tokens_nor_names_that_nobody_has(house: House) -> None:
    await house.refused("hunter2-typed-as-name", WRONG)
    await house.refused("ann", WRONG)
    signed_in = await house.sign_in()
    await house.accounts.refresh(signed_in.tokens.refresh.text, HOME)
    with pytest.raises(Unauthenticated):
        await house.accounts.refresh(signed_in.tokens.refresh.text, HOME)
    log = await house.whole_log()
    secrets = [
        RIGHT,
        WRONG,
        "hunter2",
        "argon2",
        signed_in.tokens.access.text[-43:],
        signed_in.tokens.refresh.text[-43:],
    ]
    assert [secret for secret in secrets if secret in log] == []


async def test_the_database_has_no_token_and_no_password(house: House, rows: Rows) -> None:
    signed_in = await house.sign_in()
    token = (await house.tokens.add_token(house.ann.id, "notebook", ["view"])).token
    link = await house.credentials.make_password_link(house.ann.id)
    secrets = (
        RIGHT,
        *(one.text[-43:] for one in (signed_in.tokens.access, signed_in.tokens.refresh, token, link.token)),
    )
    tables = await rows.column("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {"session_tokens", "api_tokens", "one_time_links", "user_passwords"} <= set(tables)
    for table in tables:
        whole = str(await rows.column(f"SELECT to_jsonb(t)::text FROM {table} t"))
        assert [secret for secret in secrets if secret in whole] == [], table


async def test_brute_force_is_locked_out_even_with_the_right_password(house: House, rows: Rows) -> None:
    await house.fail(5)
    await house.refused("ann", RIGHT)
    await house.refused("ann", RIGHT, ELSEWHERE)
    assert str((await house.reasons("user.sign_in"))[-1]).startswith("locked out until")
    await later(rows, 29 * SECOND, "sign_in_failures.last_failed_at")
    await house.refused("ann", RIGHT)
    await later(rows, 2 * SECOND, "sign_in_failures.last_failed_at")
    await house.fail(1)  # the next pause is twice as long
    await later(rows, 31 * SECOND, "sign_in_failures.last_failed_at")
    await house.refused("ann", RIGHT)
    await later(rows, 30 * SECOND, "sign_in_failures.last_failed_at")
    await house.sign_in()
    await house.fail(4)  # all was forgotten
    await house.sign_in()


async def test_an_address_that_tries_many_accounts_is_locked_out_and_others_are_not(
    house: House, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await house.refused(f"user{number}", WRONG)
    with monkeypatch.context() as patch:
        patch.setattr(Passwords, "verify", None)  # it costs us no more hashes
        await house.refused("ann", RIGHT)
    await house.refused("ann", RIGHT, Stranger(Origin.API, "::ffff:203.0.113.7"))
    await house.sign_in(ELSEWHERE)
    await later(rows, 31 * SECOND, "sign_in_failures.last_failed_at")
    await house.sign_in()


async def test_a_good_sign_in_gives_an_address_no_new_tries(house: House) -> None:
    """Or whoever has an account could guess at others between two sign-ins of their own."""
    for number in range(19):
        await house.refused(f"user{number}", WRONG)
    await house.sign_in()
    await house.sign_in()  # nor does it cost one
    await house.refused("nobody", WRONG)
    await house.refused("ann", RIGHT)
    assert str((await house.reasons("user.sign_in"))[-1]).startswith("locked out until")


async def test_many_guesses_at_the_same_time_are_no_way_around_the_lock(house: House) -> None:
    await asyncio.gather(*(house.refused("ann", WRONG) for _ in range(30)))
    reasons = await house.reasons("user.sign_in")
    assert reasons.count("wrong password") == 5
    assert len(reasons) == 30
    await house.refused("ann", RIGHT)


async def test_failures_of_yesterday_are_swept_out(house: House, rows: Rows) -> None:
    await house.fail(3)
    await later(rows, timedelta(days=1, seconds=1), "sign_in_failures.last_failed_at")
    await house.refused("nobody", WRONG, ELSEWHERE)
    subjects = await rows.column("SELECT subject FROM sign_in_failures ORDER BY 1")
    assert subjects == ["account:0", "address:198.51.100.9"]


async def test_a_password_is_hashed_again_when_the_cost_has_changed(house: House, rows: Rows) -> None:
    dearer = build_accounts(house.database, Passwords(HashCost(memory_kib=16, passes=2)))
    changes = "SELECT count(*) FROM audit_log WHERE object_type = 'password'"
    before = await rows.value(changes)
    await dearer.sign_in("ann", RIGHT, HOME)
    assert "m=16,t=2,p=1" in await rows.value("SELECT hash FROM user_passwords")
    await dearer.sign_in("ann", RIGHT, HOME)
    assert await rows.value(changes) == before  # it is the same password


async def test_an_access_token_holds_for_a_quarter_of_an_hour(house: House, rows: Rows) -> None:
    token = (await house.sign_in()).tokens.access.text
    await later(rows, timedelta(minutes=14, seconds=50), "session_tokens.expires_at")
    assert await house.is_let_in(token)
    await later(rows, 11 * SECOND, "session_tokens.expires_at")
    assert not await house.is_let_in(token)
    (refusal,) = await house.refusals("token.use")
    assert (refusal.detail, refusal.owner_id, refusal.address) == ("expired", house.ann.id, HOME.address)
    assert refusal.object_id == token[: -43 - 1]


async def test_who_is_disabled_is_out_at_once_and_stays_out_of_old_sessions(house: House) -> None:
    token = (await house.sign_in()).tokens.access.text
    api = (await house.tokens.add_token(house.ann.id, "notebook", ["view"])).token.text
    await house.users.set_active(house.ann.id, is_active=False)
    assert not await house.is_let_in(token)
    assert not await house.is_let_in(api)
    await house.users.set_active(house.ann.id, is_active=True)
    assert not await house.is_let_in(token)
    assert await house.is_let_in(api)


async def test_the_role_that_counts_is_the_one_of_now(house: House) -> None:
    token = (await house.sign_in()).tokens.access.text
    await house.users.set_role(house.ann.id, Role.VIEWER)
    assert (await house.accounts.authenticate(token, HOME)).role is Role.VIEWER


async def test_a_refresh_token_is_used_up_for_the_next_pair(house: House) -> None:
    first = await house.sign_in()
    second = await house.accounts.refresh(first.tokens.refresh.text, HOME)
    third = await house.accounts.refresh(second.tokens.refresh.text, HOME)
    for signed_in in (first, second, third):
        assert await house.is_let_in(signed_in.tokens.access.text)
    assert third.refresh_expires_at > first.refresh_expires_at


async def test_a_replayed_refresh_token_ends_the_session_for_everybody(house: House) -> None:
    stolen, other = await house.sign_in(), await house.sign_in()
    fresh = await house.accounts.refresh(stolen.tokens.refresh.text, HOME)
    with pytest.raises(Unauthenticated):
        await house.accounts.refresh(stolen.tokens.refresh.text, ELSEWHERE)
    assert not await house.is_let_in(fresh.tokens.access.text)
    with pytest.raises(Unauthenticated):
        await house.accounts.refresh(fresh.tokens.refresh.text, HOME)
    assert await house.is_let_in(other.tokens.access.text)
    found = [(one.detail, one.address, one.owner_id) for one in await house.refusals("session.refresh")]
    assert found == [
        ("used already", ELSEWHERE.address, house.ann.id),
        ("revoked", HOME.address, house.ann.id),
    ]


async def test_of_refreshes_at_the_same_time_one_succeeds_at_most(house: House) -> None:
    for _ in range(5):
        token = (await house.sign_in()).tokens.refresh.text
        answers = await asyncio.gather(
            *(house.accounts.refresh(token, HOME) for _ in range(5)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, Unauthenticated)]
        (won,) = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(refused) == 4
        assert not await house.is_let_in(won.tokens.access.text)


async def test_a_session_ends_after_ninety_days_however_often_it_is_refreshed(house: House, rows: Rows) -> None:
    signed_in = await house.sign_in()
    await later(rows, timedelta(days=80), "user_sessions.expires_at")
    fresh = await house.accounts.refresh(signed_in.tokens.refresh.text, HOME)
    assert fresh.refresh_expires_at < signed_in.refresh_expires_at
    await later(rows, timedelta(days=11), "user_sessions.expires_at", "session_tokens.expires_at")
    with pytest.raises(Unauthenticated):
        await house.accounts.refresh(fresh.tokens.refresh.text, HOME)
    await house.sign_in()
    assert await rows.value("SELECT count(*) FROM user_sessions") == 1


async def test_forged_tokens_are_refused_and_end_nothing(house: House) -> None:
    signed_in = await house.sign_in()
    await house.accounts.refresh(signed_in.tokens.refresh.text, HOME)
    for token in (spoilt(signed_in.tokens.refresh.text), new_token(TokenKind.REFRESH).text, "", "\ud800"):
        with pytest.raises(Unauthenticated):
            await house.accounts.refresh(token, ELSEWHERE)
    assert not await house.is_let_in(spoilt(signed_in.tokens.access.text))
    assert await house.is_let_in(signed_in.tokens.access.text)
    assert await house.reasons("session.refresh") == [
        "forged: the id is one of ours and the secret is not",
        "unknown",
        "no token of ours",
        "no token of ours",
    ]
    assert len(await house.refusals("token.use")) == 1


async def test_tokens_that_are_made_up_do_not_fill_the_audit_log(house: House) -> None:
    signed_in = await house.sign_in()
    for _ in range(25):
        assert not await house.is_let_in(new_token(TokenKind.API).text)
    assert len(await house.refusals("token.use")) == 20
    assert not await house.is_let_in(spoilt(signed_in.tokens.access.text))  # one of ours: always
    assert len(await house.refusals("token.use")) == 21


async def test_a_token_is_good_for_nothing_but_its_own_purpose(house: House) -> None:
    signed_in = await house.sign_in()
    link = await house.credentials.make_password_link(house.ann.id)
    service = (await house.tokens.add_service_token("worker", ["notify"])).token
    for token in (signed_in.tokens.refresh, link.token, service):
        assert not await house.is_let_in(token.text)
    for token in (signed_in.tokens.access, link.token, service):
        with pytest.raises(Unauthenticated):
            await house.accounts.refresh(token.text, HOME)
    for token in (signed_in.tokens.access, signed_in.tokens.refresh, service):
        with pytest.raises(Unauthenticated):
            await house.accounts.set_password(token.text, RIGHT, HOME)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(max_size=80), st.from_regex(r"atf_(access|api)_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", fullmatch=True)
    )
)
def test_fuzzed_tokens_are_refused_and_recorded(database_url: str, text: str) -> None:
    async def use() -> None:
        database = Database(database_url)
        house = House(database, NOBODY)
        before = len(await house.refusals("token.use"))
        with pytest.raises(Unauthenticated, match="this token does not hold"):
            await house.accounts.authenticate(text, HOME)
        after = await house.refusals("token.use")
        assert len(after) == before + 1
        assert after[-1].address == HOME.address
        await database.close()

    asyncio.run(use())


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_signing_out_ends_the_session_by_either_token(house: House, kind: str) -> None:
    signed_in = await house.sign_in()
    token = getattr(signed_in.tokens, kind).text
    await house.accounts.sign_out(token, HOME)
    assert not await house.is_let_in(signed_in.tokens.access.text)
    with pytest.raises(Unauthenticated):
        await house.accounts.refresh(signed_in.tokens.refresh.text, HOME)
    with pytest.raises(Unauthenticated):
        await house.accounts.sign_out(token, HOME)
    assert await house.reasons("user.sign_out") == ["revoked"]


async def test_an_api_token_has_its_scopes_and_tells_when_it_was_used(house: House) -> None:
    made = await house.tokens.add_token(house.ann.id, "notebook", ["view", "edit"], 30)
    assert made.record.expires_at - made.record.created_at == timedelta(days=30)
    assert made.record.last_used_at is None
    assert made.token.text.startswith(made.record.shown)
    caller = await house.accounts.authenticate(made.token.text, HOME)
    assert caller.scopes == frozenset({Scope.VIEW, Scope.EDIT})
    assert [one for one in Permission if caller.may(one)] == [Permission.VIEW, Permission.EDIT]
    (record,) = await house.tokens.list_tokens(house.ann.id)
    assert record.last_used_at is not None
    assert await house.tokens.list_tokens(OWNER) == []


async def test_an_api_token_ends_when_it_is_revoked_or_expires(house: House, rows: Rows) -> None:
    first, second = [await house.tokens.add_token(house.ann.id, name, ["view"], 1) for name in ("a", "b")]
    ended = await house.tokens.revoke_token(house.ann.id, first.record.shown)
    again = await house.tokens.revoke_token(house.ann.id, first.record.id)
    assert ended.revoked_at == again.revoked_at
    assert not await house.is_let_in(first.token.text)
    assert await house.is_let_in(second.token.text)
    await later(rows, timedelta(days=1), "api_tokens.expires_at")
    assert not await house.is_let_in(second.token.text)
    assert await house.reasons("token.use") == ["revoked", "expired"]
    changes = await rows.column(
        "SELECT action FROM audit_log WHERE object_type = 'token' AND outcome = 'done' ORDER BY id"
    )
    assert changes == ["token.create", "token.create", "token.update"]


async def test_a_service_token_needs_the_scope_and_is_nobody(house: House) -> None:
    made = await house.tokens.add_service_token("worker-2", ["notify"])
    service = await house.accounts.authenticate_service(made.token.text, Scope.NOTIFY, HOME)
    assert service == ServiceCaller("worker-2", frozenset({Scope.NOTIFY}))
    with pytest.raises(Unauthenticated):
        await house.accounts.authenticate_service(made.token.text, Scope.ADMINISTER, HOME)
    with pytest.raises(Unauthenticated):
        await house.accounts.authenticate(made.token.text, HOME)
    api = (await house.tokens.add_token(house.ann.id, "notebook", ["view"])).token
    with pytest.raises(Unauthenticated):
        await house.accounts.authenticate_service(api.text, Scope.VIEW, HOME)
    reasons = await house.reasons("token.use")
    assert reasons == ["it lacks the scope administer", "no token of ours", "no token of ours"]
    await house.tokens.revoke_service_token(made.record.id)
    with pytest.raises(Unauthenticated):
        await house.accounts.authenticate_service(made.token.text, Scope.NOTIFY, HOME)
