"""What a bot of ``bench_isolation`` does wrong, bounded in number and in time."""

from __future__ import annotations

from typing import Final

FILE: Final = "misbehaving.py"
STRATEGY: Final = '''
import os
import signal
import time

import backtrader as bt

class Misbehaving(bt.Strategy):
    """Trades at every bar; at one at which there is a token it takes it, and does the bad thing that it names."""

    params = (("token", ""), ("is_quick", False))

    def __init__(self):
        self.count = 0
        self.more_state = ""

    def next(self):
        self.count += 1
        (self.buy if self.count % 2 else self.sell)(size=1)
        try:
            with open(self.p.token) as token:
                how = token.read()
        except FileNotFoundError:
            return
        os.unlink(self.p.token)
        getattr(self, how)()

    def raises(self):
        raise ValueError("this strategy explodes")

    def exits(self):
        os._exit(3)

    def hangs(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pass

    def leaks(self):
        kept = []
        for _ in range(4096):
            kept.append(bytearray(b"x") * 2**20)

    def forks(self):
        """256 processes that burn."""
        own = os.getpid()
        for _ in range(self.amount(8, 3)):
            if os.fork() == 0:
                signal.alarm(2)
        while os.getpid() != own:
            pass

    def burns(self):
        """As many processes as may be, each in a session of its own, which the scheduler takes for a group."""
        for _ in range(self.amount(7, 3)):
            if os.fork() == 0:
                os.setsid()
                signal.alarm(2)
                while True:
                    pass

    def floods(self):
        for _ in range(self.amount(20_000, 1_000)):
            self.buy(size=1)

    def floods_less(self):
        """As many orders as just went through as one message."""
        for _ in range(self.amount(4_400, 400)):
            self.buy(size=1)

    def prints(self):
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            print("and one more line")

    def prints_long_lines(self):
        """What is one line here and many for whoever splits it at every sign that ends one."""
        for _ in range(200):
            print("x\\r" * 999)
        print("x" * self.amount(100_000_000, 1_000_000))

    def swells(self):
        self.more_state = "x" * self.amount(50_000_000, 1_000_000)

    def spoils(self):
        """A state that is JSON and that no database holds."""
        self.more_state = "\\0"

    def amount(self, full, quick):
        return quick if self.p.is_quick else full

    def save_state(self):
        return {"count": self.count, "more": self.more_state}

    def load_state(self, state):
        self.count = state["count"]
'''

KINDS: Final = (
    *("raises", "exits", "hangs", "leaks", "forks", "burns"),
    *("floods", "floods_less", "prints", "prints_long_lines", "swells", "spoils"),
)
