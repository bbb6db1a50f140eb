"""The process that does runs."""
