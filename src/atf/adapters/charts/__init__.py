"""Pictures of bars."""
