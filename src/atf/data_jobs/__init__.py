"""Data-processing jobs: market data fetched, checked, resampled and exported on schedule."""
