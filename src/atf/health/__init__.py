"""How the platform tells whether it is well: what each process says of itself, and who runs where."""
