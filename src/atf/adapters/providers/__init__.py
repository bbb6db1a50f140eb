"""Sources of bars: each module is one ``market.provider.BarProvider``."""
