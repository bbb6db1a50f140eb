"""Backtrader is loaded as in a bot's process: without the 127 MB that it would take along."""

from atf.adapters.bot_processes.preloading import import_without

import_without(("talib", "pandas", "polars", "matplotlib"), "backtrader")
