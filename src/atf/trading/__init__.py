"""Bots that trade: orders, fills, positions and books, what is risked, how a crash is recovered from.

``order_cycle.py`` reads like the picture: strategy, risk, order row (committed before it is sent), broker, fill,
position and trade, strategy. What becomes of orders is in ``order_tracker.py``, the book in ``book_keeper.py``.
"""
