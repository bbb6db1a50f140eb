"""The process that delivers messages."""
