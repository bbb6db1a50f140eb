"""Indicators: what there is, and their values over bars."""
