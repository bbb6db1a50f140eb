"""Sources of bars: each module is one ``market.data_manager.BarProvider``."""
