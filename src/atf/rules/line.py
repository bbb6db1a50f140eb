"""One line for people: ``AAPL 1h: rsi(14) > 70 and close crosses above ema(50), cooldown 5m``.

``line_grammar.lark`` says what a line may say; ``line_text`` writes lines. What comes out is the JSON of an
alert or of a rule, which the same checks judge as any other. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lark.exceptions import UnexpectedInput

from atf.errors import InvalidInput
from atf.rules.grammar import parse_rule
from atf.rules.line_clauses import Places
from atf.rules.line_error import InvalidLine, LineProblem, Span, invalid_line
from atf.rules.line_found import syntax_problem
from atf.rules.line_json import alert_json, rule_json
from atf.rules.line_syntax import line_parser

Written = tuple[dict[str, Any], Places]

LONGEST_LINE: Final = 2_000
_INCOMPLETE: Final = ("must ", "is ", "needs ")
"""How reasons begin that go on from the name of their field."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read: the JSON it stands for, and where each field of it stands."""

    text: str
    config: dict[str, Any]
    places: Mapping[str, Span]

    def refusal(self, refused: InvalidInput) -> InvalidLine:
        """Return a refusal of the JSON as one of the line, at the leftmost place that is wrong."""
        found = min(refused.problems, key=lambda problem: self._place(problem.field).start)
        name = found.field.rpartition(".")[2]
        reason = f"{name} {found.reason}" if found.reason.startswith(_INCOMPLETE) else found.reason
        return invalid_line(self.text, reason, self._place(found.field))

    def _place(self, path: str) -> Span:
        """Return where a field stands, or what it is part of; the whole line if it is not told."""
        while path not in self.places and path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places.get(path, Span(0, len(self.text.rstrip())))


def parse_alert_line(text: str) -> dict[str, Any]:
    """Return the configuration of an alert; its rule is checked, the rest is as it was written.

    Errors: InvalidLine.
    """
    return read_alert_line(text).config


def parse_rule_line(text: str) -> dict[str, Any]:
    """Return the JSON of a rule alone, checked. Errors: InvalidLine."""
    rule, places = _read(text, "rule", rule_json)
    _checked(Line(text, {"rule": rule}, places))
    return rule


def read_alert_line(text: str) -> Line:
    """Return the configuration of an alert with the places of its fields. Errors: InvalidLine."""
    config, places = _read(text, "alert", alert_json)
    return _checked(Line(text, config, places))


def _read(text: str, start: str, write: Callable[[Any], Written]) -> Written:
    if len(text) > LONGEST_LINE:
        beyond = Span(LONGEST_LINE, len(text))
        raise invalid_line(text, f"the line is longer than {LONGEST_LINE} characters", beyond)
    try:
        return write(line_parser().parse(text, start=start))
    except UnexpectedInput:
        problem = syntax_problem(line_parser(), text, start)
    except LineProblem as exc:
        problem = exc
    raise invalid_line(text, problem.reason, problem.span)


def _checked(line: Line) -> Line:
    try:
        parse_rule(line.config["rule"])
    except InvalidInput as exc:
        raise line.refusal(exc) from exc
    return line
