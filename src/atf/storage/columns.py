"""Columns of numbers on their way to PostgreSQL and back, each one binary array.

Source: PostgreSQL, ``array_recv`` and ``array_send`` in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import InvariantViolation
from atf.storage.sent_arrays import BigIntegers, Booleans, ByteStrings, Instants, Integers, SentArray

_HEAD: Final = struct.Struct("!iiiii")
"""Dimensions, whether there are NULLs, the type, and of the one dimension its length and its first index."""
_EMPTY: Final = struct.Struct("!iii")
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
EPOCH_2000: Final = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from where PostgreSQL counts."""
_LAST_MICROSECOND: Final = (2**63 - 1) // 1000 - EPOCH_2000
_SMALLEST: Final = np.iinfo(np.int64).min

Cursor = psycopg.AsyncCursor[tuple[Any, ...]]


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
    microseconds = np.where(nanoseconds == _SMALLEST, _SMALLEST, nanoseconds // 1000 - EPOCH_2000)
    return Instants(_packed(microseconds, Instants, "i8"))


def byte_strings(values: Sequence[bytes | None]) -> SentArray:
    """Return a column of ``bytea``; None is NULL."""
    if not values:
        return ByteStrings(_EMPTY.pack(0, 0, ByteStrings.element_oid))
    head = _HEAD.pack(1, any(value is None for value in values), ByteStrings.element_oid, len(values), 1)
    parts = [_NULL if value is None else _LENGTH(len(value)) + value for value in values]
    return ByteStrings(head + b"".join(parts))


def _packed(values: npt.NDArray[Any], column: type[SentArray], kind: str) -> bytes:
    if not len(values):
        return _EMPTY.pack(0, 0, column.element_oid)
    element = np.dtype([("length", ">i4"), ("value", f">{kind}")])
    packed = np.empty(len(values), element)
    packed["length"] = np.dtype(kind).itemsize
    packed["value"] = values
    return _HEAD.pack(1, 0, column.element_oid, len(values), 1) + packed.tobytes()


def read_instants(array: bytes | None) -> npt.NDArray[np.int64]:
    """Return instants as nanoseconds since 1970; the smallest integer for ``-infinity``.

    What is beyond 2262, such as the last day of the year 9999, is the last instant that nanoseconds can tell.
    """
    microseconds = np.minimum(elements(array, "i8").astype(np.int64), _LAST_MICROSECOND)
    return np.where(microseconds == _SMALLEST, _SMALLEST, (microseconds + EPOCH_2000) * 1000)


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


def word_list(values: Sequence[str]) -> str:
    """Return an array of words as SQL; a status travels as its place in it."""
    return f"CAST(ARRAY[{', '.join(repr(str(value)) for value in values)}] AS text[])"


async def aggregated(
    connection: AsyncConnection, statement: str, values: Mapping[str, Any]
) -> Sequence[bytes | None]:
    """Return the one row of aggregated columns as the server sent it, in the open transaction."""
    async with await raw_cursor(connection) as cursor:
        await cursor.execute(statement.encode(), values)
        return raw_row(cursor)


async def raw_cursor(connection: AsyncConnection) -> Cursor:
    """Return the driver's own cursor, in the open transaction, with binary results."""
    raw = (await connection.get_raw_connection()).driver_connection
    return cast("psycopg.AsyncConnection", raw).cursor(binary=True)


def raw_row(cursor: Cursor) -> list[bytes | None]:
    """Return the one row of a result as the server sent it, without making Python objects of its arrays."""
    result = cursor.pgresult
    if result is None or result.ntuples != 1:
        raise InvariantViolation("a query that aggregates its rows gives one row")
    return [result.get_value(0, column) for column in range(result.nfields)]
