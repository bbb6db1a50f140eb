"""The slowest and heaviest library is named by the process that needs it, and nowhere else."""

from pathlib import Path

import atf

SOURCE = Path(atf.__file__).parent


def test_only_the_bots_own_modules_name_aiogram() -> None:
    naming = {path.parent for path in SOURCE.rglob("*.py") if "from aiogram" in path.read_text("utf-8")}
    assert naming == {SOURCE / "services" / "telegram"}
