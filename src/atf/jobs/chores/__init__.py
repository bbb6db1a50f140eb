"""Small background duties, each with its own schedule and each safe to run on all nodes at once."""
