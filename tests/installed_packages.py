"""Packages with plug-ins, as if they were installed: a module and its dist-info in a folder on the path."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

PREFIX = "atf_test_"
"""Names of modules begin with it, so that they are forgotten after the test."""


class Installed:
    """Installs packages into a folder that Python looks into."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        monkeypatch.syspath_prepend(str(folder))

    def job_type(self, name: str, entry: str, **modules: str) -> None:
        """Install a package with an entry point of the group of job types."""
        self._install("atf.job_types", name, entry, modules)

    def indicator(self, name: str, entry: str, **modules: str) -> None:
        """Install a package with an entry point of the group of indicators."""
        self._install("atf.indicators", name, entry, modules)

    def broker(self, name: str, entry: str, **modules: str) -> None:
        """Install a package with an entry point of the group of brokers."""
        self._install("atf.brokers", name, entry, modules)

    def strategy(self, name: str, entry: str, **modules: str) -> None:
        """Install a package with an entry point of the group of strategies."""
        self._install("atf.strategies", name, entry, modules)

    def _install(self, group: str, name: str, entry: str, modules: dict[str, str]) -> None:
        for module, source in modules.items():
            (self._folder / f"{module}.py").write_text(source)
        info = self._folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
        importlib.invalidate_caches()
