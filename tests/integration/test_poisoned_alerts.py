"""One alert among thousands that cannot be judged, told or stored fails alone, whatever is wrong with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.installed_packages import PREFIX, Installed
from tests.integration.test_alert_commit import BEGIN, OWNER, Desk, WrappedAlerts, desk

from atf.alerts.outcome import StoredAlert
from atf.indicators import registry
from atf.market.bars import Bars, Series, Timeframe
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database

__all__ = ["desk"]

FEW = 60
FAILS, BEGINS_ANEW, IS_UNKNOWN = "FAILED", "begins anew", "unknown"
POISON = """
import sys
import numpy as np
from atf.indicators.declaration import indicator
from atf.indicators.indicator import IntegerParameter

@indicator("Goes wrong on the bars of the test.", IntegerParameter("mode", 1, 1, 6), first=0)
def poison(close, *, mode):
    if 9.0 not in close:
        return close
    match mode:
        case 1:
            raise ValueError("nul \\0")
        case 2:
            return close[:-1]
        case 3:
            return np.full_like(close, np.inf)
        case 4:
            return np.array([object()] * len(close), dtype=object)
        case 5:
            return close.astype(complex) * 1j
        case _:
            sys.exit("bye")
"""


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An indicator of a plug-in that works when it is tried and not on the bars of the test."""

    def forget() -> None:
        registry.plugged.cache_clear()
        registry._by_name.cache_clear()
        for name in [name for name in sys.modules if name.startswith(PREFIX)]:
            del sys.modules[name]

    forget()
    installed = Installed(tmp_path, monkeypatch)
    installed.indicator("atf-poison", "poison = atf_test_poison:poison", atf_test_poison=POISON)
    assert registry.is_known("poison")
    yield
    forget()


class Spoilt(WrappedAlerts):
    """The configuration of one alert is not what any database would give."""

    def __init__(self, database: Database, schedule_id: int, **fields: Any) -> None:
        super().__init__(database)
        self._schedule_id = schedule_id
        self._fields = fields

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        loaded = await super().configurations(schedule_ids)
        return [replace(one, **self._fields) if one.schedule_id == self._schedule_id else one for one in loaded]


async def many(desk: Desk, count: int) -> tuple[int, ...]:
    """Alerts that all fire on day 2, whose bar has just closed."""
    added = await desk.add()
    await desk.copies(added, count)
    await desk.close_day(2)
    return tuple(await desk.rows.column("SELECT id FROM job_schedules ORDER BY id"))


async def require_alone(desk: Desk, ids: Sequence[int], victim: int, what: str) -> None:
    """All others have committed their state, trigger, messages and run."""
    assert await desk.rows.statuses() == (
        {"COMPLETED": len(ids) - 1, "FAILED": 1} if what is FAILS else {"COMPLETED": len(ids)}
    )
    assert set(await desk.rows.column("SELECT schedule_id FROM alert_triggers")) == set(ids) - {victim}
    others = len(ids) - 1
    assert await desk.counts() == {"triggers": others, "messages": others, "deliveries": 2 * others}
    moved = await desk.rows.column("SELECT schedule_id FROM alert_states WHERE version = 1")
    assert set(moved) == set(ids) - ({victim} if what is FAILS else set())
    if what is FAILS:
        (error,) = await desk.rows.column("SELECT error FROM job_schedule_runs WHERE status = 'FAILED'")
        assert error
        assert "Traceback" not in error


RULES = {
    "raises": (1, FAILS),
    "another length": (2, FAILS),
    "infinite": (3, IS_UNKNOWN),
    "objects": (4, FAILS),
    "complex numbers": (5, FAILS),
    "exits": (6, FAILS),
}


