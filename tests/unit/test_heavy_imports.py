"""The slowest and heaviest libraries are named by the processes that need them, and nowhere else."""

import subprocess
import sys
from pathlib import Path

import pytest

import atf

SOURCE = Path(atf.__file__).parent


def test_only_the_bots_own_modules_name_aiogram() -> None:
    naming = {path.parent for path in SOURCE.rglob("*.py") if "from aiogram" in path.read_text("utf-8")}
    assert naming == {SOURCE / "services" / "telegram"}


def test_only_what_runs_in_a_bots_process_names_backtrader() -> None:
    naming = {path.parent for path in SOURCE.rglob("*.py") if "import backtrader" in path.read_text("utf-8")}
    assert naming == {SOURCE / "adapters" / "backtrader", SOURCE / "trading" / "strategies"}


def test_only_bots_processes_import_what_names_backtrader() -> None:
    wanted = ("from atf.adapters.backtrader", "from atf.trading.strategies")
    importing = {path for path in SOURCE.rglob("*.py") if any(one in path.read_text("utf-8") for one in wanted)}
    outside = {path for path in importing if path.parent != SOURCE / "adapters" / "backtrader"}
    assert outside == {SOURCE / "adapters" / "bot_processes" / "bot_start.py"}


@pytest.mark.parametrize(
    "module",
    [
        "atf.cli.strategies",
        "atf.trading.strategy_catalogue",
        "atf.trading.strategy_trial",
        "atf.trading.message_codec",
        "atf.adapters.bot_processes.forked_bots",
        "atf.adapters.bot_processes.zygote",
    ],
)
def test_what_deals_with_bots_from_outside_loads_no_backtrader(module: str) -> None:
    code = f"import sys, {module}; sys.exit('backtrader' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
