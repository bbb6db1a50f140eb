"""Ways to reach a person, each behind the Channel Protocol of ``notifications``."""