@pytest.mark.usefixtures("plugged")
@pytest.mark.parametrize(("mode", "what"), RULES.values(), ids=RULES)
async def test_an_indicator_that_goes_wrong_hurts_its_alert_alone(desk: Desk, mode: int, what: str) -> None:
    ids = await many(desk, FEW)
    rule = {"indicator": "poison", "params": {"mode": mode}, "operator": ">", "value": 5}
    victim = ids[FEW // 2]
    state = (await desk.service.get(OWNER, victim)).task_params
    await desk.service.edit(OWNER, victim, {**state, "rule": rule})
    await desk.evaluate()
    await require_alone(desk, ids, victim, what)


SIDES = ["[1]", "1", "null", '{"0": "middle"}', '{"0": null}', '{"x": {"0": "above"}}', '"\\ud83d\\ude00"']


@pytest.mark.parametrize("sides", SIDES)
async def test_a_state_that_was_spoilt_by_hand_hurts_its_alert_alone(desk: Desk, sides: str) -> None:
    ids = await many(desk, FEW)
    victim = ids[FEW // 3]
    await desk.rows.change(
        "UPDATE alert_states SET sides = CAST(:sides AS jsonb) WHERE schedule_id = :id", sides=sides, id=victim
    )
    await desk.evaluate()
    await require_alone(desk, ids, victim, BEGINS_ANEW)


ABOVE_5 = {"indicator": "price", "operator": ">", "value": 5}
T_DAILY = {"ticker": "T", "timeframe": "1d", "rule": ABOVE_5}
DEEP = json.loads("[" * 200 + "]" * 200)
CONFIGURATIONS: dict[str, object] = {
    "no object": [1, 2],
    "null": None,
    "empty": {},
    "no rule": {"ticker": "T", "timeframe": "1d"},
    "rule is a number": {**T_DAILY, "rule": 1},
    "rule is deep": {**T_DAILY, "rule": DEEP},
    "level is huge": {**T_DAILY, "rule": {**ABOVE_5, "value": 10**400}},
    "offset is huge": {**T_DAILY, "rule": {**ABOVE_5, "offset": 10**30}},
    "timeframe is unknown": {**T_DAILY, "timeframe": "7d"},
    "ticker is a list": {**T_DAILY, "ticker": []},
    "ticker is unknown": {**T_DAILY, "ticker": "?"},
    "calendar is a list": {**T_DAILY, "calendar": []},
    "rearm is a list": {**T_DAILY, "rearm": []},
    "cooldown is too long": {**T_DAILY, "rearm": {"type": "cooldown", "cooldown": 10**18}},
    "bars are huge": {**T_DAILY, "rearm": {"type": "persistence", "bars": 10**30}},
    "placeholder is unknown": {**T_DAILY, "notify": {"message_template": "{nothing}"}},
    "template is broken": {**T_DAILY, "notify": {"message_template": "{close"}},
    "template has a format": {**T_DAILY, "notify": {"message_template": "{close:>99999999999}"}},
    "template is a list": {**T_DAILY, "notify": {"message_template": ["{close}"]}},
    "severity is unknown": {**T_DAILY, "notify": {"severity": "loud"}},
    "channels are an object": {**T_DAILY, "notify": {"channels": {"inbox": 1}}},
    "channel is an object": {**T_DAILY, "notify": {"channels": [{}]}},
    "expiry is a word": {**T_DAILY, "options": {"expires_at": "tomorrow"}},
    "most triggers are a word": {**T_DAILY, "options": {"max_triggers": "many"}},
    "most triggers are huge": {**T_DAILY, "options": {"max_triggers": 10**30}},
    "action is a number": {**T_DAILY, "actions": [1]},
    "actions are a number": {**T_DAILY, "actions": 1},
}


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
async def test_a_configuration_that_was_changed_by_hand_fails_alone(desk: Desk, config: object) -> None:
    ids = await many(desk, FEW)
    victim = ids[FEW // 2]
    await desk.rows.change(
        "UPDATE job_schedules SET task_params = CAST(:config AS jsonb), version = version + 1 WHERE id = :id",
        config=json.dumps(config),
        id=victim,
    )
    await desk.evaluate()
    await require_alone(desk, ids, victim, FAILS)


@pytest.mark.parametrize("name", ["nul \0 byte", "half \ud800 of a pair"], ids=["nul", "surrogate"])
@pytest.mark.parametrize("count", [FEW, pytest.param(5_000, id="5000")])
async def test_a_message_that_cannot_be_stored_fails_alone(desk: Desk, name: str, count: int) -> None:
    if count > FEW and "\0" not in name:
        pytest.skip("five thousand once")
    ids = await many(desk, count)
    victim = ids[count * 2 // 3]
    await desk.evaluate(Spoilt(desk.database, victim, name=name))
    await require_alone(desk, ids, victim, FAILS)


async def test_what_a_long_outage_triggered_fits_into_the_result_of_one_run(desk: Desk) -> None:
    """Those of a month of minutes would be longer than a result may be, and the alert could never go on."""
    minutes = 1_500
    begin = BEGIN - timedelta(minutes=minutes)
    rows = [(begin + timedelta(minutes=each), 9.0, 9.0, 9.0, 9.0, 1.0) for each in range(minutes)]
    await PostgresBarStore(desk.database).store(Series("T", Timeframe.M1), Bars.from_rows(rows))
    desk.clock.at = begin
    added = await desk.add(timeframe="1m", rearm={"type": "simple"}, notify={"channels": ["inbox"]})
    await desk.close_day(-1)
    await desk.evaluate()
    (result,) = await desk.rows.column("SELECT result FROM job_schedule_runs")
    assert (result["bars_evaluated"], result["triggers_in_all"], len(result["triggers"])) == (
        minutes,
        minutes,
        1000,
    )
    assert datetime.fromisoformat(result["triggers"][-1]) == BEGIN - timedelta(minutes=1)
    assert (await desk.counts())["triggers"] == minutes
    state = (await desk.service.get(OWNER, added.id)).state_json
    assert state is not None
    assert state["trigger_count"] == minutes
