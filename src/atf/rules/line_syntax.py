"""What a line says, as its words: the tree that the grammar of lines gives, and the parser that gives it. Pure.

Names are not looked up here and nothing is JSON yet; ``line_json`` does both. The tree is built while the line is
read, from its ends inwards, so that no nesting can exhaust the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from math import isfinite
from typing import Any, Final

from lark import Lark, Token, Transformer, v_args

from atf.rules.line_error import LineProblem, Span, quoted

_MOST_DEPTH: Final = 50
"""As many as ``grammar`` takes."""

_THOUSANDS: Final = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True, slots=True)
class Number:
    """A number, and whether a percent sign follows it."""

    value: int | float
    is_percent: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """What stands between parentheses: a value, by its place or by a name."""

    name: str | None
    value: int | float | str
    span: Span


@dataclass(frozen=True, slots=True)
class Reading:
    """A column or an indicator, with all that belongs to it; ``arguments`` are None without parentheses."""

    name: Token
    arguments: tuple[Argument, ...] | None
    output: Token | None
    offset: Token | None
    factor: Token | None = None

    @property
    def span(self) -> Span:
        """Where its name stands."""
        return span_of(self.name)


Operand = Number | Reading


@dataclass(frozen=True, slots=True)
class Comparison:
    """An operand, or the ticker's price without one, against a level or a channel."""

    left: Operand | None
    operator: str
    levels: tuple[Operand, ...]
    span: Span

    @property
    def depth(self) -> int:
        """How many groups are in it."""
        return 0


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions that are joined, or one that is negated."""

    operator: str
    parts: tuple[Condition, ...]
    depth: int
    span: Span


Condition = Comparison | Group


@dataclass(frozen=True, slots=True)
class Clause:
    """What follows the rule: its words and values, in order."""

    words: tuple[Token, ...]

    @property
    def span(self) -> Span:
        """From its first word to its last."""
        return Span(span_of(self.words[0]).start, span_of(self.words[-1]).end)


@dataclass(frozen=True, slots=True)
class AlertSyntax:
    """A whole line."""

    ticker: Token
    timeframe: Token | None
    rule: Condition
    clauses: tuple[Clause, ...]


@lru_cache(maxsize=1)
def line_parser() -> Lark:
    """Return the parser of lines; it starts at ``alert`` or at ``rule``."""
    text = resources.files("atf.rules").joinpath("line_grammar.lark").read_text("utf-8")
    return Lark(text, parser="lalr", start=["alert", "rule"], transformer=_Builder())


def span_of(token: Token) -> Span:
    """Return where a token stands."""
    start = token.start_pos or 0
    return Span(start, start + len(token))


def finite(token: Token) -> int | float:
    """Return what the token of a number says. Errors: LineProblem if no double is as large."""
    value = number_of(token)
    try:
        is_finite = isfinite(value)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise LineProblem(f"{quoted(token)} is too large a number", span_of(token))
    return value


def number_of(text: str) -> int | float:
    """Return what a number says: ``1_000``, ``1.5M``, ``-2e3``; one without a point or exponent is an integer."""
    factor = _THOUSANDS.get(text[-1], 1)
    digits = text if factor == 1 else text[:-1]
    if digits.lstrip("+-").replace("_", "").isdigit():
        return int(digits) * factor
    value = float(digits) * factor
    # 1.5M is a whole number, while 70.0 stays as it was written.
    return int(value) if factor > 1 and value.is_integer() else value


_Tail = tuple[tuple[Token, ...], tuple[Clause, ...]]
"""The channels that still belong to the clause before, and the clauses after them."""

_SIGNS: Final = {"=": "==", "≥": ">=", "≤": "<=", "≠": "!=", "<>": "!=", "above": ">", "below": "<"}


def _operator(words: tuple[Token, ...]) -> str:
    text = "_".join(word.lower() for word in words)
    return _SIGNS.get(text, text)


def _group(operator: str, parts: tuple[Condition, ...], span: Span) -> Group:
    deepest = max(parts, key=lambda part: part.depth)
    if deepest.depth == _MOST_DEPTH:
        raise LineProblem(f"the rule is nested more than {_MOST_DEPTH} deep", deepest.span)
    return Group(operator, parts, deepest.depth + 1, span)


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Makes the tree; each method is called with the parts of the rule of the grammar whose name it has."""

    def alert(
        self, ticker: Token, timeframe: Token | None, rule: Condition, clauses: tuple[Clause, ...]
    ) -> AlertSyntax:
        return AlertSyntax(ticker, timeframe, rule, clauses)

    def ticker(self, token: Token) -> Token:
        return token

    def rule(self, condition: Condition) -> Condition:
        return condition

    def any_of(self, *parts: Condition) -> Group:
        return _group("or", parts, parts[0].span)

    def all_of(self, *parts: Condition) -> Group:
        return _group("and", parts, parts[0].span)

    def negation(self, part: Condition) -> Group:
        return _group("not", (part,), part.span)

    def comparison(self, left: Operand, right: Comparison) -> Comparison:
        return Comparison(left, right.operator, right.levels, right.span)

    def implied(self, right: Comparison) -> Comparison:
        return right

    def relation(self, words: tuple[Token, ...], levels: Operand | tuple[Operand, ...]) -> Comparison:
        span = Span(span_of(words[0]).start, span_of(words[-1]).end)
        return Comparison(None, _operator(words), levels if isinstance(levels, tuple) else (levels,), span)

    def compared(self, *words: Token) -> tuple[Token, ...]:
        return words

    def located(self, *words: Token) -> tuple[Token, ...]:
        return words

    def channel(self, low: Operand, high: Operand) -> tuple[Operand, ...]:
        return (low, high)

    def number(self, token: Token, percent: Token | None) -> Number:
        return Number(finite(token), percent is not None, span_of(token))

    def scaled(self, factor: Token, reading: Reading) -> Reading:
        return Reading(reading.name, reading.arguments, reading.output, reading.offset, factor)

    def scaled_after(self, reading: Reading, factor: Token) -> Reading:
        return self.scaled(factor, reading)

    def reading(
        self,
        name: Token,
        arguments: tuple[Argument, ...] | None,
        output: Token | None,
        offset: Token | None,
    ) -> Reading:
        return Reading(name, arguments, output, offset)

    def arguments(self, *arguments: Argument | None) -> tuple[Argument, ...]:
        return tuple(argument for argument in arguments if argument is not None)

    def positional(self, value: Token) -> Argument:
        return Argument(None, _value(value), span_of(value))

    def named(self, name: Token, value: Token) -> Argument:
        return Argument(str(name), _value(value), Span(span_of(name).start, span_of(value).end))

    def value(self, token: Token) -> Token:
        return token

    def nothing(self) -> tuple[Clause, ...]:
        return ()

    def then(self, clause: Clause, rest: tuple[Clause, ...]) -> tuple[Clause, ...]:
        return (clause, *rest)

    def notified(self, word: Token, channel: Token, tail: _Tail) -> tuple[Clause, ...]:
        more, clauses = tail
        return (Clause((word, channel, *more)), *clauses)

    def no_channel(self) -> _Tail:
        return (), ()

    def one_more(self, channel: Token, tail: _Tail) -> _Tail:
        more, clauses = tail
        return (channel, *more), clauses

    def channels_then(self, clause: Clause, rest: tuple[Clause, ...]) -> _Tail:
        return (), self.then(clause, rest)

    def channels_again(self, word: Token, channel: Token, tail: _Tail) -> _Tail:
        return (), self.notified(word, channel, tail)

    def clause(self, *words: Token | None) -> Clause:
        return Clause(tuple(word for word in words if word is not None))


def _value(token: Token) -> int | float | str:
    return finite(token) if token.type == "NUMBER" else token.lower()
