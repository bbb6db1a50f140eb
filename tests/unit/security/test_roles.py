"""Roles, names and quotas: what is allowed, and what is said otherwise."""

from __future__ import annotations

import pytest

from atf.errors import Forbidden, InvalidInput
from atf.security.caller import Caller, Origin, acting, acting_caller
from atf.security.role import Permission, Role, permits, roles_with
from atf.security.user import Quotas, checked_name, checked_role


def caller(role: Role, user_id: int = 7) -> Caller:
    return Caller(user_id, "ann", role, Origin.CLI)


def test_each_role_may_what_those_below_it_may() -> None:
    permitted = [{one for one in Permission if permits(role, one)} for role in Role]
    assert permitted[0] > permitted[1] > permitted[2] == {Permission.VIEW}
    assert permitted[0] == set(Permission)


def test_only_administrators_administer() -> None:
    assert roles_with(Permission.ADMINISTER) == (Role.ADMIN,)


def test_who_may_not_is_told_who_may() -> None:
    with pytest.raises(Forbidden, match=r"^ann is a viewer, and only users of .* admin or trader may edit$"):
        caller(Role.VIEWER).require(Permission.EDIT)


@pytest.mark.parametrize("role", [Role.TRADER, Role.VIEWER])
def test_what_is_anothers_is_refused_to_all_but_administrators(role: Role) -> None:
    caller(role).require_own(7)
    with pytest.raises(Forbidden, match=r"^ann may only see and change what is ann's own$"):
        caller(role).require_own(8)
    caller(Role.ADMIN).require_own(8)


def test_a_caller_acts_within_the_block_alone() -> None:
    assert acting_caller() is None
    with acting(caller(Role.TRADER)) as _, acting(caller(Role.ADMIN, 1)):
        assert acting_caller() == caller(Role.ADMIN, 1)
    assert acting_caller() is None


@pytest.mark.parametrize(("given", "name"), [("Ann", "ann"), (" a.b-c_9 ", "a.b-c_9"), ("a" * 32, "a" * 32)])
def test_names_have_one_spelling(given: str, name: str) -> None:
    assert checked_name(given) == name


@pytest.mark.parametrize("name", ["", "a" * 33, "ann smith", "-ann", "änn", "an\nn", "a/b", "a;b", "ann\0"])
def test_names_that_could_be_mistaken_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^name: must be 1 to 32 letters"):
        checked_name(name)


def test_an_unknown_role_is_answered_with_those_there_are() -> None:
    assert checked_role("Trader ") is Role.TRADER
    with pytest.raises(InvalidInput, match=r'^role: must be one of admin, trader, viewer, got "root"$'):
        checked_role("root")


@pytest.mark.parametrize("amount", [-1, 2**31])
def test_amounts_that_nobody_can_have_are_refused(amount: int) -> None:
    with pytest.raises(InvalidInput, match=r"^alerts: must be from 0 to 2147483647"):
        Quotas(alerts=amount)
