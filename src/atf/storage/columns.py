"""Columns of numbers on their way to PostgreSQL; ``bar_arrays`` reads the arrays that come back.

Source: PostgreSQL, ``array_recv`` in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atf.storage.sent_arrays import BigIntegers, Booleans, Instants, Integers, SentArray

_HEAD: Final = struct.Struct("!iiiii")
_EMPTY: Final = struct.Struct("!iii")
_EPOCH_2000: Final = 946_684_800_000_000
_SMALLEST: Final = np.iinfo(np.int64).min


def big_integers(values: npt.ArrayLike) -> SentArray:
    """Return a column of ``bigint``; none may be missing."""
    return BigIntegers(_packed(np.asarray(values, dtype=np.int64), BigIntegers, "i8"))


def integers(values: npt.ArrayLike) -> SentArray:
    """Return a column of ``integer``; none may be missing."""
    return Integers(_packed(np.asarray(values, dtype=np.int64), Integers, "i4"))


def booleans(values: npt.ArrayLike) -> SentArray:
    """Return a column of ``boolean``; none may be missing."""
    return Booleans(_packed(np.asarray(values, dtype=np.bool_), Booleans, "i1"))


def instants(values: npt.ArrayLike) -> SentArray:
    """Return a column of ``timestamptz`` from nanoseconds since 1970; the smallest integer is ``-infinity``."""
    nanoseconds = np.asarray(values, dtype=np.int64)
    microseconds = np.where(nanoseconds == _SMALLEST, _SMALLEST, nanoseconds // 1000 - _EPOCH_2000)
    return Instants(_packed(microseconds, Instants, "i8"))


def _packed(values: npt.NDArray[Any], column: type[SentArray], kind: str) -> bytes:
    if not len(values):
        return _EMPTY.pack(0, 0, column.element_oid)
    element = np.dtype([("length", ">i4"), ("value", f">{kind}")])
    packed = np.empty(len(values), element)
    packed["length"] = np.dtype(kind).itemsize
    packed["value"] = values
    return _HEAD.pack(1, 0, column.element_oid, len(values), 1) + packed.tobytes()
