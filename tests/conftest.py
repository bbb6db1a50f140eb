"""The fixtures of the test kit for every suite, and a search of all that tests and their processes have said."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from atf.testing.processes import Installation

pytest_plugins = ["atf.testing.pytest_plugin"]

SECRETS: Final = ("hunter2-is-", "swordfish-is-", " horse battery")
"""What made-up secrets and passwords that tests give to ATF have in them."""
_SAID: Final = (".out", ".log")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that has passed if a secret stands in what it printed or logged, or in its processes' logs."""
    report = yield
    if report.passed and report.when == "call":
        for where, text in _said(item, report):
            if any(secret in text for secret in SECRETS):
                report.outcome = "failed"
                report.longrepr = f"a secret of this test stands in {where}"
    return report


def _said(item: pytest.Item, report: pytest.TestReport) -> Iterator[tuple[str, str]]:
    yield from report.sections
    for folder in _folders(item):
        for where, _, names in os.walk(folder):  # what goes meanwhile, or is closed to us, is passed over
            for file in (Path(where) / name for name in names if name.endswith(_SAID)):
                with suppress(OSError):
                    yield str(file), file.read_text(errors="replace")


def _folders(item: pytest.Item) -> Iterator[Path]:
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Installation):
            yield value.home
        elif isinstance(value, Path) and value.is_dir() and "pytest-of-" in str(value):
            yield value
