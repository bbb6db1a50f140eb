"""What is said of a line that cannot be read: a sentence with the column, and a picture with a caret. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from atf.errors import InvalidInput, shown

FIELD: Final = "line"
_WIDEST_PICTURE: Final = 100
_LONGEST_WORD: Final = 40


@dataclass(frozen=True, slots=True)
class Span:
    """From the first character to the one after the last, counted from 0."""

    start: int
    end: int


class LineProblem(Exception):
    """Something that is wrong at a place of the line; becomes an ``InvalidLine`` where the text is known."""

    def __init__(self, reason: str, span: Span) -> None:
        self.reason = reason
        self.span = span
        super().__init__(reason)


class InvalidLine(InvalidInput):
    """A line that says no rule or alert; ``field`` is ``line``.

    ``column`` counts from 1. ``picture`` is two lines, the text and a caret below what is wrong; both are empty
    in the copies that ``problems`` gives.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str = FIELD,
        others: Sequence[InvalidInput] = (),
        column: int = 0,
        picture: str = "",
    ) -> None:
        self.column = column
        self.picture = picture
        super().__init__(message, field=field, others=others)


def invalid_line(text: str, reason: str, span: Span) -> InvalidLine:
    """Return the refusal of a text because of what stands at a place in it."""
    column = span.start + 1
    return InvalidLine(f"column {column}: {reason}", column=column, picture=_picture(text, span))


def _picture(text: str, span: Span) -> str:
    one_line = "".join(letter if letter.isprintable() else " " for letter in text)
    first = max(0, min(span.start - _WIDEST_PICTURE // 2, len(text) - _WIDEST_PICTURE))
    window = one_line[first : first + _WIDEST_PICTURE]
    before, after = "..." if first else "", "..." if first + _WIDEST_PICTURE < len(text) else ""
    width = max(1, min(span.end, first + len(window)) - span.start)
    return f"{before}{window}{after}\n{' ' * (len(before) + span.start - first)}{'^' * width}"


def quoted(word: str) -> str:
    """Return a word of the line as a sentence shows it; long ones are cut."""
    short = word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}..."
    return f"'{short}'" if short.isprintable() else shown(short)


def meant(word: str, known: Iterable[str]) -> str:
    """Return the question whether a similar word was meant, or nothing."""
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.7)
    return f"did you mean '{close[0]}'?" if close else ""
