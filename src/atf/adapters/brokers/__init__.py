"""Venues: each converts what its venue says into the words of ``atf.trading.broker``."""
