"""``atf bots`` as a person meets it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.command_line import CommandLine

CONFIG: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 30}},
    "broker": {"type": "paper"},
    "capital": "10000",
}
OPTIONS = (
    *("--symbol", "BTCUSDT", "--timeframe", "1h", "--strategy", "sma_cross", "--param", "fast=10"),
    *("--param", "slow=30", "--capital", "10000", "--broker", "paper"),
)


@pytest.fixture
def atf(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path, database_url, monkeypatch, capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bot.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture
def number(atf: CommandLine) -> int:
    return int(atf.json("bots", "add", "crosser", *OPTIONS)["id"])


def runs(atf: CommandLine, status: str = "running") -> None:
    """Let all bots be as the trading service would have them."""
    atf.sql("UPDATE trading_bots SET status = %s", status)


def test_a_bot_is_added_by_options_by_a_file_and_by_standard_input(
    atf: CommandLine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert atf.json("bots", "add", "one", *OPTIONS)["config"] == CONFIG
    assert atf.json("bots", "add", "two", "--config", file)["config"] == CONFIG
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(CONFIG)))
    changes = (
        *("--symbol", "AAPL", "--symbol", "MSFT", "--risk", "max_order_value=0.1", "--risk", "may_short=false"),
        *(
            "--hours",
            "09:30-16:00",
            "--tz",
            "America/New_York",
            "--policy",
            "halt",
            "--broker-option",
            "fee_fraction=0.002",
        ),
    )
    mixed = atf.json("bots", "add", "three", "--config", "-", *changes)["config"]
    rest = {name: value for name, value in CONFIG.items() if name != "symbol"}
    assert mixed == {
        **rest,
        "symbols": ["AAPL", "MSFT"],
        "broker": {"type": "paper", "fee_fraction": 0.002},
        "risk": {"max_order_value": 0.1, "may_short": False},
        "schedule": {"hours": "09:30-16:00", "timezone": "America/New_York"},
        "startup_position_policy": "halt",
    }
    assert [one["id"] for one in atf.json("bots", "list", "--after", "1", "--limit", "1")] == [2]
    said = atf("bots", "add", "four", *OPTIONS)
    assert said.out == "bot 4 added: four, BTCUSDT 1h, sma_cross; start it with: atf bots start 4\n"
    assert "BTC/USDT" in said.err, "that nobody here has bars of it is worth a note"


def test_all_that_is_wrong_is_one_sentence_and_nothing_is_stored(atf: CommandLine, tmp_path: Path) -> None:
    said = atf.refused("bots", "add", "x", *OPTIONS, "--capital", "lots", "--timeframe", "2h", "--hours", "9-5")
    assert "timeframe: " in said
    assert "capital: must be a number above 0" in said
    assert "schedule.hours: must be two local times such as 09:30-16:00" in said
    assert atf.refused("bots", "add", "x", *OPTIONS, "--param", "fast").startswith("--param: must be NAME=VALUE")
    assert atf.refused("bots", "add", "x", *OPTIONS, "--risk", "x").startswith("--risk: must be NAME=VALUE")
    missing = atf.refused("bots", "add", "x", "--config", tmp_path / "nowhere.json")
    assert missing.startswith("--config: cannot read ")
    broken = tmp_path / "broken.json"
    for text, sentence in (
        ("{", "--config: is not JSON"),
        ("[]", "config: must be a JSON object"),
        ("{}", "timeframe: is missing"),
        ('{"capital": 0.12345678901234567890}', "config: 0.12345678901234567890 has more digits"),
        ('{"capital": NaN}', "capital: must be a finite number"),
        ('{"_recovered_positions": []}', "_recovered_positions: is what a start fills in"),
    ):
        broken.write_text(text)
        assert atf.refused("bots", "add", "x", "--config", broken).startswith(sentence)
    assert atf.refused("bots", "add", "", *OPTIONS).startswith("name: ")
    assert atf.json("bots", "list") == []


def test_a_configuration_is_validated_without_being_stored(atf: CommandLine, file: Path, number: int) -> None:
    assert atf("bots", "validate", f"@{file}").out == "nothing is wrong with it\n"
    assert atf.json("bots", "validate", "--config", file)["is_valid"] is True
    assert atf.json("bots", "validate", json.dumps(CONFIG))["warnings"]
    assert atf.json("bots", "validate", number)["is_valid"] is True
    wrong = json.dumps({**CONFIG, "capital": 0, "riskk": {}, "schedule": {"calendar": "XNYSE"}})
    assert "riskk: unknown field; did you mean 'risk'?; capital: " in atf.refused("bots", "validate", wrong)
    calendar = atf.refused("bots", "validate", json.dumps({**CONFIG, "schedule": {"calendar": "XNYSE"}}))
    assert calendar.startswith('schedule.calendar: "XNYSE" is not a trading calendar')
    assert atf.refused("bots", "validate").startswith("CONFIG: give either")
    assert len(atf.json("bots", "list")) == 1


def test_a_bot_is_listed_shown_and_renamed(atf: CommandLine, number: int) -> None:
    atf("bots", "add", "other", *OPTIONS)
    atf.sql(
        "UPDATE trading_bots SET status = 'error', last_error = 'ValueError: x', total_pnl = 12.5 WHERE id = 1"
    )
    assert [one["name"] for one in atf.json("bots", "list", "--status", "error")] == ["crosser"]
    assert [one["name"] for one in atf.json("bots", "list", "--sort", "name")] == ["crosser", "other"]
    assert "sma_cross" in atf("bots", "list").out
    assert atf.refused("bots", "list", "--sort", "beauty").startswith("--sort: ")
    assert atf("bots", "list", "--status", "happy").status == 2
    shown = atf.json("bots", "show", number)
    assert (shown["last_error"], shown["total_pnl"], shown["config"]) == ("ValueError: x", "12.50000000", CONFIG)
    assert "ValueError: x" in atf("bots", "show", number).out
    assert atf("bots", "rename", number, "third").out == "bot 1 is called third now\n"
    assert atf.refused("bots", "rename", number, "other").startswith("there is a bot 'other' already")


def test_a_configuration_spoilt_by_hand_is_still_listed_and_shown(atf: CommandLine, number: int) -> None:
    for config in ("{}", "[]", "5", '{"symbols": 5, "strategy": []}'):
        atf.sql("UPDATE trading_bots SET config = %s", config)
        assert atf("bots", "list").status == 0
        assert atf("bots", "show", number).status == 0
        assert len(atf.json("bots", "list")) == 1
    assert atf.refused("bots", "validate", number).startswith("timeframe: is missing")
    assert atf.json("bots", "edit", number, *OPTIONS)["config"] != {}


def test_a_bot_is_edited_compared_and_rolled_back(atf: CommandLine, number: int, file: Path) -> None:
    patch = '{"risk": {"max_order_value": 500}, "startup_position_policy": "halt"}'
    edited = atf.json("bots", "edit", number, "--param", "fast=12", "--patch", patch, "--note", "slower")
    assert (edited["version"], edited["config"]["strategy"]["params"]) == (2, {"fast": 12, "slow": 30})
    assert atf("bots", "edit", number, "--capital", "10000").out.startswith("bot 1 says that already")
    assert "version 3 now: AAPL 1h" in atf("bots", "edit", number, "--symbol", "AAPL", "--version", 2).out
    assert "by somebody else" in atf.refused("bots", "edit", number, "--symbol", "MSFT", "--version", 2)
    assert [(one["version"], one["note"]) for one in atf.json("bots", "versions", number)] == [
        (3, ""),
        (2, "slower"),
        (1, ""),
    ]
    assert [one["version"] for one in atf.json("bots", "versions", number, "--before", 3, "--limit", 1)] == [2]
    assert "slower" in atf("bots", "versions", number).out
    (newest,) = atf.json("bots", "diff", number)
    assert newest == {"path": "symbol", "kind": "changed", "before": "BTCUSDT", "after": "AAPL"}
    whole = {one["path"]: one["kind"] for one in atf.json("bots", "diff", number, 1, 3)}
    assert whole == {
        "symbol": "changed",
        "strategy.params.fast": "changed",
        "risk": "added",
        "startup_position_policy": "added",
    }
    assert "strategy.params.fast" in atf("bots", "diff", number, 1, 2).out
    assert atf("bots", "diff", number, 2, 2).out == "nothing differs\n"
    assert "version 4 now, which says what version 1 says" in atf("bots", "rollback", number, 1).out
    assert atf.json("bots", "show", number)["config"] == CONFIG
    assert "has no version 9; its newest is 4" in atf.refused("bots", "rollback", number, 9)
    assert atf.json("bots", "edit", number, "--config", file, "--timeframe", "1d")["config"]["timeframe"] == "1d"


def test_an_edit_that_is_refused_changes_nothing(atf: CommandLine, number: int, file: Path) -> None:
    before = atf.json("bots", "show", number)
    assert atf.refused("bots", "edit", number).startswith("nothing to change was given")
    assert atf.refused("bots", "edit", number, "--patch", "[]").startswith("--patch: must be a JSON object")
    assert atf.refused("bots", "edit", number, "--patch", "{}", "--config", file).startswith(
        "--patch: give either"
    )
    assert atf.refused("bots", "edit", number, "--capital", "-5").startswith("capital: ")
    assert atf.refused("bots", "edit", number, "--patch", '{"capital": null}').startswith("capital: is missing")
    assert atf.refused("bots", "edit", number, "--capital", "5", "--note", "a\nb").startswith("note: ")
    assert atf.json("bots", "show", number) == before


def test_words_are_wishes_and_say_what_they_do(atf: CommandLine, number: int) -> None:
    assert atf("bots", "start", number).out == "bot 1 is to run\n"
    runs(atf)
    assert atf("bots", "start", number).out == "bot 1 is running already\n"
    assert atf("bots", "restart", number).out == "bot 1 is to restart\n"
    assert atf.sql("SELECT command, bot_id, source FROM trading_bot_commands") == [("restart", 1, "user:owner")]
    assert atf("bots", "pause", number).out == "bot 1 is paused: it only closes what it holds\n"
    assert atf.json("bots", "show", number)["trading_state"] == "REDUCING"
    atf.sql("UPDATE trading_bots SET trading_state = 'HALTED'")
    assert "end that with: atf bots resume 1" in atf.refused("bots", "pause", number)
    assert atf("bots", "resume", number).out == "bot 1 was halted, and may trade again\n"
    assert atf.refused("bots", "disable", number) == "bot 1 is running; stop it first: atf bots stop 1"
    assert atf.json("bots", "stop", number)["desired_state"] == "stopped"
    runs(atf, "stopped")
    assert "nothing starts it until it is enabled" in atf("bots", "disable", number).out
    assert "atf bots enable 1" in atf.refused("bots", "start", number)
    assert atf("bots", "enable", number).out == "bot 1 may be started\n"
    assert "atf bots start 1" in atf.refused("bots", "restart", number)
    assert "no trading service runs here now" in atf("bots", "start", number).err
    atf.sql(
        "INSERT INTO workers (worker_id, name, host, pid, types, lease_expires_at) "
        "VALUES ('t', 't', 'here', 1, '{trading}', now() + interval '1 minute')"
    )
    assert atf("bots", "start", number).err == ""
    told = [one["text"] for one in atf.json("bots", "history", number)]
    assert (told[1], told[-1], len(told)) == ("may be started", "is added", 9)
    assert "is paused: it only closes" in atf("bots", "history", number).out


def test_a_bot_that_holds_something_is_deleted_by_force_alone(atf: CommandLine, number: int) -> None:
    atf.sql(
        "INSERT INTO trading_positions (bot_id, symbol, direction, quantity, cost, status, opened_at) "
        "VALUES (1, 'BTC/USDT', 'LONG', 1, 5, 'open', now())"
    )
    assert atf.refused("bots", "delete", number).startswith("bot 1 holds BTC/USDT; nobody would look after that")
    assert atf("bots", "delete", number, "--force").out == "bot 1 deleted: crosser\n"
    for words in (["show"], ["start"], ["logs"], ["orders"], ["delete"], ["edit", "--capital", "5"]):
        assert atf.refused("bots", words[0], number, *words[1:]) == "there is no bot 1"


def test_what_a_bot_did_is_shown_exactly(atf: CommandLine, number: int) -> None:
    small = "0.000000000000000001"
    atf.sql(
        "INSERT INTO trading_orders (client_order_id, bot_id, bar_at, number, ref, symbol, side, type, quantity,"
        " status, reason) VALUES ('o1', 1, now(), 1, 1, 'BTC/USDT', 'buy', 'market', %s, 'rejected', 'no money')",
        small,
    )
    atf.sql(
        "INSERT INTO trading_fills (bot_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee,"
        " filled_at) VALUES (1, 'o1', 'f', 'BTC/USDT', 'buy', 1, 1e10, 0, now())"
    )
    atf.sql("INSERT INTO trading_equity VALUES (1, '2026-01-05', 10000.5, 3), (1, '2026-01-06', 10001, 4)")
    (order,) = atf.json("bots", "orders", number)
    assert (order["quantity"], order["average_price"], order["reason"]) == (small, None, "no money")
    assert atf.json("bots", "orders", number, "--open") == []
    assert small in atf("bots", "orders", number).out
    assert atf.json("bots", "fills", number)[0]["price"] == "10000000000"
    assert [one["equity"] for one in atf.json("bots", "equity", number)] == ["10001", "10000.5"]
    assert len(atf.json("bots", "equity", number, "--before", "2026-01-06")) == 1
    assert atf.refused("bots", "equity", number, "--before", "soon").startswith("--before: must be a time")
    for command in ("orders", "fills", "positions", "trades", "equity", "history", "versions"):
        assert atf("bots", command, number).status == 0


def test_logs_are_the_last_lines_and_no_more_than_text(atf: CommandLine, number: int, tmp_path: Path) -> None:
    assert atf.refused("bots", "logs", number).startswith("there is no log of this bot here")
    log = tmp_path / "state" / "bots" / "1.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\ntwo \x1b[31mred\nbroken \xff\nlast, without an end")
    assert atf("bots", "logs", number).out == "one\ntwo  [31mred\nbroken �\nlast, without an end\n"
    assert atf.json("bots", "logs", number, "-n", 1) == ["last, without an end"]
    assert atf("bots", "logs", number, "-n", 0).out == ""
    assert atf.refused("bots", "logs", number, "--follow", "--json").startswith("--follow: ")
    log.unlink()
    (tmp_path / "elsewhere").write_text("not to be read")
    log.symlink_to(tmp_path / "elsewhere")
    assert "leads out of" in atf.refused("bots", "logs", number)


def test_logs_are_followed_over_the_beginning_of_a_new_file(
    atf: CommandLine, number: int, tmp_path: Path
) -> None:
    log = tmp_path / "state" / "bots" / "1.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\n")
    with atf.beside("bots", "logs", number, "-n", 1, "--follow") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "two\n"
        with log.open("a") as file:
            file.write("three\n")
        assert process.stdout.readline() == "three\n"
        log.write_text("new\n")
        assert process.stdout.readline() == "new\n"


def test_another_ones_bots_are_not_there(atf: CommandLine, number: int) -> None:
    atf("users", "add", "ann", "--role", "trader")
    atf("users", "add", "eve", "--role", "viewer")
    assert atf.json("bots", "list", "--user", "ann") == []
    for command in ("show", "start", "logs", "history", "delete", "versions", "diff"):
        assert atf.refused("bots", command, number, "--user", "ann") == "there is no bot 1"
    assert "only users of the role" in atf.refused("bots", "add", "x", *OPTIONS, "--user", "eve")
    assert atf.sql("SELECT desired_state FROM trading_bots") == [("stopped",)]


COMMANDS = (
    *("add", "list", "show", "edit", "validate", "start", "stop", "restart", "pause", "resume", "enable"),
    *("disable", "rename", "delete", "versions", "diff", "rollback", "history", "orders", "fills", "positions"),
    *("trades", "equity", "logs"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(atf: CommandLine, command: str) -> None:
    finished = atf("bots", command, "--help")
    assert f"Example: atf bots {command}" in " ".join(finished.out.split())
    assert "--json" in finished.out


def test_the_help_lists_every_command(atf: CommandLine) -> None:
    assert all(f" {command} " in atf("bots", "--help").out for command in COMMANDS)
