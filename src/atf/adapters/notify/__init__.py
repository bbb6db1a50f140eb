"""Handing messages over to a notification service elsewhere."""
