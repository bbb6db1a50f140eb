"""Files of golden cases: what is read of them, and what is said of malformed ones."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from atf.alerts.case_outcome import ERROR, CaseOutcome, Difference, Refusal, Replayed, differences
from atf.alerts.cases import CaseFile, Expectation, parse_cases
from atf.errors import InvalidInput

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FILE: dict[str, Any] = {
    "cases": [
        {
            "name": "one",
            "config": {"anything": 1},
            "bars": [
                ["2027-03-01T01:00:00Z", 2, 2, 2, None, 1],
                ["2027-03-01T01:00:00+01:00", 1, 1, 1, 1, 1],
                ["2027-03-01T01:00:00Z", 3, 3, 3, 3, 1],
            ],
            "expected": {"trigger_bar_times": ["2027-03-01T00:00:00Z"], "final_state_status": "ARMED"},
        }
    ],
    "invalid_configs": [{"name": "two", "config": [], "expected_error_path": "ticker"}],
}


def file_with(path: str, value: Any) -> dict[str, Any]:
    """The file above with another value somewhere; ``...`` takes it away."""
    changed = deepcopy(FILE)
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    node: Any = changed
    for step in way:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return changed


def parsed(path: str, value: Any) -> CaseFile:
    return parse_cases(file_with(path, value), with_expected=True)


def test_what_a_case_leaves_open_has_the_documented_defaults() -> None:
    (case,) = parse_cases(FILE, with_expected=False).cases
    assert case.feed == (1, 2, 3)
    assert (case.restarts_at, case.config_changes, case.now, case.workers) == (frozenset(), (), None, 1)
    assert case.created_at == BEGIN  # the earliest bar, which is not the first


def test_bars_are_fed_by_the_files_order_and_then_sorted() -> None:
    (case,) = parse_cases(FILE, with_expected=False).cases
    first, all_bars = case.fed(1), case.fed(3)
    assert np.isnan(first.close).all()
    assert all_bars.close.tolist() == [1.0, 3.0]
    assert [all_bars.time_at(index) for index in range(2)] == [BEGIN, BEGIN + HOUR]


def test_expectations_are_not_looked_at_unless_asked_for() -> None:
    broken = file_with("cases/0/expected", "nonsense")
    (case,) = parse_cases(broken, with_expected=False).cases
    assert case.expected is None
    with pytest.raises(InvalidInput):
        parse_cases(broken, with_expected=True)
    (case,) = parse_cases(FILE, with_expected=True).cases
    assert case.expected == Expectation((BEGIN,), "ARMED", None)


def test_remarks_of_the_files_author_are_left_alone() -> None:
    assert parsed("cases/0/source", "computed by hand").cases[0].name == "one"


@pytest.mark.parametrize("missing", [float("inf"), float("-inf"), float("nan"), None])
def test_what_is_not_finite_is_a_missing_value(missing: float | None) -> None:
    (case,) = parsed("cases/0/bars/1/4", missing).cases
    assert np.isnan(case.fed(2).close[0])


@pytest.mark.parametrize(
    ("path", "value", "place", "words"),
    [
        ("cases", {}, "cases", "must be a list, got {}"),
        ("cases/0", 5, "cases[0]", "must be an object, got 5"),
        ("cases/0/name", ..., "cases[0].name", "is missing"),
        ("cases/0/name", 7, "cases[0].name", "must be a text, got 7"),
        ("cases/0/config", ..., "cases[0].config", "is missing"),
        ("cases/0/bars", ..., "cases[0].bars", "is missing"),
        ("cases/0/bars", [], "cases[0].bars", "at least one bar"),
        ("cases/0/bars/2", ["2027-03-01T01:00:00Z", 1], "cases[0].bars[2]", "must be [time, open, high"),
        ("cases/0/bars/2/0", "2027-03-01T01:00:00", "cases[0].bars[2][0]", "time with its zone"),
        ("cases/0/bars/2/0", "2027-13-01T01:00:00Z", "cases[0].bars[2][0]", "time with its zone"),
        ("cases/0/bars/2/0", "0001-01-01T00:00:00+14:00", "cases[0].bars[2][0]", "1900 to 2199"),
        ("cases/0/bars/2/0", "9999-12-31T23:59:59-14:00", "cases[0].bars[2][0]", "1900 to 2199"),
        ("cases/0/bars/2/0", 1e9, "cases[0].bars[2][0]", "got 1000000000.0"),
        ("cases/0/bars/1/4", "1", "cases[0].bars[1][4]", 'must be a number or null, got "1"'),
        ("cases/0/bars/1/4", True, "cases[0].bars[1][4]", "must be a number or null, got true"),
        ("cases/0/bars/1/4", 10**400, "cases[0].bars[1][4]", "must be a number or null"),
        ("cases/0/feed", [1, 4], "cases[0].feed[1]", "from 0 to 3, got 4"),
        ("cases/0/feed", 3, "cases[0].feed", "must be a list"),
        ("cases/0/restarts_at", [3], "cases[0].restarts_at[0]", "from 0 to 2, got 3"),
        ("cases/0/restarts_at", [True], "cases[0].restarts_at[0]", "got true"),
        ("cases/0/config_changes", [{"config": {}}], "cases[0].config_changes[0].after", "is missing"),
        ("cases/0/config_changes", [{"after": 1}], "cases[0].config_changes[0].config", "is missing"),
        ("cases/0/created_at", None, "cases[0].created_at", "got null"),
        ("cases/0/now", "noon", "cases[0].now", 'got "noon"'),
        ("cases/0/workers", 0, "cases[0].workers", "from 1 to 16, got 0"),
        ("cases/0/worker", 2, "cases[0].worker", "did you mean 'workers'?"),
        ("cases/0/expected", ..., "cases[0].expected", "is missing"),
        ("cases/0/expected", {}, "cases[0].expected", "has none of"),
        ("cases/0/expected/trigger_bar_times/0", 1, "cases[0].expected.trigger_bar_times[0]", "got 1"),
        ("cases/0/expected/trigger_bar_time", [], "cases[0].expected.trigger_bar_time", "did you mean"),
        ("invalid_configs/0/name", ..., "invalid_configs[0].name", "is missing"),
        ("invalid_configs/0/expected_error_path", ..., "invalid_configs[0].expected_error_path", "is missing"),
        ("invalid_config", [], "invalid_config", "did you mean 'invalid_configs'?"),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" in value else "",
)
def test_a_malformed_file_is_refused_at_its_place(path: str, value: Any, place: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(path, value)
    assert refused.value.field == place
    assert words in refused.value.reason


@pytest.mark.parametrize("document", [[], None, {}, {"format": "of nothing"}], ids=json.dumps)
def test_a_document_without_cases_is_refused(document: object) -> None:
    with pytest.raises(InvalidInput):
        parse_cases(document, with_expected=False)


AS_EXPECTED = CaseOutcome("one", (BEGIN,), "ARMED", "no_data")
REFUSED = Refusal("two", False, "rule", "rule: is missing", ("rule", "ticker"))


@pytest.mark.parametrize(
    ("outcome", "refusal", "found"),
    [
        (AS_EXPECTED, REFUSED, []),
        (CaseOutcome("one", (), "ARMED"), REFUSED, [Difference("one", "trigger_bar_times", (BEGIN,), ())]),
        (
            CaseOutcome("one", (BEGIN,), "TRIGGERED"),
            REFUSED,
            [Difference("one", "final_state_status", "ARMED", "TRIGGERED")],
        ),
        (
            CaseOutcome("one", (BEGIN,), "ARMED", "ok", "it broke"),
            REFUSED,
            [Difference("one", ERROR, None, "it broke")],
        ),
        (AS_EXPECTED, Refusal("two", True), [Difference("two", "error_path", "ticker", "accepted")]),
        (
            AS_EXPECTED,
            Refusal("two", False, "rule", "rule: is missing", ("rule",)),
            [Difference("two", "error_path", "ticker", "rule")],
        ),
    ],
    ids=["none", "triggers", "status", "error", "accepted", "path"],
)
def test_each_difference_says_what_was_expected_and_what_came(
    outcome: CaseOutcome, refusal: Refusal, found: list[Difference]
) -> None:
    assert differences(parse_cases(FILE, with_expected=True), Replayed((outcome,), (refusal,))) == found
