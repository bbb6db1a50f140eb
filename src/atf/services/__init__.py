"""The processes: thin, each starts and stops what a room does."""
