"""Bars out of PostgreSQL's binary arrays, read by NumPy as a whole.

A query that aggregates its rows into an array a column answers with one row. COPY and SELECT hand over each
row by itself, which the driver turns into Python objects: for a million bars 4 s instead of 1 s.
Source: PostgreSQL, ``array_send`` in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg

from atf.errors import InvariantViolation
from atf.market.bars import Bars, FloatArray, TimeArray

AGGREGATES: Final = """
    array_agg(open_time), array_agg(coalesce(open, 'NaN')), array_agg(coalesce(high, 'NaN')),
    array_agg(coalesce(low, 'NaN')), array_agg(coalesce(close, 'NaN')), array_agg(coalesce(volume, 'NaN'))
"""
"""The columns that ``bars_of`` reads, in the order of the rows that are aggregated. A missing value must not be
NULL, as a field's width may not change inside an array."""

_HEAD: Final = struct.Struct("!iiiii")
"""Dimensions, whether there are NULLs, the type, and of the one dimension its length and its first index."""
EPOCH_2000: Final = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from where PostgreSQL counts."""

Cursor = psycopg.AsyncCursor[tuple[Any, ...]]


def bars_of(arrays: Sequence[bytes | None], *, newest_first: bool = False) -> Bars:
    """Return bars, oldest first, from the six arrays of ``AGGREGATES`` in binary; None is no bars.

    ``newest_first`` says in which order the rows were aggregated.
    """
    times, *columns = arrays
    step = -1 if newest_first else 1
    return Bars(times_of(times, step), *(frozen_floats(column, step) for column in columns))


def times_of(array: bytes | None, step: int = 1) -> TimeArray:
    """Return instants as nanoseconds since 1970, read-only; backwards for a step of -1."""
    times: TimeArray = (elements(array, "i8")[::step].astype(np.int64) + EPOCH_2000) * 1000
    times.setflags(write=False)
    return times


def frozen_floats(array: bytes | None, step: int = 1) -> FloatArray:
    """Return doubles, read-only; infinite ones, which no bar may have, as NaN."""
    values: FloatArray = elements(array, "f8")[::step].astype(np.float64)
    values[np.isinf(values)] = np.nan
    values.setflags(write=False)
    return values


def elements(array: bytes | None, kind: str) -> npt.NDArray[Any]:
    """Return the elements of a binary array without NULLs, in the server's byte order; none of an absent array.

    ``kind`` is NumPy's word for the type without byte order, such as i4 or f8.
    """
    element = np.dtype([("length", ">i4"), ("value", f">{kind}")])
    if array is None or len(array) < _HEAD.size:
        return np.empty(0, element)["value"]
    dimensions, has_null, _, count, _ = _HEAD.unpack_from(array)
    if dimensions != 1 or has_null or len(array) != _HEAD.size + count * element.itemsize:
        raise InvariantViolation("the database answered with an array of another shape than was asked for")
    return np.frombuffer(array, element, count, _HEAD.size)["value"]


def raw_row(cursor: Cursor) -> list[bytes | None]:
    """Return the one row of a result as the server sent it, without making Python objects of its arrays."""
    result = cursor.pgresult
    if result is None or result.ntuples != 1:
        raise InvariantViolation("a query that aggregates its rows gives one row")
    return [result.get_value(0, column) for column in range(result.nfields)]
