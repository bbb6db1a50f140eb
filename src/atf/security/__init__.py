"""Who may do what, what is secret, and what was done. Nothing here speaks SQL, HTTP or to a terminal."""
