from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.schedules.misfire import CAP, DueInstants, MisfirePolicy, MisfireRule, Missed, MissedReason, Plan, plan

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRACE = timedelta(seconds=30)


def rule(policy: str, *, grace: timedelta = GRACE, coalesce: bool = False, is_alert: bool = False) -> MisfireRule:
    return MisfireRule(is_alert, MisfirePolicy(policy), grace, coalesce)


def due(*minutes_ago: int) -> DueInstants:
    instants = tuple(sorted(NOON - ago * MINUTE for ago in minutes_ago))
    return DueInstants(len(instants), instants[0], instants[-CAP - 1 :])


def planned(of: MisfireRule, instants: DueInstants, now: datetime = NOON, cap: int = CAP) -> Plan:
    return plan(of, instants, lambda instant: now - instant, cap)


def ago(*minutes: int) -> tuple[datetime, ...]:
    return tuple(NOON - n * MINUTE for n in minutes)


def gap(count: int, first: int, last: int, reason: MissedReason) -> Missed:
    return Missed(count, NOON - first * MINUTE, NOON - last * MINUTE, reason)


def test_skip_fires_only_the_newest_and_only_within_the_grace_time() -> None:
    assert planned(rule("skip"), due(0)) == Plan(ago(0), None)
    assert planned(rule("skip"), due(0, 1, 2)) == Plan(ago(0), gap(2, 2, 1, MissedReason.LATE))
    assert planned(rule("skip"), due(1, 2)) == Plan((), gap(2, 2, 1, MissedReason.LATE))


def test_run_once_fires_the_newest_however_late() -> None:
    assert planned(rule("run_once"), due(600)) == Plan(ago(600), None)
    assert planned(rule("run_once"), due(5, 6, 9)) == Plan(ago(5), gap(2, 9, 6, MissedReason.COALESCED))


def test_run_all_fires_each_within_the_grace_time() -> None:
    wide = rule("run_all", grace=3 * MINUTE)
    assert planned(wide, due(0, 1, 2, 3)) == Plan(ago(3, 2, 1, 0), None)
    assert planned(wide, due(1, 3, 4, 5)) == Plan(ago(3, 1), gap(2, 5, 4, MissedReason.LATE))
    assert planned(wide, due(4, 5)) == Plan((), gap(2, 5, 4, MissedReason.LATE))


def test_the_grace_time_itself_is_still_in_time() -> None:
    assert planned(rule("run_all"), due(0), NOON + GRACE).fires == ago(0)
    assert planned(rule("run_all"), due(0), NOON + GRACE + timedelta(microseconds=1)).fires == ()


def test_run_all_with_coalesce_fires_the_newest_within_the_grace_time() -> None:
    one = rule("run_all", grace=3 * MINUTE, coalesce=True)
    assert planned(one, due(0, 1, 2)) == Plan(ago(0), gap(2, 2, 1, MissedReason.COALESCED))
    assert planned(one, due(0, 4)) == Plan(ago(0), gap(1, 4, 4, MissedReason.LATE))
    assert planned(one, due(4)) == Plan((), gap(1, 4, 4, MissedReason.LATE))


def test_run_all_fires_at_most_the_cap() -> None:
    wide = rule("run_all", grace=9 * MINUTE)
    assert planned(wide, due(0, 1, 2), cap=3) == Plan(ago(2, 1, 0), None)
    assert planned(wide, due(0, 1, 2, 3), cap=3) == Plan(ago(2, 1, 0), gap(1, 3, 3, MissedReason.CAPPED))


def test_late_is_said_before_capped() -> None:
    assert planned(rule("run_all", grace=4 * MINUTE), due(0, 1, 2, 5), cap=2).missed == gap(
        2, 5, 2, MissedReason.LATE
    )


@pytest.mark.parametrize("policy", list(MisfirePolicy))
@pytest.mark.parametrize("coalesce", [True, False])
def test_alerts_run_once_whatever_they_say(policy: str, coalesce: bool) -> None:
    alert = rule(policy, coalesce=coalesce, is_alert=True)
    assert planned(alert, due(7, 8)) == Plan(ago(7), gap(1, 8, 8, MissedReason.COALESCED))


def test_a_gap_of_months_is_a_count_with_two_ends() -> None:
    kept = ago(*range(CAP, -1, -1))
    months = DueInstants(1_000_000, NOON - timedelta(days=300), kept)
    assert planned(rule("run_all", grace=timedelta(days=999)), months) == Plan(
        kept[1:], Missed(1_000_000 - CAP, months.first, kept[0], MissedReason.CAPPED)
    )


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=150, unique=True),
    st.sampled_from(list(MisfirePolicy)),
    st.integers(0, 500),
    st.booleans(),
    st.booleans(),
    st.integers(1, CAP),
)
def test_every_due_instant_fires_or_is_missed(
    minutes: list[int], policy: str, grace: int, coalesce: bool, is_alert: bool, cap: int
) -> None:
    one = rule(policy, grace=grace * MINUTE, coalesce=coalesce, is_alert=is_alert)
    instants = due(*minutes)
    result = planned(one, instants, cap=cap)
    missed = result.missed.count if result.missed else 0
    assert len(result.fires) + missed == len(minutes)
    assert result.fires == instants.newest[len(instants.newest) - len(result.fires) :]
    if result.missed:
        assert result.missed.first == instants.first <= result.missed.last
        assert not result.fires or result.missed.last < result.fires[0]
