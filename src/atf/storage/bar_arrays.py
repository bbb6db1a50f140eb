"""Bars out of PostgreSQL's binary arrays, read by NumPy as a whole (see ``columns``).

A query that aggregates its rows into an array a column answers with one row. COPY and SELECT hand over each
row by itself, which the driver turns into Python objects: for a million bars 4 s instead of 1 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from atf.market.bars import Bars, FloatArray, TimeArray
from atf.storage.columns import elements, read_instants

AGGREGATES: Final = """
    array_agg(open_time), array_agg(coalesce(open, 'NaN')), array_agg(coalesce(high, 'NaN')),
    array_agg(coalesce(low, 'NaN')), array_agg(coalesce(close, 'NaN')), array_agg(coalesce(volume, 'NaN'))
"""
"""The columns that ``bars_of`` reads, in the order of the rows that are aggregated. A missing value must not be
NULL, as a field's width may not change inside an array."""


def bars_of(arrays: Sequence[bytes | None], *, newest_first: bool = False) -> Bars:
    """Return bars, oldest first, from the six arrays of ``AGGREGATES`` in binary; None is no bars.

    ``newest_first`` says in which order the rows were aggregated.
    """
    times, *columns = arrays
    step = -1 if newest_first else 1
    return Bars(times_of(times, step), *(frozen_floats(column, step) for column in columns))


def times_of(array: bytes | None, step: int = 1) -> TimeArray:
    """Return instants as nanoseconds since 1970, read-only; backwards for a step of -1."""
    times: TimeArray = read_instants(array)[::step].copy()
    times.setflags(write=False)
    return times


def frozen_floats(array: bytes | None, step: int = 1) -> FloatArray:
    """Return doubles, read-only; infinite ones, which no bar may have, as NaN."""
    values: FloatArray = elements(array, "f8")[::step].astype(np.float64)
    values[np.isinf(values)] = np.nan
    values.setflags(write=False)
    return values
