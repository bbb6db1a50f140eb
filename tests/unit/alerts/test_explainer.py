"""A stored alert, explained from its bars and what is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.alert_steps import evaluated
from tests.alert_traces import ABOVE_5, BEGIN, HOUR, bars_of

from atf.alerts.alert import compile_alert, fresh_state
from atf.alerts.alert_message import trigger_key
from atf.alerts.alerts_service import AlertRecord, TriggerRecord
from atf.alerts.explained import Explained
from atf.alerts.explainer import AlertExplainer
from atf.alerts.past_bars import PastBars
from atf.alerts.state import AlertState, AlertStatus, Gate
from atf.errors import NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.testing.clocks import FakeMarketClock
from atf.testing.market import MemoryBarStore, ScriptedProvider, open_market

SERIES = Series("T", Timeframe.H1)
CLOSES: list[float | None] = [4, 6, 4, 6, 6, 4, 4, 6]


@dataclass
class Records:
    """One alert as it is on record."""

    config: dict[str, Any] = field(default_factory=lambda: {"ticker": "T", "timeframe": "1h", "rule": ABOVE_5})
    created_at: datetime = BEGIN + 2 * HOUR
    enabled: bool = True
    state: AlertState | None = None
    recorded: list[TriggerRecord] = field(default_factory=list)
    kept: bytes | None = None

    def judge(self, bars: Bars) -> None:
        """Evaluate as a worker does, and keep what it leaves."""
        alert = compile_alert(self.config)
        state = self.state or fresh_state(alert, self.created_at)
        step = evaluated(alert, state, bars, bars.time_at(len(bars) - 1) + HOUR)
        self.state, self.kept = step.state, step.kept
        for one in step.triggers:
            key = trigger_key(1, alert.rule_hash, one.bar_time)
            at = one.bar_time + HOUR
            self.recorded.insert(0, TriggerRecord(one.bar_time, one.number, key, one.readings, one.is_late, at))

    async def get(self, user_id: int, alert_id: int) -> AlertRecord:
        if alert_id != 1:
            raise NotFound(f"there is no alert {alert_id}")
        return AlertRecord(
            1, user_id, "T 1h", self.config, "0 * * * *", "UTC", self.enabled, self.created_at, None, self._json()
        )

    async def last_seen(self, stored: AlertRecord) -> bytes | None:
        return self.kept

    async def triggers(self, user_id: int, alert_id: int, limit: int = 20) -> Sequence[TriggerRecord]:
        return self.recorded[:limit]

    def _json(self) -> dict[str, Any] | None:
        """The state as the database's view shows it."""
        if self.state is None:
            return None
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self.state).items()
        }


async def explain(
    records: Records, bars: Bars, at: datetime | None = None, *, alert_id: int = 1, now: datetime | None = None
) -> Explained:
    store = MemoryBarStore()
    store.bars[SERIES] = bars
    now = now or BEGIN + len(bars) * HOUR
    explainer = AlertExplainer(records, PastBars(open_market(store=store), store), FakeMarketClock(now))
    return await explainer.explain(1, alert_id, at)


async def test_the_newest_evaluated_bar_is_explained_and_agrees_with_what_is_stored() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars)
    found = await explain(records, bars)
    assert found.bar.open_time == BEGIN + 7 * HOUR
    assert found.bar.is_triggered
    assert found.bar.after.trigger_count == 2
    decided = "On record: trigger 2, decided 2027-03-01 08:00Z; close = 6."
    assert list(found.remarks()) == [decided]
    assert found.as_text().splitlines()[:3] == [
        "alert 1, T 1h",
        "T 1h, bar of 2027-03-01 07:00Z, closed 2027-03-01 08:00Z",
        "Triggered, for the 2nd time.",
    ]
    document = found.as_json()
    assert (document["id"], document["preview"], document["stored_state"]) == (1, False, document["after"])
    assert [one["number"] for one in document["recorded_triggers"]] == [2]
    assert document["remarks"] == [decided]


async def test_any_instant_of_a_bar_means_that_bar() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars)
    for at in (BEGIN + 4 * HOUR, BEGIN + 4.99 * HOUR):
        found = await explain(records, bars, at)
        assert found.bar.open_time == BEGIN + 4 * HOUR
        assert not found.bar.is_triggered
        assert list(found.remarks()) == []
        assert found.as_json()["stored_state"] is None


