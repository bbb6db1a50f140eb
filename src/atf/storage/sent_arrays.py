"""PostgreSQL's binary arrays as the driver sends them: whole columns in one value; ``columns`` makes them.

The driver writes a list element by element, and looks at each for its type and for what must be quoted: for
thousands of rows of ten columns that takes longer than the statement. Without NumPy, as every process that opens
a database registers these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper


@dataclass(frozen=True, slots=True)
class SentArray:
    """One column, ready to be sent; ``data`` is what the server reads."""

    data: bytes

    array_oid: ClassVar[int] = 0
    element_oid: ClassVar[int] = 0


class BigIntegers(SentArray):
    """``bigint[]``."""

    array_oid, element_oid = 1016, 20


class Integers(SentArray):
    """``integer[]``."""

    array_oid, element_oid = 1007, 23


class Booleans(SentArray):
    """``boolean[]``."""

    array_oid, element_oid = 1000, 16


class Instants(SentArray):
    """``timestamptz[]``."""

    array_oid, element_oid = 1185, 1184


class ByteStrings(SentArray):
    """``bytea[]``."""

    array_oid, element_oid = 1001, 17


def register_columns() -> None:
    """Let the driver send columns; a connection knows those that were registered when its engine was made."""
    for column in (BigIntegers, Integers, Booleans, Instants, ByteStrings):
        psycopg.adapters.register_dumper(column, _dumper_of(column))


def _dumper_of(column: type[SentArray]) -> type[Dumper]:
    class ColumnDumper(Dumper):
        format = pq.Format.BINARY
        oid = column.array_oid

        def dump(self, obj: SentArray) -> bytes:
            return obj.data

    return ColumnDumper
