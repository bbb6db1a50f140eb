"""A data report in words: one sentence a finding, and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import Final

from atf.market.data_report import DataReport, Freshness, Notes
from atf.market.gaps import Gap

_LISTED: Final = 10
"""So many of each kind get a sentence of their own; more would hide the others."""


def sentences(report: DataReport) -> Iterator[str]:
    """Yield what was found, a sentence each."""
    if report.first is None or report.last is None:
        yield f"No bars of {report.series}."
        return
    yield (
        f"{_counted(report.count, 'bar')} from {said(report.first)} to {said(report.last)}; "
        f"the calendar {report.calendar} expects {report.coverage.expected:,}."
    )
    yield from _missing(report)
    if report.outside:
        yield f"{_counted(report.outside, 'bar')} outside of the sessions of {report.calendar}."
    yield from _noted(report.flaws, "flaw")
    yield from _noted(report.jumps, "jump")
    if report.duplicates:
        yield f"{_counted(report.duplicates, 'bar')} came twice; the last one counts."
    if report.quarantined:
        yield f"{_counted(report.quarantined, 'bar')} put aside as impossible, and not used."
    yield from _newest(report)


def verdict(report: DataReport) -> str:
    """Return the sentence that says whether anything is to be looked at."""
    if not report.finding_count:
        return f"{report.series} is complete and nothing in it looks wrong."
    return f"{report.series}: {_counted(report.finding_count, 'finding')}."


def gap_sentence(gap: Gap) -> str:
    """Return a gap in words."""
    if gap.missing == 1:
        return f"The bar of {said(gap.first)} is missing."
    return f"{gap.missing:,} bars are missing from {said(gap.first)} to {said(gap.last)}."


def said(instant: datetime) -> str:
    """Return an instant as short as it can be said: midnights as dates."""
    at = instant.astimezone(UTC)
    return f"{at:%Y-%m-%d}" if at.time() == time() else f"{at:%Y-%m-%d %H:%MZ}"


def _missing(report: DataReport) -> Iterator[str]:
    found = report.coverage
    if found.gap_count > 1:
        yield f"{_counted(found.missing, 'bar')} missing in {_counted(found.gap_count, 'gap')}."
    yield from map(gap_sentence, found.gaps[:_LISTED])
    if found.gap_count > _LISTED:
        yield f"… and {_counted(found.gap_count - _LISTED, 'more gap')}."


def _noted(notes: Notes, kind: str) -> Iterator[str]:
    for note in notes.listed[:_LISTED]:
        yield f"The bar of {said(note.open_time)}: {note.what}."
    if notes.count > _LISTED:
        yield f"… and {_counted(notes.count - _LISTED, f'more {kind}')}."


def _newest(report: DataReport) -> Iterator[str]:
    newest = report.newest
    match newest.freshness:
        case Freshness.CURRENT:
            yield "The newest bar is the one that should be."
        case Freshness.BEHIND:
            yield f"Newer bars should be there, up to {said(newest.expected)}."
        case Freshness.STALE:
            yield f"Stale: bars up to {said(newest.expected)} should be there."
        case Freshness.EMPTY | Freshness.NOT_ASKED:
            pass


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
