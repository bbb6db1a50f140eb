"""Settings and fixtures of all unit tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.installed_packages import PREFIX, Installed

# An example's time says more about what else the machine does than about our code.
settings.register_profile("atf", deadline=None)
settings.load_profile("atf")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """Packages with plug-ins, forgotten after the test."""
    before = set(sys.modules)
    yield Installed(tmp_path, monkeypatch)
    for module in set(sys.modules) - before:
        if module.startswith(PREFIX):
            del sys.modules[module]
