"""Golden cases: ours, and those that lie beside the project if they are there."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.alert_steps import evaluated, needed

from atf.alerts.alert import Alert, fresh_state, parse_alert, renewed_state
from atf.alerts.state import AlertState, AlertStatus, DataStatus, Gate
from atf.errors import InvalidAlertRule
from atf.market.bars import Bars, to_instant

PROJECT = Path(__file__).parents[3]
OURS = PROJECT / "tests/data/alert_cases.json"
BESIDE = PROJECT.parent / "shared/cases/alert_cases.json"


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def cases() -> Iterator[Any]:
    for case in document(OURS)["cases"]:
        yield pytest.param(case, id=case["name"])
    for case in document(BESIDE).get("cases", []):
        yield pytest.param(case, id=f"beside-{case['name']}")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def bars_of(rows: list[list[Any]]) -> Bars:
    return Bars.from_rows([(instant(row[0]), row[1], row[2], row[3], row[4], row[5]) for row in rows])


def restarted(state: AlertState) -> AlertState:
    """The state as another process reads it: through JSON and nothing else."""
    fields = json.loads(json.dumps(asdict(state), default=lambda value: value.isoformat()))
    for name in ("cooldown_until", "last_bar", "last_trigger_bar", "history_until"):
        fields[name] = None if fields[name] is None else instant(fields[name])
    fields["gate"] = Gate(fields["gate"])
    fields["status"] = AlertStatus(fields["status"])
    fields["data_status"] = DataStatus(fields["data_status"])
    return AlertState(**fields)


class Player:
    """Feeds a case's bars to an alert as production does: closed bars, no more than are needed."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.alert: Alert = parse_alert(case["config"])
        self.triggers: list[datetime] = []
        earliest = min(instant(row[0]) for row in case["bars"])
        self.state = fresh_state(self.alert, instant(case["created_at"]) if "created_at" in case else earliest)

    def play(self) -> None:
        restarts = set(self.case["restarts_at"])
        edits = {edit["after"]: parse_alert(edit["config"]) for edit in self.case.get("config_changes", [])}
        for count in self.case.get("feed", range(1, len(self.case["bars"]) + 1)):
            self.feed(self.case["bars"][:count])
            if count - 1 in restarts:
                self.state = restarted(self.state)
            if count - 1 in edits:
                self.edit(edits[count - 1])

    def edit(self, alert: Alert) -> None:
        if alert.rule_hash != self.alert.rule_hash:
            self.state = renewed_state(alert, self.state)
        self.alert = alert

    def feed(self, rows: list[list[Any]]) -> None:
        given, timeframe = bars_of(rows), self.alert.series.timeframe
        newest_close = to_instant(int(given.open_time[-1])) + timeframe.length
        now = instant(self.case["now"]) if "now" in self.case else newest_close
        bars = given.closed_at(now, timeframe).last(needed(self.alert, self.state, now))
        result = evaluated(self.alert, self.state, bars, now)
        self.state = result.state
        self.triggers += [trigger.bar_time for trigger in result.triggers]


@pytest.mark.parametrize("case", list(cases()))
def test_case(case: dict[str, Any]) -> None:
    player = Player(case)
    player.play()
    expected = case["expected"]
    assert player.triggers == [instant(text) for text in expected["trigger_bar_times"]], case.get("why")
    assert player.state.status == expected["final_state_status"]
    assert player.state.data_status == expected["final_data_status"]
    if "config_changes" not in case:  # another rule counts from the beginning
        assert player.state.trigger_count == len(player.triggers)


UNEDITED = [case for case in document(OURS)["cases"] if "config_changes" not in case]


@pytest.mark.parametrize("case", UNEDITED, ids=lambda case: str(case["name"]))
def test_case_is_the_same_in_one_batch(case: dict[str, Any]) -> None:
    player = Player({**case, "feed": [len(case["bars"])]})
    player.play()
    assert player.triggers == [instant(text) for text in case["expected"]["trigger_bar_times"]]
    assert player.state.status == case["expected"]["final_state_status"]


def invalid_configs() -> Iterator[Any]:
    for case in document(OURS)["invalid_configs"]:
        yield pytest.param(case, id=case["name"])
    for case in document(BESIDE).get("invalid_configs", []):
        yield pytest.param(case, id=f"beside-{case['name']}")


@pytest.mark.parametrize("case", list(invalid_configs()))
def test_invalid_config_is_refused_at_its_path(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidAlertRule) as refused:
        parse_alert(case["config"])
    assert refused.value.field == case["expected_error_path"]