async def test_a_revised_bar_is_told_apart_from_what_was_decided_then() -> None:
    records = Records()
    records.judge(bars_of(CLOSES))
    revised = bars_of([*CLOSES[:-1], 4])
    remarks = list((await explain(records, revised)).remarks())
    why = "the bars may have been revised since, or the alert was paused or edited in between"
    assert remarks == [
        "On record: trigger 2, decided 2027-03-01 08:00Z; close = 6.",
        "As the alert looked at this bar, it saw:\ntrue     close > 5   (close = 6)",
        f"The bars as they are now would not trigger: {why}.",
        "The stored state differs, status TRIGGERED instead of ARMED, gate closed instead of open, "
        f"last trigger 2027-03-01 07:00Z instead of 2027-03-01 03:00Z: {why}.",
    ]
    records.recorded.clear()
    remarks = list((await explain(records, bars_of(CLOSES), BEGIN + 3 * HOUR)).remarks())
    assert remarks == [f"No trigger is on record for this bar: {why}."]


async def test_a_bar_that_was_revised_after_it_was_judged_without_a_trigger_shows_both_trees() -> None:
    records = Records()
    records.judge(bars_of([*CLOSES[:-1], 3]))
    found = await explain(records, bars_of([*CLOSES[:-1], 4]))
    assert "close = 4" in found.as_text()
    looked = "As the alert looked at this bar, it saw:\nfalse    close > 5   (close = 3)"
    assert list(found.remarks()) == [looked]
    assert found.as_json()["stored_rule"]["values"] == {"close": 3, "5": 5}
    as_judged = await explain(records, bars_of([*CLOSES[:-1], 3]))
    assert list(as_judged.remarks()) == []
    assert as_judged.as_json()["stored_rule"] == as_judged.as_json()["rule"]
    earlier = await explain(records, bars_of([*CLOSES[:-1], 4]), BEGIN + 4 * HOUR)
    assert earlier.as_json()["stored_rule"] is None


async def test_what_was_seen_under_an_earlier_rule_is_not_shown() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars)
    records.config = {**records.config, "rule": {**ABOVE_5, "value": 4}}
    found = await explain(records, bars)
    assert found.as_json()["stored_rule"] is None


async def test_before_it_was_made_it_is_told_what_it_would_have_done() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars)
    found = await explain(records, bars, BEGIN + HOUR)
    assert found.is_preview
    assert list(found.remarks()) == ["The alert did not exist yet: this is what it would have done."]
    assert "It would have triggered." in found.as_text()


async def test_limits_do_not_end_it_before_it_was_made() -> None:
    config = {**Records().config, "options": {"max_triggers": 1}}
    found = await explain(Records(config, created_at=BEGIN + 8 * HOUR), bars_of(CLOSES), BEGIN + 7 * HOUR)
    assert found.is_preview
    assert found.bar.is_triggered


async def test_a_bar_that_was_not_looked_at_yet_says_so() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars[:6])
    found = await explain(records, bars)
    assert found.bar.open_time == BEGIN + 5 * HOUR
    newer = "2027-03-01 07:00Z"
    assert list(found.remarks()) == [
        f"A newer bar, of {newer}, has closed and was not looked at yet; see: --at {newer}"
    ]
    later = await explain(records, bars, datetime.fromisoformat(newer))
    assert list(later.remarks()) == ["The alert has not looked at this bar yet."]
    records.enabled = False
    assert list((await explain(records, bars)).remarks()) == [
        "The alert is paused: bars that close meanwhile never trigger."
    ]


async def test_an_alert_that_evaluated_nothing_is_explained_on_the_newest_bar() -> None:
    records = Records(created_at=BEGIN + 3 * HOUR)
    records.state = fresh_state(compile_alert(records.config), records.created_at)
    found = await explain(records, bars_of(CLOSES[:4]))
    assert found.bar.open_time == BEGIN + 3 * HOUR
    assert list(found.remarks()) == ["The alert has not looked at this bar yet."]


async def test_a_resumed_alert_and_a_lost_state_say_why_it_is_a_preview() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars[:6])
    assert records.state is not None
    records.state = replace(records.state, history_until=BEGIN + 8 * HOUR)
    first = next(iter((await explain(records, bars, BEGIN + 6 * HOUR)).remarks()))
    assert first.startswith(
        "The alert watches since 2027-03-01 08:00Z, when it was resumed or its rule was edited"
    )
    records.state = None
    first = next(iter((await explain(records, bars, BEGIN + 6 * HOUR)).remarks()))
    assert first.startswith("The alert's state was lost")


