"""Market data: bars, where they come from, and the market's time."""
