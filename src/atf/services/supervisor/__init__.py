"""The process that starts the others, keeps them alive, and stops them in order."""
