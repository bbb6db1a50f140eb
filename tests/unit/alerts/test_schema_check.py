import json
from importlib import resources
from pathlib import Path

import pytest

from atf.alerts.alert import parse_alert
from atf.alerts.schema_check import check_schemas

SHIPPED = json.loads(resources.files("atf.alerts").joinpath("schemas/alert.schema.json").read_text("utf-8"))


def problem_with(folder: Path, content: object) -> str:
    (folder / "alert.schema.json").write_text(content if isinstance(content, str) else json.dumps(content))
    [finding] = check_schemas(folder)
    assert finding.problem is not None
    return finding.problem


def test_shipped_schemas_are_right_and_have_examples() -> None:
    for finding in check_schemas():
        assert (finding.problem, finding.examples > 0) == (None, True), finding


def test_example_of_an_alert_means_something() -> None:
    for example in SHIPPED["examples"]:
        assert parse_alert(example).series.symbol == example["ticker"]


def test_missing_schema_is_named(tmp_path: Path) -> None:
    [finding] = check_schemas(tmp_path)
    assert (finding.file, finding.problem) == ("alert.schema.json", "is missing: install ATF again")
    assert check_schemas(tmp_path / "nowhere") == [finding]


def test_schemas_of_other_names_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "alert.schema.json").write_text(json.dumps(SHIPPED))
    (tmp_path / "report.schema.json").write_text("{")
    assert [finding.problem is None for finding in check_schemas(tmp_path)] == [True, False]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{\n  x", "line 2, column 3: is not JSON"),
        ([1], "cannot be used: must be a JSON object, got [1]"),
        ({**SHIPPED, "$schema": "draft-07"}, "cannot be used: $schema must be https://json-schema.org/"),
        ({**SHIPPED, "type": "objekt"}, "$.type: is not JSON Schema 2020-12: 'objekt' is not valid"),
        ({**SHIPPED, "properties": {"ticker": {"pattern": "("}}}, "$.properties.ticker.pattern: is not JSON Sch"),
        ({**SHIPPED, "examples": []}, "examples: is missing"),
        ({**SHIPPED, "examples": [{"ticker": 5}]}, "examples[0]"),
    ],
)
def test_broken_schema_says_what_and_where(tmp_path: Path, content: object, sentence: str) -> None:
    assert problem_with(tmp_path, content).startswith(sentence)
