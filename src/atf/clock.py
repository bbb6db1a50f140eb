"""Where the process gets its wall time from: one Protocol and the system's clock.

Pure rooms take instants as arguments and never ask a clock. Market time, which a replay moves by itself,
is another thing and lives in ``market.market_clock``.
"""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the wall time."""

    def now(self) -> datetime:
        """Return the present instant, aware UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant, aware UTC."""
        return datetime.now(UTC)
