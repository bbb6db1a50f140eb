"""What comes of series that were asked for: bars, or why there are none and whether asking again may help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atf.market.bars import Bars, Series


@dataclass(frozen=True, slots=True)
class Answer:
    """Bars that may be used.

    ``stale``: a sentence for a person if newer ones may exist; ``is_awaited``: the due bar is not there yet.
    """

    bars: Bars
    stale: str | None = None
    is_awaited: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """No bars: why, and whether asking again may help.

    ``is_broken``: something of the user's must be mended, such as a file; no other source may hide that.
    """

    reason: str
    may_come: bool
    is_broken: bool = False


Outcome = Answer | Absent


@dataclass(frozen=True, slots=True)
class FetchedBars:
    """What came of the series that were wanted; each is in exactly one of ``ready``, ``late`` and ``unknown``.

    ``ready``: bars, possibly none, all closed at the instant that was asked for.
    ``late``: ask again later; nothing within the patience, or one that may have them cannot answer now.
    ``unknown``: asking again does not help, with the reason for a person.
    ``stale``: those of ``ready`` that may lack newer bars, as no provider answers, with a sentence for a person.
    ``awaited``: those of ``ready`` whose newest due bar the provider does not have yet.
    """

    ready: dict[Series, Bars] = field(default_factory=dict)
    late: frozenset[Series] = frozenset()
    unknown: dict[Series, str] = field(default_factory=dict)
    stale: dict[Series, str] = field(default_factory=dict)
    awaited: frozenset[Series] = frozenset()

    @classmethod
    def of(cls, outcomes: Mapping[Series, Outcome]) -> FetchedBars:
        """Sort outcomes by what the caller may do with them."""
        answers = {series: each for series, each in outcomes.items() if isinstance(each, Answer)}
        absent = {series: each for series, each in outcomes.items() if isinstance(each, Absent)}
        return cls(
            ready={series: each.bars for series, each in answers.items()},
            late=frozenset(series for series, each in absent.items() if each.may_come),
            unknown={series: each.reason for series, each in absent.items() if not each.may_come},
            stale={series: each.stale for series, each in answers.items() if each.stale is not None},
            awaited=frozenset(series for series, each in answers.items() if each.is_awaited),
        )
