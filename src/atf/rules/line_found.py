"""Why a line does not follow the grammar: what was found where, what may stand there, what was meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from atf.indicators import registry
from atf.market.bars import COLUMNS
from atf.rules.line_error import LineProblem, Span, meant, quoted
from atf.rules.line_syntax import span_of

COLUMN_NAMES: Final = ("price", *COLUMNS)
CHANNELS: Final = ("console", "inbox", "telegram", "email", "sms", "webhook", "apprise", "web")
SEVERITIES: Final = ("normal", "high", "urgent")

_COMPARISON: Final = "a comparison such as '>' or 'crosses above'"
_MULTIPLIED: Final = "'*'"
_WORDS: Final = {
    "_AND": "and",
    "_OR": "or",
    "_NOT": "not",
    "ABOVE": "above",
    "BELOW": "below",
    "CROSSES": "crosses",
    "BETWEEN": "between",
    "OUTSIDE": "outside",
    "ENTERS": "enters",
    "EXITS": "exits",
    "_IS": "is",
    "_TIMES": "times",
    "ABSOLUTE": "absolute",
    "REARM": "rearm",
    "COOLDOWN": "cooldown",
    "FOR": "for",
    "EXPIRES": "expires",
    "MAX": "max",
    "ONCE": "once",
    "LIVE": "live",
    "NOTIFY": "notify",
    "MESSAGE": "message",
    "SEVERITY": "severity",
    "CALENDAR": "calendar",
    "TELL": "tell",
    "REARMING": "rearming",
    "SIMPLE": "simple",
    "EDGE": "edge",
    "CROSSING": "crossing",
    "HYSTERESIS": "hysteresis",
    "PERSISTENCE": "persistence",
    "_BARS": "bars",
}
"""The words of the grammar, in the order in which a sentence lists them."""

_COMPARING: Final = ("COMPARE", "ABOVE", "BELOW", "CROSSES", "BETWEEN", "OUTSIDE", "ENTERS", "EXITS", "_IS")
_SEVERAL: Final = {
    "CHANNEL": CHANNELS,
    "LEVEL": SEVERITIES,
}
_DESCRIBED: Final = {
    "TICKER": "a ticker",
    "TIMEFRAME": "a timeframe such as 1h",
    "COLON": "':'",
    "NAME": "a name such as price or rsi(14)",
    "WORD": "a word such as period or volume",
    "OUTPUT": "the name of an output",
    "NUMBER": "a number",
    "DURATION": "a duration such as 5m",
    "INSTANT": "a date such as 2026-12-31 or 2026-12-31T09:30Z",
    "CODE": "the code of an exchange",
    "STRING": 'a text in quotes "..."',
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "DOT": "'.'",
    "EQUAL": "'='",
    "PLUS": "'+'",
    "PERCENT": "'%'",
    "$END": "the end of the line",
}
_ONE_WORD: Final = re.compile(r"[^\W\d]\w*|[+-]?[0-9][\w.]*|[<>=!]+|\S")


def syntax_problem(parser: Lark, text: str, start: str) -> LineProblem:
    """Return what is wrong with a text that does not follow the grammar."""
    before, place = _read_until_wrong(parser, text, start)
    found = _found_at(text, place)
    span = Span(place, place + len(found))
    allowed = _allowed_after(parser, start, before)
    hint = _hint(text, before, found, span, allowed)
    if hint:
        return LineProblem(hint, span)
    if before and before[-1].type == "NAME" and not is_name(before[-1]):
        # The word before was taken for a name, and is none: 'crosses abov 50'.
        span, found = span_of(before[-1]), str(before[-1])
        allowed = _allowed_after(parser, start, before[:-1])
    return LineProblem(_sentence(found, allowed), span)


def is_name(word: str) -> bool:
    """Tell whether a column or an indicator has this name, in any case."""
    return any(one in COLUMN_NAMES or registry.is_known(one) for one in (word, word.lower()))


def _read_until_wrong(parser: Lark, text: str, start: str) -> tuple[list[Token], int]:
    """Return the tokens before the one that is wrong, and where that one begins."""
    tokens: list[Token] = []
    reading = parser.parse_interactive(text, start=start)
    try:
        for token in reading.iter_parse():
            tokens.append(token)  # noqa: PERF402  (those before the refusal are wanted)
        reading.feed_eof()
    except UnexpectedCharacters as exc:
        # Declared as None by the library, and set on every instance.
        place: int = exc.pos_in_stream  # type: ignore[assignment]
    except UnexpectedToken as exc:
        is_end = exc.token.type == "$END" or exc.token.start_pos is None
        place = len(text.rstrip()) if is_end else span_of(exc.token).start
    else:
        raise AssertionError("only called for a text that was refused")
    return [token for token in tokens if span_of(token).end <= place], place


def _allowed_after(parser: Lark, start: str, tokens: Sequence[Token]) -> set[str]:
    reading = parser.parse_interactive(start=start)
    for token in tokens:
        reading.feed_token(token)
    accepted: set[str] = reading.accepts()
    return accepted


def _found_at(text: str, place: int) -> str:
    match = _ONE_WORD.match(text, place)
    return match.group() if match else ""


def _hint(text: str, before: Sequence[Token], found: str, span: Span, allowed: set[str]) -> str:
    """Return a sentence on a mistake that many make, or nothing."""
    types = [token.type for token in before]
    if found[:1] in ('"', "“") and "STRING" in allowed:
        return "the text that begins here has no closing quote"
    if types[-1:] == ["COMMA"] and found.isdigit() and text[span.start - 2 : span.start - 1].isdigit():
        return "found a comma inside a number; write it without one: 1000, 1_000 or 1k"
    if "COLON" in allowed and is_name(found):
        return f"found {quoted(found)}; ':' comes between the ticker, its timeframe and a rule: AAPL 1h: rsi > 70"
    if "TICKER" in types and found in ("(", "[", ".") and is_name(next(t for t in before if t.type == "TICKER")):
        return f"found '{found}'; a line begins with the ticker: AAPL 1h: rsi(14) > 70"
    return ""


def _sentence(found: str, allowed: set[str]) -> str:
    question = meant(found, _suggested(allowed)) if found[:1].isalpha() else ""
    what = f"found {quoted(found)}" if found else "the line ends here"
    said = f"{what}, {question}" if question else f"{what};"
    return f"{said} allowed here: {', '.join(_phrases(allowed))}"


def _suggested(allowed: set[str]) -> list[str]:
    words = [word for terminal, word in _WORDS.items() if terminal in allowed]
    words += [word for terminal, several in _SEVERAL.items() if terminal in allowed for word in several]
    if "CROSSES" in allowed:
        words += ["is above", "is below"]
    return [*words, *COLUMN_NAMES, *registry.names()] if "NAME" in allowed else words


def _phrases(allowed: set[str]) -> Iterable[str]:
    if "COMPARE" in allowed:
        yield _COMPARISON
        allowed = allowed - set(_COMPARING)
    if "_TIMES" in allowed:
        yield _MULTIPLIED
        allowed = allowed - {"_TIMES"}
    yield from (phrase for terminal, phrase in _DESCRIBED.items() if terminal in allowed and terminal != "$END")
    yield from (f"'{word}'" for terminal, word in _WORDS.items() if terminal in allowed)
    for terminal, several in _SEVERAL.items():
        if terminal in allowed:
            yield from (f"'{word}'" for word in several)
    if "$END" in allowed:
        yield _DESCRIBED["$END"]
