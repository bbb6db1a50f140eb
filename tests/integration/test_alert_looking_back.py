"""``atf alerts explain`` and ``atf alerts preview``, run as a user runs them."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Rows

from atf.alerts.alert import compile_alert
from atf.alerts.alert_message import trigger_key
from atf.market.bars import Bars, Series, Timeframe
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.testing.processes import Installation

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CLOSES = (140, 151, 148, 152, 146, 151)
CONFIG = {
    "ticker": "T",
    "timeframe": "1d",
    "rule": {"indicator": "price", "operator": ">", "value": 150},
    "rearm": {"type": "hysteresis", "threshold": 0.02},
}
LINE = "T 1d: close > 150, rearm hysteresis 2%"


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url, "PYTHONUTF8": "1"}, tmp_path / "home") as made:
        folder = made.home / "bars" / "1d"
        folder.mkdir(parents=True)
        with (folder / "T.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["timestamp", "open", "high", "low", "close", "volume"])
            for day, close in enumerate(CLOSES):
                rows.writerow([(BEGIN + day * DAY).date(), *[close] * 4, 10])
        yield made


@pytest.fixture
def alert_id(installation: Installation) -> int:
    added = installation.run("alerts", "add", json.dumps(CONFIG), "--json")
    assert added.returncode == 0, added.stderr
    return int(json.loads(added.stdout)["id"])


@pytest.fixture
async def evaluated(alert_id: int, rows: Rows) -> int:
    """The alert as if made on January 2nd, with all bars judged; it fired on the 2nd and the 6th."""
    values = {"id": alert_id, "made": BEGIN + DAY, "last": BEGIN + 5 * DAY}
    await rows.change("UPDATE job_schedules SET created_at = :made WHERE id = :id", id=alert_id, made=BEGIN + DAY)
    await rows.change(
        """
        UPDATE alert_states SET history_until = :made, last_bar = :last, last_trigger_bar = :last,
                                trigger_count = 2, gate = 'closed', status = 'TRIGGERED' WHERE schedule_id = :id
        """,
        **values,
    )
    for number, day in ((1, 1), (2, 5)):
        await _record_trigger(rows, alert_id, number, BEGIN + day * DAY)
    return alert_id


async def _record_trigger(rows: Rows, alert_id: int, number: int, bar_time: datetime) -> None:
    rule_hash = compile_alert(CONFIG).rule_hash
    await rows.change(
        """
        INSERT INTO alert_triggers (schedule_id, user_id, rule_hash, bar_time, trigger_number, dedup_key,
                                    readings, is_late, decided_at)
        VALUES (:id, 1, :hash, :bar_time, :number, :key, '{"close": 151}', :late, '2024-01-07T00:00:01Z')
        """,
        id=alert_id,
        hash=rule_hash,
        bar_time=bar_time,
        number=number,
        key=trigger_key(alert_id, rule_hash, bar_time),
        late=number == 1,
    )


def told(installation: Installation, *words: str) -> str:
    done = installation.run("alerts", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_newest_evaluated_bar_is_explained(installation: Installation, evaluated: int) -> None:
    assert told(installation, "explain", str(evaluated)) == (
        f"alert {evaluated}, T 1d\n"
        "T 1d, bar of 2024-01-06 00:00Z, closed 2024-01-07 00:00Z\n"
        "Triggered, for the 2nd time.\n"
        "\n"
        "true     close > 150   (close = 151; re-arms at close <= 147)\n"
        "\n"
        "gate      open → closed, opens when close <= 147\n"
        "status    ARMED → TRIGGERED\n"
        "\n"
        "On record: trigger 2, decided 2024-01-07 00:00Z; close = 151.\n"
    )


def test_a_bar_of_the_past_is_explained_as_text_and_as_json(installation: Installation, evaluated: int) -> None:
    text = told(installation, "explain", str(evaluated), "--at", "2024-01-04T09:30")
    assert "Not triggered: the rule is true, but the gate is closed: the value has not moved away" in text
    found = json.loads(told(installation, "explain", str(evaluated), "--at", "2024-01-02", "--json"))
    assert (found["triggered"], found["preview"], found["bar_time"]) == (True, False, "2024-01-02T00:00:00Z")
    assert found["recorded_triggers"] == [
        {
            "number": 1,
            "readings": {"close": 151},
            "is_late": True,
            "live_at": None,
            "decided_at": "2024-01-07T00:00:01Z",
            "explanation": None,
        }
    ]
    before = json.loads(told(installation, "explain", str(evaluated), "--at", "2024-01-01", "--json"))
    assert before["preview"] is True
    assert before["remarks"] == ["The alert did not exist yet: this is what it would have done."]


async def test_what_a_trigger_saw_is_told_when_the_bars_were_revised_since(
    installation: Installation, evaluated: int, rows: Rows
) -> None:
    saw = {
        "leaf": "close > 150",
        "truth": "true",
        "values": {"close": 155, "150": 150},
        "rearms_at": "close <= 147",
    }
    await rows.change(
        "UPDATE alert_triggers SET explanation = CAST(:kept AS jsonb) WHERE schedule_id = :id",
        kept=json.dumps({"rule": saw, "before": {}, "after": {}}),
        id=evaluated,
    )
    lines = told(installation, "explain", str(evaluated)).splitlines()
    assert lines[-2:] == ["It saw then:", "true     close > 150   (close = 155; re-arms at close <= 147)"]


async def test_what_the_last_evaluation_saw_is_told_when_the_bars_were_revised_since(
    installation: Installation, evaluated: int, rows: Rows
) -> None:
    kept = (
        b"\x01" + struct.pack("<d", 149.5) + struct.pack("b", -1)
    )  # the form, the close, the verdict of the leaf
    await rows.change(
        "UPDATE alert_states SET last_seen = :kept WHERE schedule_id = :id", kept=kept, id=evaluated
    )
    tree = "false    close > 150   (close = 149.5; re-arms at close <= 147)"
    lines = told(installation, "explain", str(evaluated)).splitlines()
    assert lines[-2:] == ["As the alert looked at this bar, it saw:", tree]
    found = json.loads(told(installation, "explain", str(evaluated), "--json"))
    assert (found["rule"]["values"]["close"], found["stored_rule"]["values"]["close"]) == (151, 149.5)


async def test_a_stored_state_that_differs_is_told(
    installation: Installation, evaluated: int, rows: Rows
) -> None:
    await rows.change(
        "UPDATE alert_states SET gate = 'open', status = 'ARMED' WHERE schedule_id = :id", id=evaluated
    )
    last = told(installation, "explain", str(evaluated)).splitlines()[-1]
    assert last.startswith(
        "The stored state differs, status ARMED instead of TRIGGERED, gate open instead of closed:"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("explain", "77"), "there is no alert 77"),
        (("explain", "{id}", "--at", "x"), "--at: must be a time such as 2026-12-31T09:00:00Z, got 'x'"),
        (
            ("explain", "{id}", "--at", "2023-01-01"),
            "no closed bar of T 1d is open at 2023-01-01 00:00Z; "
            "there are bars from 2024-01-01 00:00Z to 2024-01-06 00:00Z",
        ),
        (("preview",), "give one of: the ID of an alert, --config, --line"),
        (("preview", "{id}", "--line", LINE), "give one of: the ID of an alert, --config, --line"),
        (("preview", "77"), "there is no alert 77"),
        (
            ("preview", "{id}", "--from", "2030-01-01"),
            "no closed bar of T 1d is in that range; there are bars from",
        ),
        (
            ("preview", "{id}", "--from", "2024-02-01", "--to", "2024-01-01"),
            "--from: must not be later than --to",
        ),
        (("preview", "{id}", "--ticker", "NOPE"), "no file of NOPE 1d in"),
        (("preview", "{id}", "--bars", "nowhere.csv"), "--bars: nowhere.csv cannot be read: No such file"),
        (("preview", "--config", "nowhere.json"), "--config: cannot read nowhere.json: No such file"),
        (("preview", "--line", "T 1d: clse > 5"), ""),
        (("preview", "{id}", "--chart", "a.gif"), "chart: must end in .png, got a.gif"),
    ],
)
def test_a_mistake_is_one_sentence(
    installation: Installation, alert_id: int, words: tuple[str, ...], sentence: str
) -> None:
    refused = installation.run("alerts", *(word.format(id=alert_id) for word in words))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"atf: {sentence}")
    assert "Traceback" not in refused.stderr


def test_a_stored_alert_is_previewed(installation: Installation, alert_id: int, tmp_path: Path) -> None:
    picture = tmp_path / "alert.png"
    text = told(installation, "preview", str(alert_id), "--chart", str(picture))
    assert text.splitlines()[:3] == [
        "T 1d: close > 150; each time it becomes true after the value was 2 % away from its level",
        "It would have triggered 2 times on 6 bars from 2024-01-01 to 2024-01-06.",
        "Longest silence: from 2024-01-02 to 2024-01-06, 4 d, 3 bars.",
    ]
    assert "2024-01-06 │ 151" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_preview_as_json_has_everything(installation: Installation, alert_id: int) -> None:
    words = ("preview", str(alert_id), "--from", "2024-01-03", "--to", "2024-01-05", "--json")
    assert json.loads(told(installation, *words)) == {
        "ticker": "T",
        "timeframe": "1d",
        "rule": "close > 150",
        "closes_only": False,
        "bars": 3,
        "unknown_bars": 0,
        "is_cut": False,
        "first_bar": "2024-01-03T00:00:00Z",
        "last_bar": "2024-01-05T00:00:00Z",
        "triggers": [{"bar_time": "2024-01-04T00:00:00Z", "close": 152, "value": 152, "threshold": 150}],
        "months": {"2024-01": 1},
        "longest_silence": {
            "from": "2024-01-03T00:00:00Z",
            "to": "2024-01-04T00:00:00Z",
            "seconds": 86400,
            "bars": 1,
        },
        "ended": None,
    }


async def test_stored_bars_of_another_series_are_previewed(
    installation: Installation, alert_id: int, database: Database
) -> None:
    bars = Bars.from_rows([(BEGIN + n * timedelta(hours=1), 1, 1, 1, 160 - 20 * (n % 2), 1) for n in range(50)])
    await PostgresBarStore(database).store(Series("BTC/USDT", Timeframe.H1), bars)
    words = ("preview", str(alert_id), "--ticker", "btcusdt", "--timeframe", "1h")
    text = told(installation, *words)
    assert "It would have triggered 25 times on 50 bars from 2024-01-01 to 2024-01-03 01:00Z." in text
    assert "Newest 20 of 25" in text
    assert text.count("│ 150 ") == 20
    assert told(installation, *words, "--all").count("│ 150 ") == 25


def test_a_line_on_a_file_needs_no_database(installation: Installation, tmp_path: Path) -> None:
    installation.environment["ATF_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    file = installation.home / "bars" / "1d" / "T.csv"
    text = told(installation, "preview", "--line", LINE, "--bars", str(file))
    assert "It would have triggered 2 times on 6 bars" in text
    config = tmp_path / "config.json"
    config.write_text(json.dumps({name: CONFIG[name] for name in ("rule", "rearm")}))
    words = ("preview", "--config", str(config), "--bars", str(file), "--ticker", "any", "--timeframe", "1d")
    assert "It would have triggered 2 times on 6 bars" in told(installation, *words)
    refused = installation.run("alerts", *words[:-1], "1h")
    assert refused.stderr == (
        f"atf: --bars: the bars of {file} are not of 1h: most open 1 d apart; give their --timeframe\n"
    )


def test_a_legacy_job_is_previewed_too(installation: Installation, tmp_path: Path) -> None:
    config = tmp_path / "legacy.json"
    legacy: dict[str, Any] = {"symbol": "T", "condition": "price_above", "threshold": 150, "timeframe": "1d"}
    config.write_text(json.dumps(legacy))
    assert "It would have triggered 3 times" in told(installation, "preview", "--config", str(config))


@pytest.mark.parametrize("name", ["explain", "preview"])
def test_both_commands_explain_themselves_with_an_example(installation: Installation, name: str) -> None:
    assert f"Example: atf alerts {name} " in " ".join(told(installation, name, "--help").split())
