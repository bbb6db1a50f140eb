"""docs/alert-lines.md: its lines are read, its refusals are said so, its templates are those there are."""

import json
import re
from pathlib import Path

import pytest

from atf.alerts.alert_line import config_of_line
from atf.alerts.schema_check import schema_folder
from atf.alerts.template_parameters import Parameter
from atf.alerts.templates import TEMPLATES, Template
from atf.rules.line import parse_rule_line
from atf.rules.line_clauses import CLAUSE_WORDS
from atf.rules.line_error import InvalidLine
from atf.rules.line_found import CHANNELS, SEVERITIES
from atf.rules.rule import LeafOperator

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "alert-lines.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)\n```", PAGE, re.DOTALL)


def lines(kind: str) -> list[str]:
    return [line for block in blocks(kind) for line in block.splitlines()]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first heading this is."""
    _, _, rest = PAGE.partition(f"\n| {heading} |")
    table = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" |")] for row in table]


def examples(*cells: str) -> list[str]:
    return [example for cell in cells for example in re.findall("`([^`]+)`", cell)]


COMPARISONS = [example for row in rows("comparison") for example in examples(*row[:2])]
CLAUSES = [example for row in rows("clause") for example in examples(row[0])]
REFUSALS = [refusal.split("\n") for block in blocks("refused") for refusal in block.split("\n\n")]


@pytest.mark.parametrize("line", lines("alerts"))
def test_documented_alerts_are_read(line: str) -> None:
    assert config_of_line(line)["ticker"] in line


@pytest.mark.parametrize("rule", [*lines("rules"), *COMPARISONS])
def test_documented_rules_are_read(rule: str) -> None:
    assert set(parse_rule_line(rule)) >= {"operator"}


def test_documented_spellings_of_a_comparison_say_the_same() -> None:
    for first, others, _ in rows("comparison"):
        found = parse_rule_line(examples(first)[0])
        assert all(parse_rule_line(other) == found for other in examples(others))


def test_every_operator_is_documented() -> None:
    assert {parse_rule_line(rule)["operator"] for rule in COMPARISONS} == set(map(str, LeafOperator))


@pytest.mark.parametrize("clause", CLAUSES)
def test_documented_clauses_are_read(clause: str) -> None:
    assert len(config_of_line(f"AAPL 1h: price > 150, {clause}")) == 4


def test_every_clause_is_documented() -> None:
    assert {clause.split()[0].upper() for clause in CLAUSES} == set(CLAUSE_WORDS)


@pytest.mark.parametrize(("line", "caret", "said"), REFUSALS)
def test_documented_refusals_are_said_as_they_stand_there(line: str, caret: str, said: str) -> None:
    with pytest.raises(InvalidLine) as refused:
        config_of_line(line)
    assert refused.value.picture == f"{line}\n{caret}"
    assert str(refused.value) == said


def test_channels_and_severities_of_lines_are_those_of_the_schema() -> None:
    notify = json.loads(schema_folder().joinpath("alert.schema.json").read_text("utf-8"))["properties"]["notify"]
    channels, severities = (notify["properties"][name] for name in ("channels", "severity"))
    assert (channels["items"]["enum"], severities["enum"]) == (list(CHANNELS), list(SEVERITIES))
    every = f"notify {', '.join(CHANNELS)}"
    for severity in SEVERITIES:
        config = config_of_line(f"AAPL > 150, {every}, severity {severity}")
        assert config["notify"] == {"channels": list(CHANNELS), "severity": severity}


def row_of(template: Template) -> str:
    """Return the template's row; a changed template is documented by putting this row into the page."""
    only = f" On {template.only_timeframe} only." if template.only_timeframe else ""
    parameters = "; ".join(map(described, template.parameters))
    return f"| `{template.name}` | {template.doc}{only} | {parameters} |"


def described(parameter: Parameter) -> str:
    default = parameter.default
    shown = default if isinstance(default, str) else "required" if default is None else f"{default:g}"
    return f"`{parameter.name}` {shown}: {parameter.doc}, {parameter.allowed}"


def test_every_template_is_documented_as_it_is() -> None:
    page = PAGE.splitlines()
    assert [row for row in map(row_of, TEMPLATES) if row not in page] == []
    assert len(rows("template")) == len(TEMPLATES)


def test_the_page_is_in_the_index() -> None:
    assert "(alert-lines.md)" in (DOCS / "index.md").read_text("utf-8")
