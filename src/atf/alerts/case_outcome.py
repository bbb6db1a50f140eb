"""What came of golden cases, and how that differs from what was expected. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from atf.alerts.cases import Case, CaseFile, InvalidConfig

ERROR: Final = "error"
"""The field of a difference that says why a case could not go on."""


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What happened to an alert, as the database has it; ``error`` tells why a case could not go on."""

    name: str
    trigger_bar_times: tuple[datetime, ...] = ()
    final_state_status: str | None = None
    final_data_status: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was said to a configuration: ``error_path`` is the first of ``error_paths``, empty if accepted."""

    name: str
    accepted: bool
    error_path: str = ""
    message: str = ""
    error_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of all cases of a file, in its order."""

    cases: tuple[CaseOutcome, ...]
    invalid_configs: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that did not come as expected."""

    name: str
    field: str
    expected: Any
    got: Any


def differences(wanted: CaseFile, replayed: Replayed) -> list[Difference]:
    """Return all that differs; what the file does not expect is not looked at, but an error always differs."""
    return [
        *(one for case, got in zip(wanted.cases, replayed.cases, strict=True) for one in _of_case(case, got)),
        *(
            one
            for config, got in zip(wanted.invalid_configs, replayed.invalid_configs, strict=True)
            for one in _of_refusal(config, got)
        ),
    ]


def _of_case(case: Case, got: CaseOutcome) -> Iterator[Difference]:
    if got.error is not None:
        yield Difference(case.name, ERROR, None, got.error)
    expected = case.expected
    if expected is None:
        return
    for field in ("trigger_bar_times", "final_state_status", "final_data_status"):
        wanted, found = getattr(expected, field), getattr(got, field)
        if wanted is not None and wanted != found:
            yield Difference(case.name, field, wanted, found)


def _of_refusal(config: InvalidConfig, got: Refusal) -> Iterator[Difference]:
    """A refusal names every path that is wrong; the expected one must be among them."""
    wanted = config.expected_error_path
    if wanted is not None and wanted not in got.error_paths:
        yield Difference(config.name, "error_path", wanted, _told(got.error_paths))


def _told(paths: Sequence[str]) -> str:
    return ", ".join(paths) or "accepted"
