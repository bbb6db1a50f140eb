"""Who may hand over messages, by the token of a call: services for everybody, users for themselves."""

from __future__ import annotations

from collections.abc import Sequence

from atf.errors import AtfError, Unauthenticated
from atf.gathering import Gathering
from atf.security.accounts_service import AccountsService, ServiceCaller
from atf.security.caller import Caller, Stranger
from atf.security.role import Permission
from atf.security.scope import Scope
from atf.security.tokens import TokenKind, parse_token

Known = Caller | ServiceCaller
_Question = tuple[str, Stranger]


class NotifyAccess:
    """Looks tokens up, those of calls that come together together; one that is revoked is refused at once."""

    def __init__(self, accounts: AccountsService) -> None:
        self._accounts = accounts
        self._gathering: Gathering[_Question, Known] = Gathering(self._look_up)

    async def caller(self, token: str | None, stranger: Stranger) -> Known:
        """Return who calls. Errors: Unauthenticated."""
        if not token:
            raise Unauthenticated("a token is needed: Authorization: Bearer TOKEN; `atf tokens add` makes one")
        return await self._gathering.ask((token, stranger))

    async def _look_up(self, questions: Sequence[_Question]) -> Sequence[Known | Exception]:
        found: dict[_Question, Known | Exception] = {}
        for question in dict.fromkeys(questions):
            try:
                found[question] = await self._known(*question)
            except AtfError as exc:
                found[question] = exc
        return [found[question] for question in questions]

    async def _known(self, token: str, stranger: Stranger) -> Known:
        if parse_token(token, TokenKind.SERVICE) is not None:
            return await self._accounts.authenticate_service(token, Scope.NOTIFY, stranger)
        return await self._accounts.authenticate(token, stranger)


def require_may_notify(caller: Known, user_id: int) -> None:
    """Do nothing if the caller may hand over messages to a user. Errors: Forbidden."""
    if isinstance(caller, Caller):
        caller.require(Permission.EDIT)
        caller.require_own(user_id)
