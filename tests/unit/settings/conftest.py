import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

WriteFile = Callable[[object], Path]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory and an environment without settings, whatever machine this runs on."""
    for name in list(os.environ):
        if name.startswith(("ATF_", "SCHEDULER_")):
            monkeypatch.delenv(name)
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    monkeypatch.setenv("ATF_HOME", str(tmp_path / "home"))
    return working


@pytest.fixture
def write_file(folder: Path) -> WriteFile:
    """Write the config file of the working directory: a text as it is, anything else as JSON."""

    def write(content: object) -> Path:
        path = folder / "config" / "scheduler" / "scheduler.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write
