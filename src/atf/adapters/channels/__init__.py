"""Ways to reach a person, a bot or another program, each behind the Channel Protocol of ``notifications``."""