async def test_a_trigger_of_an_earlier_rule_is_called_that() -> None:
    records, bars = Records(), bars_of(CLOSES)
    records.judge(bars)
    records.config = {**records.config, "rule": {**ABOVE_5, "value": 5.5}}
    found = await explain(records, bars, BEGIN + 7 * HOUR)
    assert found.is_preview
    assert found.recorded[0].trigger_number == 2
    assert "On record: trigger 2 of an earlier rule, decided" in found.as_text()


async def test_triggers_longer_ago_than_it_looks_back_are_counted() -> None:
    records = Records(created_at=BEGIN)
    bars = bars_of([6.0, 4.0, 6.0, *[4.0] * 2_100, 6.0])
    records.judge(bars)
    found = await explain(records, bars)
    assert found.bar.is_triggered
    assert "Triggered, for the 3rd time." in found.as_text()
    assert found.as_json()["stored_state"] == found.as_json()["after"]


async def test_an_alert_that_ended_long_ago_stays_ended() -> None:
    records = Records(config={**Records().config, "options": {"max_triggers": 2}}, created_at=BEGIN)
    bars = bars_of([6.0, 4.0, 6.0, *[4.0] * 2_100, 6.0])
    records.judge(bars)
    found = await explain(records, bars, bars.time_at(len(bars) - 1))
    assert not found.bar.is_triggered
    assert found.bar.before.status is AlertStatus.COMPLETED
    assert list(found.remarks()) == ["The alert is COMPLETED and looks at no bars any more."]


async def test_a_cooldown_that_began_before_the_first_step_goes_on() -> None:
    rearm = {"type": "cooldown", "cooldown": 3600 * 2_050}
    records = Records(config={**Records().config, "rearm": rearm}, created_at=BEGIN)
    bars = bars_of([6.0] * 2_045)
    records.judge(bars)
    found = await explain(records, bars)
    assert "the cooldown lasts until 2027-05-25 11:00Z" in found.as_text()
    assert list(found.remarks()) == []


async def test_stepping_long_enough_finds_the_state_again() -> None:
    records = Records(config={**Records().config, "rearm": {"type": "hysteresis", "threshold": 0.1}})
    records.created_at = BEGIN
    bars = bars_of([6.0, 4.0] * 1_500)
    records.judge(bars)
    found = await explain(records, bars)
    assert records.state is not None
    assert (found.bar.after.gate, found.bar.after.trigger_count) == (Gate.OPEN, records.state.trigger_count)
    assert list(found.remarks()) == []


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        (
            BEGIN + 4 * HOUR,
            "no closed bar of T 1h is open at 2027-03-01 04:00Z; "
            "those next to it open at 2027-03-01 03:00Z and 2027-03-01 06:00Z",
        ),
        (
            BEGIN - HOUR,
            "no closed bar of T 1h is open at 2027-02-28 23:00Z; "
            "there are bars from 2027-03-01 00:00Z to 2027-03-01 07:00Z",
        ),
        (
            BEGIN + 100 * HOUR,
            "no closed bar of T 1h is open at 2027-03-05 04:00Z; "
            "there are bars from 2027-03-01 00:00Z to 2027-03-01 07:00Z",
        ),
    ],
)
async def test_where_there_is_no_bar_it_says_which_there_are(at: datetime, sentence: str) -> None:
    whole = bars_of(CLOSES)
    holed = whole[:4].followed_by(whole[6:])
    with pytest.raises(NotFound) as refused:
        await explain(Records(), holed, at, now=BEGIN + 8 * HOUR)
    assert str(refused.value) == sentence


async def test_no_alert_and_no_bars_are_one_sentence() -> None:
    with pytest.raises(NotFound, match="there is no alert 9"):
        await explain(Records(), bars_of(CLOSES), alert_id=9)
    with pytest.raises(NotFound, match="no bar of T 1h has closed yet"):
        await explain(Records(), bars_of(CLOSES), now=BEGIN)


async def test_years_that_nobody_stored_are_not_fetched_to_look_back() -> None:
    store, provider = MemoryBarStore(), ScriptedProvider()
    store.bars[SERIES] = bars_of(CLOSES)
    past = PastBars(open_market(provider, store=store), store)
    found = await past.closed_bars(SERIES, BEGIN + 8 * HOUR, 100_000)
    assert (len(found), provider.asked) == (8, [])
    provider.error = TemporaryFailure("nobody answers")
    assert len(await past.closed_bars(SERIES, BEGIN + 12 * HOUR, 100_000)) == 8
    assert len(provider.asked) == 1
    with pytest.raises(TemporaryFailure):
        await past.closed_bars(Series("U", Timeframe.H1), datetime(2027, 3, 2, tzinfo=UTC), 10)
