import pytest

from atf.errors import Forbidden, InvalidInput
from atf.security.audit import AuditEvent, AuditOutcome
from atf.security.caller import Caller, Origin
from atf.security.gate import Right, Rights, first_argument, gated
from atf.security.role import Permission, Role, permits
from atf.security.scope import OF_SERVICES, OF_USERS, Scope, checked_scopes, scope_of


def caller(role: Role, *scopes: Scope) -> Caller:
    return Caller(7, "ann", role, Origin.API, "203.0.113.7", frozenset(scopes))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("scope", Scope)
def test_a_token_permits_what_both_its_scope_and_the_role_do(
    role: Role, permission: Permission, scope: Scope
) -> None:
    allowed = permits(role, permission) and scope_of(permission) is scope
    assert caller(role, scope).may(permission) is allowed
    if allowed:
        caller(role, scope).require(permission)
    else:
        with pytest.raises(Forbidden):
            caller(role, scope).require(permission)


def test_without_scopes_the_role_alone_counts() -> None:
    person = Caller(7, "ann", Role.TRADER, Origin.API)
    assert [one for one in Permission if person.may(one)] == [
        one for one in Permission if permits(Role.TRADER, one)
    ]
    assert not any(caller(Role.ADMIN).may(permission) for permission in Permission)  # no scope at all


def test_an_administrator_s_token_sees_others_only_with_that_scope() -> None:
    caller(Role.ADMIN, Scope.VIEW, Scope.ADMINISTER).require_own(8)
    with pytest.raises(Forbidden, match="only see and change what is ann's own"):
        caller(Role.ADMIN, Scope.VIEW).require_own(8)


def test_what_a_token_lacks_is_named() -> None:
    with pytest.raises(Forbidden, match="this token of ann lacks the scope edit"):
        caller(Role.TRADER, Scope.VIEW).require(Permission.EDIT)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["view", "rule"], 'scopes: must be of view, edit, act, secrets, administer, got "rule"'),
        (["notify"], 'scopes: must be of view, edit, act, secrets, administer, got "notify"'),
        ([], "scopes: name one at least of view, edit, act, secrets, administer"),
        (["", " "], "scopes: name one at least of view, edit, act, secrets, administer"),
    ],
)
def test_scopes_that_are_none_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_scopes(names, OF_USERS)
    assert str(refused.value) == sentence


def test_scopes_are_read_in_any_case_and_order() -> None:
    assert checked_scopes([" EDIT", "view", "view"], OF_USERS) == {Scope.VIEW, Scope.EDIT}
    assert checked_scopes(["notify"], OF_SERVICES) == {Scope.NOTIFY}


class Doors:
    async def open(self, user_id: int) -> str:
        return f"opened {user_id}"


class Noted:
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)


async def test_the_gate_lets_no_token_do_what_is_for_persons_and_records_it() -> None:
    rights = Rights("door", {"open": Right(Permission.VIEW, first_argument, by_person=True)})
    log = Noted()
    token = gated(Doors(), caller(Role.ADMIN, *Scope), rights, log)
    with pytest.raises(Forbidden, match="a token may not do this for ann"):
        await token.open(7)
    assert [(event.action, event.outcome) for event in log.events] == [("door.open", AuditOutcome.REFUSED)]
    person = gated(Doors(), Caller(7, "ann", Role.VIEWER, Origin.API), rights, log)
    assert await person.open(7) == "opened 7"
