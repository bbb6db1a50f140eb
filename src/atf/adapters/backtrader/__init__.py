"""A bot's process from inside: Backtrader and one strategy, which hear and speak through one socket.

Nothing but a bot's process may import this: it loads Backtrader. One thread, no database, no network.
"""
