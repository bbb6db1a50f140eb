"""Alerts: from closed bars to a decision, its state, and the message that tells a person."""
