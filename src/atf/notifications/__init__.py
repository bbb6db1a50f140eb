"""Messages to people: written with what they report, delivered later, never lost."""
