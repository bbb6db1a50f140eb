"""What strategies print is kept, and no text of theirs takes the service long."""

from __future__ import annotations

from pathlib import Path

from atf.adapters.bot_processes.bot_logs import BotLogs
from atf.trading.bot_messages import Said
from atf.trading.order import BotId


def test_of_a_text_so_many_lines_are_written_each_with_its_time_and_level(tmp_path: Path) -> None:
    with BotLogs(tmp_path) as logs:
        logs.say(BotId(7), Said("error", "Traceback\n  one\n  two"))
        logs.say(BotId(7), Said("info", "\r" * 2000))
    lines = (tmp_path / "7.log").read_text("utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:3]] == ["ERROR Traceback", "ERROR   one", "ERROR   two"]
    assert len(lines) == 203
