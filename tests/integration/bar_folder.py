"""A folder of bars as an installation has it, up to now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from atf.market.bars import Timeframe


def write_bars(home: Path, symbol: str, timeframe: Timeframe, closes: Sequence[float]) -> datetime:
    """Write bars, the newest of which has just closed; return when that one opens."""
    seconds = int(timeframe.length.total_seconds())
    newest = datetime.fromtimestamp(datetime.now(UTC).timestamp() // seconds * seconds - seconds, UTC)
    folder = home / "bars" / str(timeframe)
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["timestamp,open,high,low,close,volume"]
    for back, close in zip(reversed(range(len(closes))), closes, strict=True):
        at = newest - back * timeframe.length
        rows.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{close - 1},{close + 2},{close - 2},{close},100")
    (folder / f"{symbol}.csv").write_text("\n".join(rows) + "\n")
    return newest
