"""AccountsService: finds out who somebody is. Strangers call it, so nothing here is behind the gate.

Who is refused learns nothing but that: why, and whether there is such a user, is for the audit log alone, where
every refusal is recorded with the address. A try counts as a failure before the password is looked at, so that
many tries at the same time are no way around the lock-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from atf.clock import Clock
from atf.errors import Conflict, InvalidInput, Unauthenticated
from atf.security.account_store import NOBODY, Account, AccountStore, CountedTry, TokenOwner
from atf.security.audit import AuditEvent, AuditLog, AuditOutcome
from atf.security.caller import Caller, Stranger, acting
from atf.security.lockout import address_group
from atf.security.one_time import PASSWORD_PURPOSES, IdentityKind, LinkPurpose
from atf.security.password import Passwords, checked_password
from atf.security.refusal_budget import RefusalBudget
from atf.security.scope import Scope
from atf.security.session import SignedIn, TokenPair, TokenState
from atf.security.tokens import Token, TokenKind, new_token, parse_token
from atf.security.user import User, UserStatus, checked_name

_NOT_SIGNED_IN: Final = (
    "the name or the password is wrong, or it was tried too often: "
    "wait a while, or ask an administrator for a link"
)
_NO_TOKEN: Final = "this token does not hold: sign in again, or use another one"  # noqa: S105 - a sentence
_WORTHLESS: Final = frozenset({TokenState.NONE, TokenState.UNKNOWN})
_NO_LINK: Final = "this link does not hold: it was used, replaced or is too old; ask for a new one"


@dataclass(frozen=True, slots=True)
class ServiceCaller:
    """A service that is known, and what its token permits."""

    name: str
    scopes: frozenset[Scope]


class AccountsService:
    """Signs users in and out, and says whose a token is."""

    def __init__(self, store: AccountStore, passwords: Passwords, log: AuditLog, clock: Clock) -> None:
        self._store = store
        self._passwords = passwords
        self._log = log
        self._clock = clock
        self._budget = RefusalBudget()

    async def sign_in(self, name: str, password: str, stranger: Stranger) -> SignedIn:
        """Begin a session.

        Errors: Unauthenticated, the same one after the same time for a wrong password, an unknown, disabled or
                locked-out user.
        """
        account = await self._store.find_account(_spelled(name))
        user_id = account.user.id if account else NOBODY
        counted = await self._store.count_try(user_id, address_group(stranger.address))
        stored = account.password_hash if account else None
        # A locked address learns nothing of accounts by being quickly refused, and costs no more.
        is_right = not counted.is_address_locked and await self._passwords.verify(stored, password)
        reason = _reason(account, counted, is_right=is_right)
        if reason is None and account is not None and stored is not None:
            signed_in = await self._begin(account.user, stored, stranger)
            if signed_in is not None:
                await self._store.forgive(counted)
                await self._renew_hash(account.user.id, stored, password)
                return signed_in
        await self._refuse(
            "user.sign_in",
            stranger,
            account,
            reason or "the password was changed, or the user disabled, meanwhile",
        )
        raise Unauthenticated(_NOT_SIGNED_IN)

    async def refresh(self, text: str, stranger: Stranger) -> SignedIn:
        """Return a new pair of tokens for a refresh token, which is used up by that.

        Errors: Unauthenticated; a token that was used already has ended its session, for whoever else has it.
        """
        token = parse_token(text, TokenKind.REFRESH)
        owner, signed_in = TokenOwner(TokenState.NONE), None
        if token is not None:
            owner, signed_in = await self._store.rotate(token, _new_pair())
        if signed_in is None:
            raise await self._refused_token("session.refresh", token, owner, stranger)
        return signed_in

    async def sign_out(self, text: str, stranger: Stranger) -> None:
        """End the session of an access or refresh token. Errors: Unauthenticated."""
        token = parse_token(text, TokenKind.ACCESS, TokenKind.REFRESH)
        owner = TokenOwner(TokenState.NONE) if token is None else await self._store.end_session(token)
        caller = _caller(owner, stranger)
        if caller is None:
            raise await self._refused_token("user.sign_out", token, owner, stranger)
        with acting(caller):
            await self._log.record(_done("user.sign_out", caller.user_id))

    async def authenticate(self, text: str, stranger: Stranger) -> Caller:
        """Return the user of an access or API token, with the role that counts now.

        Errors: Unauthenticated.
        """
        token = parse_token(text, TokenKind.ACCESS, TokenKind.API)
        owner = TokenOwner(TokenState.NONE) if token is None else await self._store.owner_of(token)
        caller = _caller(owner, stranger)
        if caller is None:
            raise await self._refused_token("token.use", token, owner, stranger)
        return caller

    async def authenticate_service(self, text: str, needed: Scope, stranger: Stranger) -> ServiceCaller:
        """Return the service of a service token that has a scope; users' tokens are none.

        Errors: Unauthenticated.
        """
        token = parse_token(text, TokenKind.SERVICE)
        owner = TokenOwner(TokenState.NONE) if token is None else await self._store.owner_of(token)
        scopes = owner.scopes or frozenset()
        if owner.state is TokenState.GOOD and needed in scopes:
            return ServiceCaller(owner.name, scopes)
        lacking = f"it lacks the scope {needed}" if owner.state is TokenState.GOOD else None
        raise await self._refused_token("token.use", token, owner, stranger, lacking)

    async def set_password(self, text: str, password: str, stranger: Stranger) -> None:
        """Set the password of who has a link for it; the user's sessions and other links end.

        Errors: Unauthenticated if the link does not hold; InvalidInput at the password, and the link still does.
        """
        kinds = [purpose.token_kind for purpose in PASSWORD_PURPOSES]
        token, caller = await self._link_user(text, kinds, stranger)
        hashed = await self._passwords.hash(checked_password(password))
        with acting(caller):
            state = await self._store.set_password_by(token, hashed)
        await self._require_used(token, state, caller, stranger)

    async def link_identity(self, text: str, kind: IdentityKind, value: str, stranger: Stranger) -> None:
        """Remember what else the user of a link is known by, such as a chat.

        Errors: Unauthenticated if the link does not hold; Conflict if another user is known by it.
        """
        token, caller = await self._link_user(text, [LinkPurpose.LINK.token_kind], stranger)
        try:
            with acting(caller):
                state = await self._store.add_identity_by(token, kind, value)
        except Conflict as exc:
            await self._log.record(_refused("link.use", stranger, caller.user_id, str(exc), token.shown))
            raise
        await self._require_used(token, state, caller, stranger)

    async def _begin(self, user: User, stored: str, stranger: Stranger) -> SignedIn | None:
        tokens = _new_pair()
        expiries = await self._store.open_session(user.id, stored, stranger, tokens)
        if expiries is None:
            return None
        with acting(Caller(user.id, user.name, user.role, stranger.origin, stranger.address)):
            await self._log.record(_done("user.sign_in", user.id))
        return SignedIn(user.id, user.name, tokens, *expiries)

    async def _renew_hash(self, user_id: int, stored: str, password: str) -> None:
        """Hash a password again if it was done at another cost than is usual now."""
        if self._passwords.is_outdated(stored):
            await self._store.rehash(user_id, stored, await self._passwords.hash(password))

    async def _link_user(self, text: str, kinds: Sequence[TokenKind], stranger: Stranger) -> tuple[Token, Caller]:
        token = parse_token(text, *kinds)
        owner = TokenOwner(TokenState.NONE) if token is None else await self._store.owner_of_link(token)
        caller = _caller(owner, stranger)
        if token is None or caller is None:
            raise await self._refused_token("link.use", token, owner, stranger)
        return token, caller

    async def _require_used(self, token: Token, state: TokenState, caller: Caller, stranger: Stranger) -> None:
        """Refuse a link that somebody else was faster with."""
        if state is not TokenState.GOOD:
            owner = TokenOwner(state, caller.user_id)
            raise await self._refused_token("link.use", token, owner, stranger)

    async def _refused_token(
        self, action: str, token: Token | None, owner: TokenOwner, stranger: Stranger, reason: str | None = None
    ) -> Unauthenticated:
        """Record a refusal and return what the stranger is told; of what anybody can make up only so many."""
        token_shown = None if token is None else token.shown
        detail: str | None = reason or str(owner.state)
        if owner.state in _WORTHLESS:
            left_out = self._budget.spend(address_group(stranger.address), self._clock.now())
            detail = None if left_out is None else f"{detail}{_and_more(left_out)}"
        if detail is not None:
            await self._log.record(_refused(action, stranger, owner.user_id, detail, token_shown))
        return Unauthenticated(_NO_LINK if action == "link.use" else _NO_TOKEN)

    async def _refuse(self, action: str, stranger: Stranger, account: Account | None, reason: str) -> None:
        owner_id = account.user.id if account else None
        object_id = None if owner_id is None else str(owner_id)
        event = AuditEvent(action, AuditOutcome.REFUSED, "user", object_id, owner_id, reason, stranger)
        await self._log.record(event)


def _and_more(left_out: int) -> str:
    return f" ({left_out} more from there are not recorded one by one)" if left_out else ""


def _spelled(name: str) -> str:
    """Return the one spelling of a name, or of a name that nobody can have."""
    try:
        return checked_name(name)
    except InvalidInput:
        return ""


def _reason(account: Account | None, counted: CountedTry, *, is_right: bool) -> str | None:
    """Return why somebody may not sign in; what was typed as a name is left out, as it may be a password."""
    if counted.locked_until is not None:
        return f"locked out until {counted.locked_until:%Y-%m-%d %H:%M:%SZ}"
    if account is None:
        return "there is no such user"
    if account.user.status is not UserStatus.ACTIVE:
        return f"the user is {account.user.status}"
    if account.password_hash is None:
        return "the user has no password"
    return None if is_right else "wrong password"


def _new_pair() -> TokenPair:
    return TokenPair(new_token(TokenKind.ACCESS), new_token(TokenKind.REFRESH))


def _caller(owner: TokenOwner, stranger: Stranger) -> Caller | None:
    if owner.state is not TokenState.GOOD or owner.user_id is None or owner.role is None:
        return None
    return Caller(owner.user_id, owner.name, owner.role, stranger.origin, stranger.address, owner.scopes)


def _done(action: str, user_id: int) -> AuditEvent:
    return AuditEvent(action, AuditOutcome.DONE, "user", str(user_id), user_id)


def _refused(
    action: str, stranger: Stranger, owner_id: int | None, detail: str, token_shown: str | None
) -> AuditEvent:
    return AuditEvent(action, AuditOutcome.REFUSED, "token", token_shown, owner_id, detail, stranger)
